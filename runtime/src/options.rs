//! The options of a query: one plain struct, declared once in the table below.
//!
//! A string option (`option("numPartitions", 2)`) parses into [`Options`] through [`Options::set`];
//! nothing else in the crate reads option strings. Keys are matched without regard to case, as
//! Spark does. A query has one set of options: the reader and the writer both accept every key,
//! and the one given later wins. [`option_table`] writes the table of `docs/options.md`.

mod kinds;
mod trusted;
mod values;

use std::time::Duration;

use crate::io::pin;
use kinds::{
    Admin, Bytes, Choice, Codings, Cores, Header, Kind, Networks, Number, OptionalNumber,
    OptionalText, Path, SocketNames, Span, Switch, Text,
};

pub use crate::content::ContentCoding;
pub use kinds::{parse_bytes, parse_duration};
pub use trusted::{Network, TrustedProxies};
pub use values::{AdminAddress, ListenFds, Pinning, PollMode, PortMode, TeeOverflow, TlsVersion};

options! {
    /// Where to listen: a name, an IPv4 or IPv6 address (`0.0.0.0` and `::` are all of their
    /// family), `*` for all of both, or `unix:/run/my_api.sock` for a Unix domain socket.
    host: String = "localhost".to_owned(),
        key "host", kind Text, on Reader;
    /// The TCP port; 0 lets the system pick one, which the service info then reports.
    port: u16 = 8888,
        key "port", kind Number { min: 0, max: 65_535 }, on Reader;
    /// The path of the service, matched by whole segments; empty is the root.
    path: String = String::new(),
        key "path", kind Path, on Reader, shown "empty";
    /// The name of the service, to which the writer replies.
    name: Option<String> = None,
        key "name", kind OptionalText, on Reader, shown "the path";
    /// How many partitions serve the query, each on a thread of its own.
    num_partitions: usize = pin::default_partitions(),
        key "numPartitions", kind Number { min: 1, max: 1024 }, on Reader,
        shown "the cores that the process may run on";
    /// The cores that the partitions are pinned to; partitions beyond the cores start again at the
    /// first one.
    pinning: Pinning = Pinning::Auto,
        key "pinning", kind Cores, on Reader;
    /// How an idle partition waits: asleep, spinning for `spinDuration` before it sleeps, or always
    /// spinning.
    poll_mode: PollMode = PollMode::Adaptive,
        key "pollMode", kind Choice, on Reader;
    /// How long an adaptive partition spins after its last request before it sleeps.
    spin_duration: Duration = Duration::from_micros(50),
        key "spinDuration", kind Span, on Reader;
    /// Whether all partitions share one port, or partition `i` listens at `port + i`, for a balancer
    /// of connections.
    port_mode: PortMode = PortMode::Shared,
        key "portMode", kind Choice, on Reader;
    /// The certificate that the service shows to its clients, and those of the authorities between
    /// it and the root, as a PEM file; it turns TLS on, at `tlsPort` or else at `port`.
    tls_cert_file: Option<String> = None,
        key "tlsCertFile", kind OptionalText, on Reader, shown "none";
    /// The private key of `tlsCertFile`, as a PEM file (PKCS #8, PKCS #1 or SEC 1, not encrypted).
    tls_key_file: Option<String> = None,
        key "tlsKeyFile", kind OptionalText, on Reader, shown "none";
    /// The authorities of clients, as a PEM file; with it every client must show a certificate that
    /// one of them signed.
    tls_client_ca_file: Option<String> = None,
        key "tlsClientCaFile", kind OptionalText, on Reader, shown "none";
    /// The oldest version of TLS that is spoken.
    tls_min_version: TlsVersion = TlsVersion::Tls12,
        key "tlsMinVersion", kind Choice, on Reader;
    /// The port that speaks TLS, beside `port` which then speaks plain HTTP; 0 lets the system pick
    /// one. Without it, and with `tlsCertFile`, `port` itself speaks TLS.
    tls_port: Option<u16> = None,
        key "tlsPort", kind OptionalNumber { min: 0, max: 65_535 }, on Reader, shown "none";
    /// Where `tlsPort` listens, in the words of `host`; `unix:/path` needs no `tlsPort`.
    tls_host: Option<String> = None,
        key "tlsHost", kind OptionalText, on Reader, shown "`host`";
    /// Whether connections from `trustedProxies` begin with a header of the PROXY protocol, version
    /// 1 or 2, which names the client; those from elsewhere must not.
    proxy_protocol: bool = false,
        key "proxyProtocol", kind Switch, on Reader;
    /// The balancers whose word on a client's address is taken: addresses, networks such as
    /// `10.0.0.0/8`, and `unix` for Unix domain sockets.
    trusted_proxies: TrustedProxies = TrustedProxies::default(),
        key "trustedProxies", kind Networks, on Reader, shown "none";
    /// How many ports are tried, counting up from the wanted one, before the start fails.
    max_port_attempts: u32 = 10,
        key "maxPortAttempts", kind Number { min: 1, max: 65_536 }, on Reader;
    /// Which sockets of the service manager (systemd) to listen at: `auto`, those at `host` and
    /// `port`, if there are any; a name, those that have it as their `FileDescriptorName`; or `off`.
    listen_fds: ListenFds = ListenFds::Auto,
        key "listenFds", kind SocketNames, on Reader;
    /// The path of a Unix domain socket by which a new process with the same option takes the
    /// service over from this one, which then drains.
    handoff_socket: Option<String> = None,
        key "handoffSocket", kind OptionalText, on Reader, shown "none";
    /// The longest request body, decoded; a longer one is answered 413.
    max_request_bytes: usize = 8 << 20,
        key "maxRequestBytes", kind Bytes { min: 0, max: 1 << 40 }, on Reader;
    /// The longest request line and headers together; longer ones are answered 414 or 431.
    max_head_bytes: usize = 16 << 10,
        key "maxHeadBytes", kind Bytes { min: 512, max: 16 << 20 }, on Reader;
    /// The content codings in which bodies may be sent; a body in another one is answered 415.
    accept_encodings: Vec<ContentCoding> = ContentCoding::ALL.to_vec(),
        key "acceptEncodings", kind Codings, on Reader;
    /// A file of the keys that a request needs, one `name:sha256:hash` a line, read again when it was
    /// changed; with neither it nor `authKeysEnv`, everybody is served.
    auth_keys_file: Option<String> = None,
        key "authKeysFile", kind OptionalText, on Reader, shown "none";
    /// The environment variable that has keys: `name:sha256:hash` or `name:token:token`, separated by
    /// commas or spaces.
    auth_keys_env: Option<String> = None,
        key "authKeysEnv", kind OptionalText, on Reader, shown "none";
    /// The header in which a key may come, beside `Authorization: Bearer`.
    api_key_header: Option<String> = Some("x-api-key".to_owned()),
        key "apiKeyHeader", kind Header, on Reader;
    /// The header in which clients give the ids of their requests, and replies tell them; without
    /// one from the client, replies tell the request's own id.
    request_id_header: Option<String> = Some(snapback_operators::REQUEST_ID_HEADER.to_owned()),
        key "requestIdHeader", kind Header, on Reader;
    /// Whether requests belong to the traces that their `traceparent` says, and replies tell it in
    /// `traceresponse`.
    trace_context: bool = true,
        key "traceContext", kind Switch, on Reader;
    /// Whether `GET /openapi.json` at the service's port tells what the service takes and answers;
    /// a service at the root, or at that very path, answers there itself.
    open_api: bool = true,
        key "openApi", kind Switch, on Reader;
    /// How many requests of one connection may wait for their replies; further ones are not read
    /// until the first is answered.
    max_pipelined: usize = 1024,
        key "maxPipelined", kind Number { min: 1, max: 65_536 }, on Reader;
    /// How many bytes of replies may wait in one connection; above it no further request of that
    /// connection is read.
    max_reply_buffer_bytes: usize = 1 << 20,
        key "maxReplyBufferBytes", kind Bytes { min: 1 << 10, max: 1 << 40 }, on Reader;
    /// How many requests of a connection are answered before it is closed; 0 is without limit.
    max_requests_per_connection: u64 = 0,
        key "maxRequestsPerConnection", kind Number { min: 0, max: u64::MAX }, on Reader;
    /// How long the head of a request may take, from its first byte, or from the beginning of a new
    /// connection; then it is answered 408. 0 is without limit, here and in the options below.
    header_timeout: Duration = Duration::from_secs(10),
        key "headerTimeout", kind Span, on Reader;
    /// How long the body of a request may take, beside the time that its bytes earn it by
    /// `minBodyRate`; then it is answered 408.
    body_timeout: Duration = Duration::from_secs(10),
        key "bodyTimeout", kind Span, on Reader;
    /// How many bytes of a body must come in a second once `bodyTimeout` is over; with 0 the whole
    /// body must come within `bodyTimeout`.
    min_body_rate: u64 = 240,
        key "minBodyRate", kind Number { min: 0, max: 1 << 40 }, on Reader;
    /// How long a connection may wait for its next request; then it is closed.
    keep_alive_timeout: Duration = Duration::from_secs(75),
        key "keepAliveTimeout", kind Span, on Reader;
    /// How long a client may take no byte of the replies that wait for it; then its connection is
    /// reset.
    write_timeout: Duration = Duration::from_secs(30),
        key "writeTimeout", kind Span, on Reader;
    /// How long a connection to which everything was said waits for the client to close it too.
    linger_timeout: Duration = Duration::from_secs(5),
        key "lingerTimeout", kind Span, on Reader;
    /// How long requests may wait for their turn; when they have waited longer for 100 ms, those
    /// beyond what fits into that time are answered 503. 0 is without limit.
    max_queue_delay: Duration = Duration::ZERO,
        key "maxQueueDelay", kind Span, on Reader;
    /// How many connections the query holds; further ones are answered 503 and closed.
    max_connections: usize = 65_536,
        key "maxConnections", kind Number { min: 1, max: 1 << 32 }, on Reader;
    /// How many requests of a partition may be in deferred operators; further ones are answered 503.
    max_in_flight: usize = 65_536,
        key "maxInFlight", kind Number { min: 1, max: 1 << 32 }, on Reader;
    /// The status of a request whose row left the pipeline without a reply.
    unanswered_reply: u16 = 204,
        key "unansweredReply", kind Number { min: 200, max: 599 }, on Writer;
    /// How often a request is tried whose operators panic, before it is answered 500; 1 turns the
    /// retry off.
    max_attempts: u32 = 3,
        key "maxAttempts", kind Number { min: 1, max: 100 }, on Writer;
    /// How long a request may be worked on in deferred operators; then it is answered 504, and the
    /// work on it is cancelled. The request's header `x-request-timeout-ms` may shorten it.
    request_timeout: Duration = Duration::from_secs(30),
        key "requestTimeout", kind Span, on Writer;
    /// How long a query that stops serves on, already not ready, before it closes connections.
    shutdown_delay: Duration = Duration::ZERO,
        key "shutdownDelay", kind Span, on Writer;
    /// How long a query that stops waits for its connections to end.
    shutdown_timeout: Duration = Duration::from_secs(5),
        key "shutdownTimeout", kind Span, on Writer;
    /// The directory that holds the checkpoint, as a path or a `file://` URL; without one nothing
    /// is kept over a restart.
    checkpoint_location: Option<String> = None,
        key "checkpointLocation", kind OptionalText, on Writer, shown "none";
    /// How many of the newest epochs the checkpoint keeps.
    min_epochs_to_retain: usize = 100,
        key "minEpochsToRetain", kind Number { min: 1, max: 1_000_000 }, on Writer;
    /// How many progress records the query keeps for `recent_progress`.
    recent_progress: usize = 100,
        key "recentProgress", kind Number { min: 0, max: 1_000_000 }, on Writer;
    /// For how long a checkpoint may be behind before the query counts as not ready; 0 is for ever.
    max_checkpoint_lag: Duration = Duration::from_secs(60),
        key "maxCheckpointLag", kind Span, on Writer;
    /// What happens when `teeBufferBytes` of rows wait for the sink of a tee: `shed`, requests are
    /// answered 503 before they are worked on; `drop`, they are served, and their rows are dropped and
    /// counted.
    tee_overflow: TeeOverflow = TeeOverflow::Shed,
        key "teeOverflow", kind Choice, on Writer;
    /// How many bytes of a partition's rows may wait for the sink of a tee.
    tee_buffer_bytes: usize = 64 << 20,
        key "teeBufferBytes", kind Bytes { min: 64 << 10, max: 1 << 30 }, on Writer;
    /// Where the session's admin listener (health, metrics, API) listens, for all its queries: `auto` is
    /// `127.0.0.1:4040` or the next port that is free, `none` nowhere. Anything but a loopback address
    /// needs a token.
    admin_address: AdminAddress = AdminAddress::default(),
        key "adminAddress", kind Admin, on Writer;
    /// The file that holds the token which the admin listener asks for; without one, the environment
    /// variable `SNAPBACK_ADMIN_TOKEN` may hold it.
    admin_token_file: Option<String> = None,
        key "adminTokenFile", kind OptionalText, on Writer, shown "none";
}

/// Why an option was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// No option has this key.
    #[error("unknown option `{key}`{}; the options are {}", did_you_mean(*.nearest), all_keys())]
    UnknownKey {
        /// The key as it was given.
        key: String,
        /// The option whose key is spelled most like it, if one is near.
        nearest: Option<&'static str>,
    },
    /// The option exists but cannot have this value.
    #[error("option `{key}` cannot be `{value}`: it must be {allowed}")]
    BadValue {
        /// The key of the option.
        key: &'static str,
        /// The value as it was given.
        value: String,
        /// What the option accepts.
        allowed: String,
    },
}

/// One row of the table of options: what is known of an option besides its value.
#[derive(Debug)]
#[non_exhaustive]
pub struct OptionSpec {
    /// The key, as the table spells it.
    pub key: &'static str,
    /// What it means, in one sentence.
    pub doc: &'static str,
    /// Where a pipeline usually gives it; both sides accept it.
    pub side: Side,
    /// The kind of value, as the table of options writes it.
    pub kind: fn() -> String,
    /// The default, as the table of options writes it.
    pub default: fn() -> String,
    allowed: fn() -> String,
    parse_into: fn(&mut Options, &str) -> Option<()>,
    show: fn(&Options) -> String,
}

/// The side of a pipeline that an option concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Side {
    /// `read_stream()`: listening and decoding.
    Reader,
    /// `write_stream()`: replying, epochs and stopping.
    Writer,
}

impl Options {
    /// Sets the option `key` to `value`, both as text; a value given earlier is replaced.
    ///
    /// Durations are a whole number and a unit (`50us`, `10ms`, `1s`, `2 minutes`); a plain number
    /// is milliseconds, as in Spark Serving's `epochLength`. Sizes are a whole number and a unit
    /// (`8MiB`, `8m`, `64k`), powers of two as in Spark; a plain number is bytes.
    ///
    /// # Errors
    ///
    /// [`OptionError::UnknownKey`] and [`OptionError::BadValue`]; the options stay as they were.
    ///
    /// ```
    /// let mut options = snapback::options::Options::default();
    /// options.set("numPartitions", 2)?;
    /// options.set("spinduration", "100 us")?;
    /// assert_eq!(options.num_partitions, 2);
    /// # Ok::<(), snapback::options::OptionError>(())
    /// ```
    pub fn set(&mut self, key: &str, value: impl ToString) -> Result<(), OptionError> {
        let spec = OPTIONS
            .iter()
            .find(|spec| spec.key.eq_ignore_ascii_case(key))
            .ok_or_else(|| OptionError::UnknownKey {
                key: key.to_owned(),
                nearest: nearest_key(key),
            })?;
        let value = value.to_string();
        (spec.parse_into)(self, &value).ok_or_else(|| spec.bad_value(value))
    }

    /// Checks the fields, which are public and so may hold what [`set`](Self::set) would refuse.
    ///
    /// # Errors
    ///
    /// [`OptionError::BadValue`] of the first field that is out of its range.
    pub fn check(&self) -> Result<(), OptionError> {
        // What a field says, written as text, must be a text that the option accepts.
        let mut copy = self.clone();
        for spec in OPTIONS {
            let text = (spec.show)(self);
            (spec.parse_into)(&mut copy, &text).ok_or_else(|| spec.bad_value(text))?;
        }
        Ok(())
    }

    /// The name of the service: the option `name`, or else the path without its outer slashes.
    pub fn service_name(&self) -> &str {
        self.name
            .as_deref()
            .unwrap_or_else(|| self.path.trim_matches('/'))
    }
}

impl OptionSpec {
    fn bad_value(&self, value: String) -> OptionError {
        OptionError::BadValue {
            key: self.key,
            value,
            allowed: (self.allowed)(),
        }
    }
}

/// The table of all options in Markdown, as `docs/options.md` holds it.
pub fn option_table() -> String {
    let mut table =
        String::from("| Option | Values | Default | Given to | Meaning |\n|---|---|---|---|---|\n");
    for spec in OPTIONS {
        let side = match spec.side {
            Side::Reader => "reader",
            Side::Writer => "writer",
        };
        let (kind, default) = ((spec.kind)(), (spec.default)());
        table += &format!(
            "| `{}` | {kind} | {default} | {side} | {} |\n",
            spec.key, spec.doc
        );
    }
    table
}

/// The key that a misspelled one most likely means: at most a third of its letters differ.
fn nearest_key(key: &str) -> Option<&'static str> {
    let distance_to = |spec: &OptionSpec| {
        strsim::damerau_levenshtein(&spec.key.to_ascii_lowercase(), &key.to_ascii_lowercase())
    };
    let (distance, spec) = OPTIONS
        .iter()
        .map(|spec| (distance_to(spec), spec))
        .min_by_key(|x| x.0)?;
    (distance <= (spec.key.len() / 3).max(1)).then_some(spec.key)
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest
        .map(|key| format!(" (did you mean `{key}`?)"))
        .unwrap_or_default()
}

fn all_keys() -> String {
    OPTIONS
        .iter()
        .map(|spec| spec.key)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Declares the options: the struct, its defaults and the table, from one list.
macro_rules! options {
    ($(
        $(#[doc = $doc:literal])+
        $field:ident: $type:ty = $default:expr,
            key $key:literal, kind $kind:expr, on $side:ident $(, shown $shown:literal)?;
    )+) => {
        /// What a query may be told. Every field has a default; see [`option_table`].
        ///
        /// Built from [`Options::default`], by [`Options::set`] or by assigning fields.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Options {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl Default for Options {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        /// All options, in the order of the table.
        pub const OPTIONS: &[OptionSpec] = &[$(OptionSpec {
            key: $key,
            doc: concat!($($doc,)+).trim_ascii(),
            side: Side::$side,
            kind: || Kind::<$type>::name(&$kind),
            default: || {
                let shown: &[&str] = &[$($shown)?];
                match shown {
                    [text] => (*text).to_owned(),
                    _ => {
                        let default: $type = $default;
                        format!("`{}`", $kind.show(&default))
                    }
                }
            },
            allowed: || Kind::<$type>::allowed(&$kind),
            parse_into: |options, text| {
                options.$field = Kind::<$type>::parse(&$kind, text)?;
                Some(())
            },
            show: |options| $kind.show(&options.$field),
        },)+];
    };
}
use options;

#[cfg(test)]
mod tests;
