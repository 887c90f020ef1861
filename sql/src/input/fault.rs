//! Why a body was refused, for its sender.

use snapback::Reply;

use super::tape::{Value, bounded, shown};
use crate::ddl;
use datafusion::arrow::datatypes::{DataType, Schema};

/// One value that does not fit. Boxed, since it is made on a cold path and passed through hot ones.
#[derive(Debug)]
pub(crate) struct Fault(Box<Misfit>);

#[derive(Debug)]
struct Misfit {
    /// The way to the value, innermost step first.
    path: Vec<String>,
    what: What,
}

#[derive(Debug)]
enum What {
    Unfit { expected: String, received: String },
    Missing { expected: String },
    Repeated,
}

impl Fault {
    /// The value is not one of the type.
    #[cold]
    pub(super) fn unfit(data_type: &DataType, value: Value<'_, '_>) -> Self {
        Fault::new(What::Unfit {
            expected: ddl::type_name(data_type),
            received: shown(value),
        })
    }

    /// The column takes no null.
    #[cold]
    pub(super) fn null(data_type: &DataType) -> Self {
        Fault::new(What::Unfit {
            expected: format!("{} NOT NULL", ddl::type_name(data_type)),
            received: "null".to_owned(),
        })
    }

    #[cold]
    pub(super) fn missing(data_type: &DataType) -> Self {
        Fault::new(What::Missing {
            expected: ddl::type_name(data_type),
        })
    }

    /// The object has the key twice, and nobody can tell which is meant.
    #[cold]
    pub(super) fn repeated() -> Self {
        Fault::new(What::Repeated)
    }

    fn new(what: What) -> Self {
        let path = Vec::new();
        Fault(Box::new(Misfit { path, what }))
    }

    /// The fault, seen from outside of `step`: a field's name, or `[3]`.
    #[cold]
    pub(super) fn inside(mut self, step: &str) -> Self {
        self.0.path.push(bounded(step));
        self
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for step in self.0.path.iter().rev() {
            if !path.is_empty() && !step.starts_with('[') {
                path.push('.');
            }
            path.push_str(step);
        }
        path
    }
}

/// Why a request is refused before it is a row.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The body is not JSON.
    NoJson(String),
    /// The body is JSON, but no object.
    NoObject(String),
    /// One of its values does not fit.
    Value(Fault),
    /// A query parameter does not fit.
    Query(Fault),
    /// A header field does not fit.
    Header(Fault),
    /// The body is no text.
    NoText,
    /// None of its values fits.
    Nothing,
    /// The body is an array, of which this row is refused.
    Row { row: usize, why: Box<Refused> },
    /// The body is an array of more rows than a request may have.
    TooManyRows { limit: usize },
    /// The body alone is longer than a batch can hold.
    TooLarge { limit_bytes: usize },
    /// The batch of this turn is full.
    NoRoom,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Refused::Value(fault)
    }
}

impl Refused {
    /// The same, for a row of a body that is an array of them.
    #[cold]
    pub(super) fn inside(self, row: usize) -> Self {
        match self {
            Refused::Value(fault) => Refused::Value(fault.inside(&format!("[{row}]"))),
            why => Refused::Row {
                row,
                why: Box::new(why),
            },
        }
    }

    /// Answers with a problem document that names the field, what was expected and what was
    /// received; where no field is at fault, it is the schema and the body that it names.
    #[cold]
    pub(crate) fn answer(&self, schema: &Schema, body: &[u8], reply: &mut Reply<'_>) {
        const UNFIT: &str = "the request body does not fit";
        match self {
            Refused::Value(fault) => fault.answer("the request body does not fit: field", reply),
            Refused::Query(fault) => {
                fault.answer("the request does not fit: query parameter", reply);
            }
            Refused::Header(fault) => {
                fault.answer("the request does not fit: header field", reply);
            }
            Refused::NoText => reply.problem(400, &format!("{UNFIT}: it is not UTF-8")),
            Refused::NoJson(error) => {
                whole(
                    reply,
                    schema,
                    body,
                    &format!("{UNFIT}: it is not JSON: {error}"),
                );
            }
            Refused::NoObject(received) => {
                let detail = format!("{UNFIT}: expected an object, received {received}");
                whole(reply, schema, body, &detail);
            }
            Refused::Row { row, why } => {
                let what = match &**why {
                    Refused::NoObject(received) => {
                        format!("expected an object, received {received}")
                    }
                    _ => "none of its fields does".to_owned(),
                };
                whole(
                    reply,
                    schema,
                    body,
                    &format!("{UNFIT}: row [{row}]: {what}"),
                );
            }
            Refused::TooManyRows { limit } => {
                let detail = format!("the request body has more than {limit} rows");
                reply.problem(413, &detail);
            }
            Refused::Nothing => {
                whole(
                    reply,
                    schema,
                    body,
                    &format!("{UNFIT}: none of its fields does"),
                );
            }
            Refused::TooLarge { limit_bytes } => {
                let detail = format!(
                    "the request body has {} bytes; a column pipeline takes {limit_bytes} at most",
                    body.len()
                );
                reply.problem(413, &detail);
            }
            Refused::NoRoom => {
                reply.header("retry-after", "1");
                reply.problem(503, "the batch at hand is full: try again later");
            }
        }
    }
}

impl Fault {
    fn answer(&self, place: &str, reply: &mut Reply<'_>) {
        let path = self.path();
        let fault = |what: &str| format!("{place} `{path}`: {what}");
        match &self.0.what {
            What::Unfit { expected, received } => {
                let detail = fault(&format!("expected {expected}, received {received}"));
                let members = [
                    ("field", path.as_str()),
                    ("expected", expected),
                    ("received", received),
                ];
                reply.problem_with(400, &detail, &members);
            }
            What::Missing { expected } => {
                let detail = fault(&format!("expected {expected}, but it is missing"));
                let members = [("field", path.as_str()), ("expected", expected)];
                reply.problem_with(400, &detail, &members);
            }
            What::Repeated => {
                reply.problem_with(400, &fault("it stands there twice"), &[("field", &path)]);
            }
        }
    }
}

/// A fault of the whole body.
fn whole(reply: &mut Reply<'_>, schema: &Schema, body: &[u8], detail: &str) {
    let expected = ddl::write(schema);
    let start = &body[..body.len().min(1024)];
    let received = bounded(&String::from_utf8_lossy(start));
    let members = [("expected", expected.as_str()), ("received", &received)];
    reply.problem_with(400, detail, &members);
}
