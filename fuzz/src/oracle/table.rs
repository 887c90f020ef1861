//! Why the codec is right where hyper says otherwise: one row per class of differences.
//!
//! No row lets the two serve the same request with other bodies or methods, and none lets hyper
//! serve what the codec still waits for: they would frame in two ways.

use super::{Deed, Difference, End, Served};

/// One class of differences.
#[derive(Debug)]
pub struct Row {
    /// What the codec does.
    pub ours: Ours,
    /// What hyper does.
    pub theirs: Theirs,
    /// Where the rule stands.
    pub section: &'static str,
    /// Why ours is right.
    pub why: &'static str,
}

/// What the codec does.
#[derive(Clone, Copy, Debug)]
pub enum Ours {
    /// It refuses with this fault.
    Fault(&'static str),
    /// It refuses with any fault of this status.
    Status(u16),
    /// It serves a request of which this holds.
    Serves(fn(&Served) -> bool),
    /// It waits for more.
    Waits,
}

/// What hyper does.
#[derive(Clone, Copy, Debug)]
pub enum Theirs {
    /// It serves the request, or waits for the rest of it, or sees none.
    Takes,
    /// It waits for more.
    Awaits,
    /// It refuses, with any status or none.
    Refuses,
    /// It serves the same request under a target of which this holds.
    Renames(fn(&str) -> bool),
    /// It saw no request.
    SeesNone,
}

use Ours::{Fault, Serves, Status, Waits};
use Theirs::{Awaits, Refuses, Renames, SeesNone, Takes};

/// All classes.
pub static ROWS: &[Row] = &[
    Row {
        ours: Fault("EmptyLines"),
        theirs: Takes,
        section: "RFC 9112, section 2.2",
        why: "at least one empty line before a request should be ignored, and any number is work for nothing",
    },
    Row {
        ours: Fault("LineBreak"),
        theirs: Takes,
        section: "RFC 9112, sections 2.2 and 7.1",
        why: "a recipient may take an LF alone for a line end, and one that does not finds other lines",
    },
    Row {
        ours: Fault("Target"),
        theirs: Takes,
        section: "RFC 9112, section 3.2",
        why: "* is for OPTIONS, authority-form for CONNECT, other schemes are not served, and a target has no fragment, which hyper drops",
    },
    Row {
        ours: Fault("HostMissing"),
        theirs: Takes,
        section: "RFC 9112, section 3.2",
        why: "a server must answer 400 to an HTTP/1.1 request without Host",
    },
    Row {
        ours: Fault("HostRepeated"),
        theirs: Takes,
        section: "RFC 9112, section 3.2",
        why: "a server must answer 400 to a request with more than one Host",
    },
    Row {
        ours: Fault("Host"),
        theirs: Takes,
        section: "RFC 9112, section 3.2",
        why: "a server must answer 400 to a request with an invalid Host",
    },
    Row {
        ours: Fault("HostDiffers"),
        theirs: Takes,
        section: "RFC 9112, section 3.2",
        why: "a client must send the same host in both; one reader routes by the target, another by the field",
    },
    Row {
        ours: Fault("ContentLengthRepeated"),
        theirs: Takes,
        section: "RFC 9110, section 8.6",
        why: "several lengths, equal ones too, may be refused, and differing ones must be",
    },
    Row {
        ours: Fault("LengthAndCoding"),
        theirs: Takes,
        section: "RFC 9112, section 6.1",
        why: "both together may be an attempt at smuggling, and a server may refuse it; hyper forgets the length",
    },
    Row {
        ours: Fault("TransferEncoding"),
        theirs: Takes,
        section: "RFC 9112, section 6.1",
        why: "chunked must not be applied twice, and readers disagree about empty elements",
    },
    Row {
        ours: Fault("Coding"),
        theirs: Takes,
        section: "RFC 9112, section 6.1",
        why: "a server should answer 501 to a coding that it does not know; hyper hands out the coded bytes",
    },
    Row {
        ours: Fault("ChunkSize"),
        theirs: Takes,
        section: "RFC 9112, section 7.1",
        why: "more than sixteen digits are refused whatever they say, as a recipient must guard against overflows",
    },
    Row {
        ours: Fault("ChunkExtension"),
        theirs: Takes,
        section: "RFC 9112, section 7.1.1",
        why: "extensions have a grammar, and readers of broken ones have found other line ends",
    },
    Row {
        ours: Fault("Connect"),
        theirs: Takes,
        section: "RFC 9110, section 9.3.6",
        why: "what follows a CONNECT that is answered could be a tunnel's bytes",
    },
    Row {
        ours: Fault("Expectation"),
        theirs: Takes,
        section: "RFC 9110, section 10.1.1",
        why: "a server may answer 417 to an expectation that it does not know; hyper does not look",
    },
    Row {
        ours: Fault("BodyTooLarge"),
        theirs: Takes,
        section: "RFC 9110, section 15.5.14",
        why: "the body is refused as soon as it is announced; hyper leaves the limit to the service",
    },
    Row {
        ours: Fault("TargetTooLong"),
        theirs: Takes,
        section: "RFC 9112, section 3",
        why: "the limit is 16 KiB here, and more than 64 KiB there",
    },
    Row {
        ours: Fault("HeadTooLarge"),
        theirs: Takes,
        section: "RFC 9110, section 5.4",
        why: "the limit is 16 KiB here, and about 400 KiB there",
    },
    Row {
        ours: Fault("HeaderName"),
        theirs: Awaits,
        section: "RFC 9112, section 7.1.2",
        why: "trailers that an LF alone ends are looked at then; hyper waits for another end",
    },
    Row {
        ours: Fault("HeaderValue"),
        theirs: Awaits,
        section: "RFC 9112, section 7.1.2",
        why: "trailers that an LF alone ends are looked at then; hyper waits for another end",
    },
    Row {
        ours: Status(400),
        theirs: Refuses,
        section: "RFC 9112, sections 2.2, 6.3 and 7.1",
        why: "both refuse; hyper leaves the answer to a broken body to the service, which cannot give one, and counts fields before it looks at them",
    },
    Row {
        ours: Status(413),
        theirs: Refuses,
        section: "RFC 9110, section 15.5.14",
        why: "both refuse; hyper has other limits",
    },
    Row {
        ours: Status(414),
        theirs: Refuses,
        section: "RFC 9110, section 15.5.15",
        why: "both refuse; hyper finds another fault behind the limit",
    },
    Row {
        ours: Status(417),
        theirs: Refuses,
        section: "RFC 9110, section 15.5.18",
        why: "both refuse; hyper finds another fault in the body",
    },
    Row {
        ours: Status(431),
        theirs: Refuses,
        section: "RFC 6585, section 5",
        why: "both refuse; hyper finds another fault first, or leaves trailers to the service",
    },
    Row {
        ours: Status(501),
        theirs: Refuses,
        section: "RFC 9112, section 6.1",
        why: "both refuse; hyper finds another fault in the body",
    },
    Row {
        ours: Status(505),
        theirs: Refuses,
        section: "RFC 9110, section 15.6.6",
        why: "both refuse; 505 names what is wrong, and hyper's parser does not keep the version",
    },
    Row {
        ours: Serves(has_unusual_target),
        theirs: Refuses,
        section: "RFC 9112, section 3.2",
        why: "such bytes should not be in a target, but browsers send them, and they end nothing: the target is passed on as it came",
    },
    Row {
        ours: Serves(asks_about_the_server),
        theirs: Renames(|target| target == "/"),
        section: "RFC 9112, section 3.2.4",
        why: "OPTIONS for a URL without a path is OPTIONS *",
    },
    Row {
        ours: Waits,
        theirs: Refuses,
        section: "RFC 9112, section 3",
        why: "what is wrong with a line is said when the line is there, so that the answer does not depend on the split",
    },
    Row {
        ours: Waits,
        theirs: SeesNone,
        section: "RFC 9112, section 2.2",
        why: "an empty line may be the beginning of a request; neither serves anything",
    },
];

/// The row that explains the difference, if one does.
pub fn explain(difference: &Difference) -> Option<&'static Row> {
    ROWS.iter()
        .find(|row| is_ours(row.ours, &difference.ours) && is_theirs(row.theirs, difference))
}

fn is_ours(row: Ours, deed: &Deed) -> bool {
    match (row, deed) {
        (Fault(name), Deed::Ends(End::Refuses { fault, .. })) => name == fault,
        (Status(code), Deed::Ends(End::Refuses { status, .. })) => code == *status,
        (Serves(holds), Deed::Serves(served)) => holds(served),
        (Waits, Deed::Ends(End::Waits)) => true,
        _ => false,
    }
}

fn is_theirs(row: Theirs, difference: &Difference) -> bool {
    match (row, &difference.theirs) {
        (Takes, Deed::Ends(End::Refuses { .. })) => false,
        (Takes, _) => true,
        (Refuses, Deed::Ends(End::Refuses { .. })) | (Awaits, Deed::Ends(End::Waits)) => true,
        (Renames(holds), Deed::Serves(theirs)) => match &difference.ours {
            Deed::Serves(ours) => {
                (&ours.method, &ours.body) == (&theirs.method, &theirs.body)
                    && holds(&theirs.target)
            }
            Deed::Ends(_) => false,
        },
        (SeesNone, Deed::Ends(End::Done)) => true,
        _ => false,
    }
}

/// A byte that no URI has (RFC 3986, section 2), and that hyper does not let through.
fn has_unusual_target(served: &Served) -> bool {
    served.target.bytes().any(|byte| b"\"<>`".contains(&byte))
}

fn asks_about_the_server(served: &Served) -> bool {
    (served.method.as_str(), served.target.as_str()) == ("OPTIONS", "*")
}
