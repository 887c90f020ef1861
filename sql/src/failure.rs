//! Why a row could not be evaluated, and what its client is told.

use std::error::Error;
use std::thread;

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use snapback::Context;
use snapback_operators::discard_payload;

/// A row at which the program failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A function of the user's panicked.
    Panic,
    Error(DataFusionError),
}

impl Failure {
    /// What came of an evaluation that may have panicked.
    pub(crate) fn of<T>(
        evaluated: thread::Result<Result<T, DataFusionError>>,
    ) -> Result<T, Failure> {
        match evaluated {
            Ok(result) => result.map_err(Failure::Error),
            Err(payload) => {
                discard_payload(payload);
                Err(Failure::Panic)
            }
        }
    }

    /// Answers the request: 400 where its values make a computation impossible (a division by
    /// zero, a cast of `"abc"` to a number), otherwise 500, without a word of why.
    #[cold]
    pub(crate) fn answer(&self, cx: &mut Context<'_, '_>) {
        match self.fault_of_input() {
            Some(detail) => cx.reply().problem(400, &detail),
            None => cx.fail(),
        }
    }

    /// Whether it is the pipeline that failed, not the request.
    pub(crate) fn is_ours(&self) -> bool {
        self.fault_of_input().is_none()
    }

    fn fault_of_input(&self) -> Option<String> {
        let Failure::Error(error) = self else {
            return None;
        };
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = cause {
            let arrow = match error.downcast_ref::<DataFusionError>() {
                Some(DataFusionError::ArrowError(error, _)) => Some(error.as_ref()),
                _ => error.downcast_ref::<ArrowError>(),
            };
            if let Some(detail) = arrow.and_then(impossible) {
                return Some(detail);
            }
            cause = error.source();
        }
        None
    }

    /// Writes the failure to the log: its kind as a warning, and its text, in which values of the
    /// request may stand, for those who debug.
    pub(crate) fn log(&self) {
        match self {
            Failure::Panic => tracing::warn!("a function of a column pipeline panicked"),
            Failure::Error(error) => {
                tracing::warn!("a column pipeline failed: {}", kind(error.find_root()));
                tracing::debug!("a column pipeline failed: {error}");
            }
        }
    }
}

fn kind(error: &DataFusionError) -> &'static str {
    match error {
        DataFusionError::ArrowError(..) => "a computation of Arrow's was refused",
        DataFusionError::Execution(_) => "a function gave an error",
        DataFusionError::External(_) => "a function gave an error of its own type",
        DataFusionError::ResourcesExhausted(_) => "a bound was exceeded",
        DataFusionError::Internal(_) => "DataFusion broke a promise of its own",
        DataFusionError::NotImplemented(_) => "DataFusion does not implement it",
        _ => "DataFusion gave an error",
    }
}

/// What the values of a row make impossible.
fn impossible(error: &ArrowError) -> Option<String> {
    match error {
        ArrowError::DivideByZero => {
            Some("the request makes the pipeline divide by zero".to_owned())
        }
        ArrowError::CastError(what)
        | ArrowError::ParseError(what)
        | ArrowError::ArithmeticOverflow(what) => Some(format!(
            "the request has a value that the pipeline cannot compute with: {what}"
        )),
        _ => None,
    }
}
