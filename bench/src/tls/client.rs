//! A blocking client, plain or with TLS.

use std::error::Error;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

use super::SelfSigned;
use crate::load::ReplyParser;
use crate::{HELLO_BODY, HELLO_PATH, HELLO_REPLY};

/// How a client connects.
pub(super) enum Security {
    /// Plain HTTP.
    None,
    /// TLS, in words and in fact.
    Tls {
        name: &'static str,
        config: Arc<ClientConfig>,
        resumes: bool,
    },
}

impl Security {
    pub(super) fn tls12(certificate: &SelfSigned) -> Security {
        Security::new("TLS 1.2", &TLS12, certificate)
    }

    pub(super) fn tls13(certificate: &SelfSigned) -> Security {
        Security::new("TLS 1.3", &TLS13, certificate)
    }

    fn new(
        name: &'static str,
        version: &'static SupportedProtocolVersion,
        certificate: &SelfSigned,
    ) -> Security {
        let mut roots = RootCertStore::empty();
        roots
            .add(certificate.certificate().clone())
            .expect("a certificate of ours");
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("versions of the provider");
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::disabled();
        Security::Tls {
            name,
            config: Arc::new(config),
            resumes: false,
        }
    }

    /// The same, but each connection brings the ticket of an earlier one.
    pub(super) fn with_resumption(self) -> Security {
        match self {
            Security::None => Security::None,
            Security::Tls { name, config, .. } => {
                let mut config = ClientConfig::clone(&config);
                config.resumption = Resumption::in_memory_sessions(64);
                Security::Tls {
                    name,
                    config: Arc::new(config),
                    resumes: true,
                }
            }
        }
    }

    pub(super) fn resumes(&self) -> bool {
        matches!(self, Security::Tls { resumes: true, .. })
    }
}

impl fmt::Display for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Security::None => f.write_str("plain"),
            Security::Tls { name, resumes, .. } => {
                write!(f, "{name}{}", if *resumes { " resumed" } else { "" })
            }
        }
    }
}

/// A connection.
pub(super) struct Client {
    stream: Stream,
    unread: Vec<u8>,
    parser: ReplyParser,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Client {
    pub(super) fn connect(security: &Security, port: u16) -> Result<Client, Box<dyn Error>> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let stream = match security {
            Security::None => Stream::Plain(stream),
            Security::Tls { config, .. } => {
                let name = ServerName::try_from("localhost")?;
                let connection = ClientConnection::new(Arc::clone(config), name)?;
                Stream::Tls(Box::new(StreamOwned::new(connection, stream)))
            }
        };
        Ok(Client {
            stream,
            unread: Vec::new(),
            parser: ReplyParser::default(),
        })
    }

    /// Sends so many requests at once, and reads their replies.
    pub(super) fn exchange(&mut self, requests: usize) -> Result<(), Box<dyn Error>> {
        let length = HELLO_BODY.len();
        let request = format!(
            "POST {HELLO_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{HELLO_BODY}"
        );
        self.stream.write_all(request.repeat(requests).as_bytes())?;
        for _ in 0..requests {
            self.reply()?;
        }
        Ok(())
    }

    fn reply(&mut self) -> Result<(), Box<dyn Error>> {
        loop {
            if let Some(reply) = self.parser.parse(&self.unread)? {
                let body = &self.unread[reply.body.clone()];
                if reply.status != 200 || body != HELLO_REPLY.as_bytes() {
                    return Err(format!("{}: {}", reply.status, body.escape_ascii()).into());
                }
                let end = reply.body.end;
                self.unread.drain(..end);
                return Ok(());
            }
            let mut room = [0; 16 << 10];
            let bytes = self.stream.read(&mut room)?;
            if bytes == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.unread.extend_from_slice(&room[..bytes]);
        }
    }

    pub(super) fn handshake_kind(&self) -> Option<HandshakeKind> {
        match &self.stream {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => stream.conn.handshake_kind(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read(room),
            Stream::Tls(stream) => stream.read(room),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}
