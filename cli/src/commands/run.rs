//! `snapback run`: the services of a file.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use snapback::Session;

use super::Outcome;
use crate::{serve, tables};

/// Serve what a file describes.
#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// The service file.
    file: PathBuf,
    /// Only these services.
    #[arg(long, value_name = "SERVICE")]
    only: Vec<String>,
    /// What is told to the log, which goes to standard error.
    #[arg(long, default_value = "info")]
    log: tracing::Level,
}

pub(super) fn main(arguments: &RunArguments) -> Outcome {
    super::log_to_stderr(arguments.log);
    let file = match super::read(&arguments.file)? {
        Ok(file) => file,
        Err(report) => {
            eprintln!("{report}, so nothing was started");
            return Ok(ExitCode::FAILURE);
        }
    };
    for name in &arguments.only {
        if !file
            .services
            .iter()
            .any(|service| service.what.name == *name)
        {
            let names = file
                .services
                .iter()
                .map(|service| service.what.name.as_str());
            let names = crate::file::quoted(names);
            return Err(format!("--only {name}: the file has no such service, but {names}").into());
        }
    }
    let context = tables::context(file.tables.iter().map(|table| &table.what));
    let context = serve::wait_for(context)?;
    let context = context.map_err(|(name, error)| format!("the table `{name}`: {error}"))?;
    let session = Session::new();
    let reload = file.reload();
    let (mut services, mut queries) = (Vec::new(), Vec::new());
    for service in file.services.iter().map(|service| &service.what) {
        if !arguments.only.is_empty() && !arguments.only.contains(&service.name) {
            continue;
        }
        let query = serve::start(&session, service, &context, reload).map_err(|error| {
            format!(
                "the service `{}`: {}",
                service.name,
                error.told(|part| part.key())
            )
        });
        match query {
            Ok(query) => {
                services.push(service);
                queries.push(query);
            }
            Err(error) => {
                serve::stop(&session);
                return Err(error.into());
            }
        }
    }
    serve::announce(services.into_iter().zip(&queries), &session)?;
    serve::until_ended(&session, &queries)
}
