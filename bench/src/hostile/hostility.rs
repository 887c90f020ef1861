//! The kinds of hostile clients, and how many of each there are.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::load::parse_duration;

/// How a client is hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Hostility {
    /// 5,000 connections send a head, a byte every two seconds.
    Slowloris,
    /// 1,000 connections send half of a body of 64 KiB, and wait.
    HalfBodies,
    /// 1,000 connections ask for 1 MiB, and read 1 KiB a second.
    SlowReaders,
    /// 500 connections a second are closed or reset at once, amid a request, before the reply is
    /// read, or after it.
    Churn,
    /// 200 connections a second send up to 4 KiB of random bytes, or a request with some in it.
    Garbage,
    /// 20 bodies a second are gzip of 64 MiB of zeros.
    GzipBombs,
    /// Requests that make the pipeline panic, at `--poison-rate`.
    Poison,
    /// Some hundred connections a second ask `serve mixed` for a reply that comes later, and are
    /// reset at once or a moment later.
    Aborts,
}

/// How hostile, at which price.
#[derive(Args, Clone, Debug)]
pub struct AttackOptions {
    /// Of how many hostile clients there are, as a factor: 0.01 is one of a hundred.
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// The part of its core, from 0 to 1, that the hostile client may use.
    #[arg(long, default_value_t = 0.6)]
    pub share: f64,
    /// Over how long the connections are opened at first. Those that a server closes after some
    /// time then come back spread over as long, and not all in one moment.
    #[arg(long, value_parser = parse_duration, default_value = "10s")]
    pub ramp: Duration,
    /// Requests per second that make the pipeline panic; for `poison` only.
    #[arg(long, default_value_t = 2.0)]
    pub poison_rate: f64,
    /// The seed of garbage and of the ways in which connections end.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// The hostile clients of one kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Crowd {
    /// How many there are.
    pub(super) clients: usize,
    /// How often each does something.
    pub(super) every: Duration,
}

impl Hostility {
    /// All but `poison`, which is not the doing of a bad client, and `aborts`, which not every
    /// service has something to lose by.
    pub(super) const CLIENTS: [Hostility; 6] = [
        Hostility::Slowloris,
        Hostility::HalfBodies,
        Hostility::SlowReaders,
        Hostility::Churn,
        Hostility::Garbage,
        Hostility::GzipBombs,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Hostility::Slowloris => "slowloris",
            Hostility::HalfBodies => "half-bodies",
            Hostility::SlowReaders => "slow-readers",
            Hostility::Churn => "churn",
            Hostility::Garbage => "garbage",
            Hostility::GzipBombs => "gzip-bombs",
            Hostility::Poison => "poison",
            Hostility::Aborts => "aborts",
        }
    }

    pub(super) fn crowd(self, options: &AttackOptions) -> Crowd {
        let ms = Duration::from_millis;
        let (clients, every) = match self {
            Hostility::Slowloris => (5000, ms(2000)),
            Hostility::HalfBodies => (1000, ms(2000)),
            Hostility::SlowReaders => (1000, ms(1000)),
            // A step opens, the next one closes.
            Hostility::Churn => (100, ms(100)),
            Hostility::Garbage => (40, ms(100)),
            Hostility::GzipBombs => (10, ms(500)),
            Hostility::Aborts => (40, ms(50)),
            Hostility::Poison => {
                let every = Duration::from_secs_f64(1.0 / options.poison_rate);
                return Crowd { clients: 1, every };
            }
        };
        Crowd {
            clients: ((clients as f64 * options.scale).round() as usize).max(1),
            every,
        }
    }

    /// What a server with the default options may have to hold for one such client: the bound of
    /// its memory is the sum of these.
    pub(super) fn holds_bytes(self) -> u64 {
        match self {
            // `maxHeadBytes`.
            Hostility::Slowloris => 16 << 10,
            // Its body, and the head before it.
            Hostility::HalfBodies => (64 << 10) + (16 << 10),
            // A reply that no kernel buffer took, in a buffer that was doubled as it grew.
            Hostility::SlowReaders => 2 << 20,
            // `maxHeadBytes` again.
            Hostility::Churn | Hostility::Garbage | Hostility::Poison | Hostility::Aborts => {
                16 << 10
            }
            // `maxRequestBytes`, decoded, and the encoded body.
            Hostility::GzipBombs => (8 << 20) + (1 << 20),
        }
    }
}

/// Who is hostile during a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assault {
    /// Nobody: two measurements alike, whose ratio is that of chance.
    Nobody,
    /// One kind.
    One(Hostility),
    /// All kinds of bad clients at a time.
    All,
}

impl Assault {
    /// The kinds of clients that take part.
    pub fn kinds(&self) -> &[Hostility] {
        match self {
            Assault::Nobody => &[],
            Assault::One(kind) => std::slice::from_ref(kind),
            Assault::All => &Hostility::CLIENTS,
        }
    }

    /// By how much the server's memory may grow under it.
    pub(super) fn holds_bytes(&self, options: &AttackOptions) -> u64 {
        let of = |kind: &Hostility| kind.crowd(options).clients as u64 * kind.holds_bytes();
        self.kinds().iter().map(of).sum()
    }
}

impl FromStr for Assault {
    type Err = String;

    fn from_str(text: &str) -> Result<Assault, String> {
        match text {
            "nobody" => Ok(Assault::Nobody),
            "all" => Ok(Assault::All),
            _ => Hostility::from_str(text, false)
                .map(Assault::One)
                .map_err(|_| {
                    let kinds = Hostility::value_variants().iter();
                    let names: Vec<_> = kinds.map(|kind| kind.name()).collect();
                    format!("expected nobody, all, or one of {}", names.join(", "))
                }),
        }
    }
}

impl fmt::Display for Assault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Assault::Nobody => "nobody",
            Assault::One(kind) => kind.name(),
            Assault::All => "all",
        })
    }
}

impl Serialize for Assault {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assaults_are_read_by_the_names_that_they_show() {
        let mut names = vec!["nobody".to_owned(), "all".to_owned()];
        let kinds = Hostility::value_variants().iter();
        names.extend(kinds.map(|kind| kind.name().to_owned()));
        for name in names {
            let assault: Assault = name.parse().expect("a name of ours");
            assert_eq!(assault.to_string(), name);
        }
        let error = "slow".parse::<Assault>().expect_err("no such kind");
        assert!(error.contains("slowloris, half-bodies"), "{error}");
    }

    #[test]
    fn a_scale_keeps_at_least_one_client_of_each_kind() {
        let options = AttackOptions {
            scale: 0.001,
            share: 0.5,
            ramp: Duration::ZERO,
            poison_rate: 4.0,
            seed: 1,
        };
        let clients = |kind: Hostility| kind.crowd(&options).clients;
        assert_eq!(clients(Hostility::Slowloris), 5);
        assert_eq!(clients(Hostility::GzipBombs), 1);
        let poison = Hostility::Poison.crowd(&options);
        assert_eq!(
            (poison.clients, poison.every),
            (1, Duration::from_millis(250))
        );
        let held = Assault::All.holds_bytes(&options);
        let alone: u64 = Hostility::CLIENTS
            .iter()
            .map(|&kind| Assault::One(kind).holds_bytes(&options))
            .sum();
        assert_eq!(held, alone);
    }
}
