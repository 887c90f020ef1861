//! What becomes of a service's query.

use snapback_sql::datafusion::prelude::SessionContext;
use snapback_sql::{Explanation, SampleRequest, SqlError, col};

use crate::definition::{Part, Service};
use crate::{sample, serve};

/// Explains the query of a service, and measures it: with the first of its tests that expects a 200,
/// or with a request that its schema makes up.
///
/// # Errors
///
/// Which part is wrong, and why.
pub(crate) fn explain(
    service: &Service,
    tables: &SessionContext,
) -> Result<Explanation, (Part, SqlError)> {
    let definition = &service.definition;
    let stream = definition.columns(serve::detached(service), tables)?;
    let reply = match &definition.reply {
        Some(reply) => Ok(col(reply)),
        None => stream.reply_of_all(),
    };
    let reply = reply.map_err(|error| (Part::Reply, error))?;
    let good = service
        .cases
        .iter()
        .find(|case| case.expected.status == 200);
    let made_up = sample::request(definition);
    let (method, target, headers, body) = match good {
        Some(case) => (&case.method, &case.target, &case.headers, &case.body),
        None => (
            &made_up.method,
            &made_up.target,
            &made_up.headers,
            &made_up.body,
        ),
    };
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let sample = SampleRequest {
        method,
        target,
        headers: &headers,
        body: body.as_bytes(),
    };
    let explained = stream.explain(reply, Some(sample));
    explained.map_err(|error| (Part::Sql, error))
}
