//! The same bytes to hyper and to the codec. Where the verdicts differ, a row of [`table`] says why
//! ours is right; a difference without a row is a fault of one of them.

pub mod hyper;
pub mod table;

use std::fmt;

use snapback::internals::{Event, Limits, replay};

/// What a server makes of all that a client sends before it closes its side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The requests that it serves, in order.
    pub served: Vec<Served>,
    /// What comes behind them.
    pub end: End,
}

/// A request that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// As it was sent.
    pub method: String,
    /// Path and query, or `*`.
    pub target: String,
    /// Without chunk framing.
    pub body: Vec<u8>,
}

/// How the connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// In order: everything was served, or the last reply closes.
    Done,
    /// A request is not whole.
    Waits,
    /// A request is refused with a status; 0 if the connection closes without one.
    Refuses {
        /// The status of the answer.
        status: u16,
        /// The name of the fault; empty for hyper.
        fault: String,
    },
}

/// The first thing in which two verdicts differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What the codec does where they part.
    pub ours: Deed,
    /// What hyper does there.
    pub theirs: Deed,
}

/// What one of the two does with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It serves it.
    Serves(Served),
    /// It comes to an end.
    Ends(End),
}

/// Any bytes as what a connection receives.
///
/// # Panics
///
/// If the verdicts differ and no row explains it.
pub fn run(bytes: &[u8]) {
    if let Some(difference) = difference(bytes) {
        assert!(
            table::explain(&difference).is_some(),
            "{difference}\nfor \"{}\"",
            bytes.escape_ascii()
        );
    }
}

/// Where the verdicts on these bytes part, if they do.
pub fn difference(bytes: &[u8]) -> Option<Difference> {
    let (ours, theirs) = (ours(bytes), hyper::verdict(bytes));
    (0..).find_map(|index| match (ours.deed(index), theirs.deed(index)) {
        (ours, theirs) if !is_same(&ours, &theirs) => Some(Some(Difference { ours, theirs })),
        (Deed::Ends(_), _) | (_, Deed::Ends(_)) => Some(None),
        _ => None,
    })?
}

fn is_same(ours: &Deed, theirs: &Deed) -> bool {
    match (ours, theirs) {
        (
            Deed::Ends(End::Refuses { status: ours, .. }),
            Deed::Ends(End::Refuses { status: theirs, .. }),
        ) => ours == theirs,
        _ => ours == theirs,
    }
}

/// What the codec makes of them. The connection ends behind a reply that closes.
fn ours(bytes: &[u8]) -> Verdict {
    let mut served = Vec::new();
    for event in replay([bytes], &Limits::default()) {
        let end = match event {
            Event::Request(request) => {
                served.push(Served {
                    method: request.method,
                    target: request.target,
                    body: request.body,
                });
                if request.keep_alive {
                    continue;
                }
                End::Done
            }
            Event::Refused { status, fault, .. } => End::Refuses { status, fault },
            Event::Continue => continue,
            Event::More => End::Waits,
        };
        return Verdict { served, end };
    }
    Verdict {
        served,
        end: End::Done,
    }
}

impl Verdict {
    fn deed(&self, index: usize) -> Deed {
        match self.served.get(index) {
            Some(served) => Deed::Serves(served.clone()),
            None => Deed::Ends(self.end.clone()),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ours: {}, theirs: {}", self.ours, self.theirs)
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deed::Serves(Served {
                method,
                target,
                body,
            }) => write!(f, "serves {method} {target} \"{}\"", body.escape_ascii()),
            Deed::Ends(End::Done) => f.write_str("is done"),
            Deed::Ends(End::Waits) => f.write_str("waits"),
            Deed::Ends(End::Refuses { status, fault }) => write!(f, "refuses {status} {fault}"),
        }
    }
}
