//! What hostile clients send.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::hostility::Hostility;
use crate::HELLO_BODY;
use crate::address::Target;
use crate::load::Body;
use crate::random::SplitMix;

/// The requests that clients share; only garbage is each client's own.
pub(super) struct Ammunition {
    slow_head: Body,
    half_body: Body,
    large: Body,
    hello: Body,
    poison: Body,
    deferred: Body,
    bomb: Body,
}

/// How much a bomb decodes to: eight times of what a request may have by default.
const BOMB_BYTES: usize = 64 << 20;

/// The body that half is sent of.
const BODY_BYTES: usize = 64 << 10;

/// The longest garbage.
const GARBAGE_BYTES: u64 = 4096;

impl Ammunition {
    pub(super) fn new(target: &Target) -> io::Result<Ammunition> {
        let json = "Content-Type: application/json\r\n";
        let request = |headers: &str, body: &[u8], length: usize| -> Body {
            let Target { host, path, .. } = target;
            let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n{headers}");
            let framing = format!("Content-Length: {length}\r\n\r\n");
            [head.as_bytes(), framing.as_bytes(), body].concat().into()
        };
        let whole = |body: &str| request(json, body.as_bytes(), body.len());
        let bomb = gzip_of_zeros(BOMB_BYTES)?;
        let gzip = format!("{json}Content-Encoding: gzip\r\n");
        Ok(Ammunition {
            slow_head: request(&"X-Slow: 1\r\n".repeat(1000), b"", 0),
            half_body: request(json, &[b' '; BODY_BYTES / 2], BODY_BYTES),
            large: whole(r#"{"foo":"large","bar":42}"#),
            hello: whole(HELLO_BODY),
            poison: whole(r#"{"foo":"poison","bar":42}"#),
            deferred: whole("defer, and nobody waits"),
            bomb: request(&gzip, &bomb, bomb.len()),
        })
    }

    /// What a client sends on its next connection.
    pub(super) fn script(&self, hostility: Hostility, random: &mut SplitMix) -> Body {
        match hostility {
            Hostility::Slowloris => self.slow_head.clone(),
            Hostility::HalfBodies => self.half_body.clone(),
            Hostility::SlowReaders => self.large.clone(),
            Hostility::Churn => match random.below(4) {
                0 => Body::from([]),
                1 => self.hello[..self.hello.len() / 2].into(),
                _ => self.hello.clone(),
            },
            Hostility::Garbage => self.garbage(random),
            Hostility::GzipBombs => self.bomb.clone(),
            Hostility::Poison => self.poison.clone(),
            Hostility::Aborts => self.deferred.clone(),
        }
    }

    /// Bytes without sense, or a request in which up to eight bytes were replaced: what has no
    /// sense at all is refused at its first line.
    fn garbage(&self, random: &mut SplitMix) -> Body {
        if random.below(2) == 0 {
            let length = 1 + random.below(GARBAGE_BYTES);
            return (0..length).map(|_| random.bits() as u8).collect();
        }
        let mut bytes = self.hello.to_vec();
        for _ in 0..=random.below(8) {
            let place = random.below(bytes.len() as u64) as usize;
            bytes[place] = random.bits() as u8;
        }
        bytes.into()
    }
}

fn gzip_of_zeros(bytes: usize) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..bytes >> 20 {
        encoder.write_all(&zeros)?;
    }
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn ammunition() -> Ammunition {
        let target = "http://127.0.0.1:1/my_api".parse().expect("a target");
        Ammunition::new(&target).expect("memory can be written to")
    }

    #[test]
    fn a_bomb_is_small_and_decodes_to_much() {
        let bomb = ammunition().bomb;
        assert!(bomb.len() < 128 << 10, "{} bytes", bomb.len());
        let begin = bomb.windows(4).position(|four| four == b"\r\n\r\n");
        let body = &bomb[begin.expect("an end of the head") + 4..];
        let mut decoded = Vec::new();
        flate2::read::GzDecoder::new(body)
            .read_to_end(&mut decoded)
            .expect("it is gzip");
        assert_eq!(decoded.len(), BOMB_BYTES);
        let head = String::from_utf8_lossy(&bomb[..begin.unwrap_or(0)]);
        assert!(head.contains("Content-Encoding: gzip\r\n"), "{head}");
        assert!(
            head.ends_with(&format!("Content-Length: {}", body.len())),
            "{head}"
        );
    }

    #[test]
    fn half_a_body_lacks_the_other_half() {
        let half = ammunition().half_body;
        let text = String::from_utf8_lossy(&half);
        let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
        assert!(head.ends_with("Content-Length: 65536"), "{head}");
        assert_eq!(body.len(), 32768);
    }

    #[test]
    fn equal_seeds_give_equal_garbage() {
        let ammunition = ammunition();
        let some = |seed| {
            let mut random = SplitMix::new(seed);
            let garbage = |_| ammunition.script(Hostility::Garbage, &mut random).to_vec();
            (0..100).map(garbage).collect::<Vec<_>>()
        };
        assert_eq!(some(1), some(1));
        assert_ne!(some(1), some(2));
        assert!(
            some(1)
                .iter()
                .all(|bytes| (1..=4096).contains(&bytes.len()))
        );
    }
}
