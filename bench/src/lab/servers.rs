//! The servers of the lab, as the comparison starts them.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::compare::{Contender, Entrant};

/// One of ours, with one partition.
#[derive(Clone, Debug)]
pub(super) struct Ours<'a> {
    name: String,
    poll_mode: &'a str,
    listen: String,
    checkpoint: Option<&'a Path>,
    more: String,
}

impl<'a> Ours<'a> {
    /// Hello world over TCP, without a checkpoint.
    pub(super) fn hello(name: &str, poll_mode: &'a str) -> Ours<'a> {
        Ours {
            name: name.to_owned(),
            poll_mode,
            listen: "127.0.0.1:0".to_owned(),
            checkpoint: None,
            more: String::new(),
        }
    }

    /// With a checkpoint each second.
    pub(super) fn checkpoint(self, folder: &'a Path) -> Ours<'a> {
        Ours {
            checkpoint: Some(folder),
            ..self
        }
    }

    /// Over a Unix socket.
    pub(super) fn unix(self, socket: &Path) -> Ours<'a> {
        Ours {
            listen: format!("unix:{}", socket.display()),
            ..self
        }
    }

    /// With more arguments.
    pub(super) fn with(mut self, more: &str) -> Ours<'a> {
        self.more.push(' ');
        self.more.push_str(more);
        self
    }

    /// As a comparison wants it.
    pub(super) fn entrant(&self) -> Entrant {
        Entrant::Started(self.contender())
    }

    /// As whoever starts it wants it.
    pub(super) fn contender(&self) -> Contender {
        let Ours {
            name,
            poll_mode,
            listen,
            checkpoint,
            more,
        } = self;
        let checkpoint = match checkpoint {
            Some(folder) => folder.display().to_string(),
            None => "none".to_owned(),
        };
        let text = format!(
            "{name}={{self}} serve hello --listen {listen} --cores {{core}} --poll-mode {poll_mode} \
             --checkpoint {checkpoint}{more}"
        );
        text.parse().expect("a name and a command")
    }
}

/// The floor in a poll mode.
pub(super) fn floor(poll_mode: &str) -> Contender {
    let name = match poll_mode {
        "spin" => "floor-spin",
        _ => "floor",
    };
    name.parse().expect("a server that is built in")
}

/// Servers that others wrote, as far as they are there.
pub(super) fn rivals() -> Vec<Contender> {
    let mut rivals: Vec<Contender> = Vec::new();
    #[cfg(feature = "rivals")]
    for name in crate::rivals::names() {
        let text = format!("{name}={{self}} rival {name} --listen 127.0.0.1:{{port}}");
        rivals.push(text.parse().expect("a name and a command"));
    }
    let nginx = Command::new("nginx")
        .arg("-v")
        .stderr(Stdio::null())
        .status();
    if nginx.is_ok_and(|status| status.success()) {
        rivals.push("nginx".parse().expect("a server that is built in"));
    }
    rivals
}
