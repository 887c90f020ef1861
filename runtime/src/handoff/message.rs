//! What two processes say to each other: a line with the version, then JSON.

use serde::{Deserialize, Serialize};

use super::Asked;
use crate::service_info::Scheme;

/// Raised with every change that an older process would not understand.
pub(super) const VERSION: u32 = 1;
const NAME: &str = "snapback-handoff";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Message {
    /// The new process says what it wants.
    Hello { pid: u32, asked: Asked },
    /// The old process will not.
    Refused { reason: String },
    /// The old process says who it is, how many listeners come, and for how many partitions; the
    /// socket of hand-offs comes with this.
    Offer {
        pid: u32,
        listeners: usize,
        partitions: usize,
    },
    /// Some listeners, in the order of the descriptors that come with them.
    Listeners(Vec<Described>),
    /// The new process serves.
    Ready,
    /// The old process leaves.
    Yours,
}

/// What a descriptor does not say of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Described {
    /// The partition that listens; 0 where all share their listeners.
    pub(super) partition: usize,
    /// What is spoken there.
    pub(super) scheme: Scheme,
    /// Whether the file of the socket goes over with it.
    pub(super) has_file: bool,
    /// Whether a service manager has it too, and goes on with it after both. An older process does not
    /// say, and all without a file are taken for kept then: so nothing is shut down wrongly.
    pub(super) is_kept: Option<bool>,
}

/// Why bytes are no message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    Version(String),
    Malformed(String),
}

pub(super) fn encode(message: &Message) -> Vec<u8> {
    let json = serde_json::to_string(message).expect("plain data serializes");
    format!("{NAME} {VERSION}\n{json}").into_bytes()
}

pub(super) fn decode(bytes: &[u8]) -> Result<Message, Flaw> {
    let malformed = |what: &str| Flaw::Malformed(what.to_owned());
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("bytes that are no text"))?;
    let (line, json) = text.split_once('\n').unwrap_or((text, ""));
    let version = line
        .strip_prefix(NAME)
        .and_then(|rest| rest.strip_prefix(' '));
    let version = version.ok_or_else(|| malformed("what is no message of a hand-off"))?;
    if version != VERSION.to_string() {
        return Err(Flaw::Version(version.chars().take(20).collect()));
    }
    serde_json::from_str(json)
        .map_err(|error| Flaw::Malformed(format!("a message that cannot be read ({error})")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked() -> Asked {
        Asked {
            service: "my_api".to_owned(),
            places: vec!["http at 127.0.0.1, port 8888".to_owned()],
            has_port_per_partition: false,
        }
    }

    #[test]
    fn messages_are_read_as_they_were_written() {
        let described = Described {
            partition: 3,
            scheme: Scheme::Https,
            has_file: true,
            is_kept: Some(false),
        };
        for message in [
            Message::Hello {
                pid: 7,
                asked: asked(),
            },
            Message::Refused {
                reason: "no".to_owned(),
            },
            Message::Offer {
                pid: 7,
                listeners: 2,
                partitions: 1,
            },
            Message::Listeners(vec![described; 128]),
            Message::Ready,
            Message::Yours,
        ] {
            let bytes = encode(&message);
            assert!(bytes.len() < crate::io::passing::MAX_MESSAGE_BYTES);
            assert_eq!(decode(&bytes), Ok(message));
        }
        expect_test::expect![[r#"
            snapback-handoff 1
            {"hello":{"pid":7,"asked":{"service":"my_api","places":["http at 127.0.0.1, port 8888"],"hasPortPerPartition":false}}}"#]]
        .assert_eq(&String::from_utf8(encode(&Message::Hello { pid: 7, asked: asked() })).unwrap());
    }

    #[test]
    fn another_version_is_told_apart_from_nonsense() {
        assert_eq!(
            decode(b"snapback-handoff 2\n{}"),
            Err(Flaw::Version("2".to_owned()))
        );
        for nonsense in [
            "",
            "GET / HTTP/1.1\r\n",
            "snapback-handoff 1\n{}",
            "snapback-handoff 1",
        ] {
            assert!(
                matches!(decode(nonsense.as_bytes()), Err(Flaw::Malformed(_))),
                "{nonsense}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let _ = decode(&[b"snapback-handoff 1\n".as_slice(), &bytes].concat());
        }
    }
}
