//! The kinds of option values: how each is read, written and described.

mod http;

use std::time::Duration;

use super::{
    AdminAddress, ListenFds, Network, Pinning, PollMode, PortMode, TeeOverflow, TlsVersion,
    TrustedProxies,
};
pub(super) use http::{Codings, Header};

/// A kind of value. `parse(show(value))` gives the value back if it is allowed, else `None`.
pub(super) trait Kind<T> {
    /// The value that `text` stands for, or `None` if the option does not accept it.
    fn parse(&self, text: &str) -> Option<T>;
    /// The value as text.
    fn show(&self, value: &T) -> String;
    /// What an error says is allowed, to follow "it must be".
    fn allowed(&self) -> String;
    /// What the table of options says.
    fn name(&self) -> String;
}

/// A text that is not empty.
pub(super) struct Text;

impl Kind<String> for Text {
    fn parse(&self, text: &str) -> Option<String> {
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
    fn show(&self, value: &String) -> String {
        value.clone()
    }
    fn allowed(&self) -> String {
        "a text that is not empty".to_owned()
    }
    fn name(&self) -> String {
        "text".to_owned()
    }
}

/// A text; the empty one means that the option is not given.
pub(super) struct OptionalText;

impl Kind<Option<String>> for OptionalText {
    fn parse(&self, text: &str) -> Option<Option<String>> {
        Some(Text.parse(text))
    }
    fn show(&self, value: &Option<String>) -> String {
        value.clone().unwrap_or_default()
    }
    fn allowed(&self) -> String {
        "a text".to_owned()
    }
    fn name(&self) -> String {
        "text".to_owned()
    }
}

/// A path of a URL (RFC 3986 section 3.3), with or without its first slash.
pub(super) struct Path;

impl Kind<String> for Path {
    fn parse(&self, text: &str) -> Option<String> {
        let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
        text.bytes().all(fits).then(|| text.to_owned())
    }
    fn show(&self, value: &String) -> String {
        value.clone()
    }
    fn allowed(&self) -> String {
        "a path such as `my_api` or `/v1/my_api`: visible ASCII without `?` and `#`, other \
         characters percent-encoded"
            .to_owned()
    }
    fn name(&self) -> String {
        "path".to_owned()
    }
}

/// A whole number between two bounds, both allowed.
pub(super) struct Number {
    pub(super) min: u64,
    pub(super) max: u64,
}

impl<T: TryFrom<u64> + ToString> Kind<T> for Number {
    fn parse(&self, text: &str) -> Option<T> {
        let number: u64 = text.trim().parse().ok()?;
        if !(self.min..=self.max).contains(&number) {
            return None;
        }
        T::try_from(number).ok()
    }
    fn show(&self, value: &T) -> String {
        value.to_string()
    }
    fn allowed(&self) -> String {
        format!("a whole number from {} to {}", self.min, self.max)
    }
    fn name(&self) -> String {
        format!("{} to {}", self.min, self.max)
    }
}

/// A whole number between two bounds; the empty text means that the option is not given.
pub(super) struct OptionalNumber {
    pub(super) min: u64,
    pub(super) max: u64,
}

impl OptionalNumber {
    fn number(&self) -> Number {
        let OptionalNumber { min, max } = *self;
        Number { min, max }
    }
}

impl<T: TryFrom<u64> + ToString> Kind<Option<T>> for OptionalNumber {
    fn parse(&self, text: &str) -> Option<Option<T>> {
        if text.trim().is_empty() {
            return Some(None);
        }
        self.number().parse(text).map(Some)
    }
    fn show(&self, value: &Option<T>) -> String {
        value.as_ref().map_or_else(String::new, T::to_string)
    }
    fn allowed(&self) -> String {
        Kind::<T>::allowed(&self.number())
    }
    fn name(&self) -> String {
        Kind::<T>::name(&self.number())
    }
}

/// Something that is on or off.
pub(super) struct Switch;

impl Kind<bool> for Switch {
    fn parse(&self, text: &str) -> Option<bool> {
        match text.trim().to_ascii_lowercase().as_str() {
            "on" | "true" => Some(true),
            "off" | "false" => Some(false),
            _ => None,
        }
    }
    fn show(&self, value: &bool) -> String {
        if *value { "on" } else { "off" }.to_owned()
    }
    fn allowed(&self) -> String {
        "`on` or `off`".to_owned()
    }
    fn name(&self) -> String {
        "`on`, `off`".to_owned()
    }
}

/// Networks, separated by commas; the empty text is none.
pub(super) struct Networks;

impl Kind<TrustedProxies> for Networks {
    fn parse(&self, text: &str) -> Option<TrustedProxies> {
        let mut proxies = TrustedProxies::default();
        let parts = text.split(',').map(str::trim);
        for part in parts.filter(|_| !text.trim().is_empty()) {
            if part.eq_ignore_ascii_case("unix") {
                proxies.unix = true;
            } else {
                proxies.networks.push(Network::parse(part)?);
            }
        }
        Some(proxies)
    }
    fn show(&self, value: &TrustedProxies) -> String {
        value.to_string()
    }
    fn allowed(&self) -> String {
        "a list of addresses, networks without host bits and `unix`, such as \
         `10.1.2.3, 192.168.0.0/16, fd00::/8, unix`"
            .to_owned()
    }
    fn name(&self) -> String {
        "networks such as `10.0.0.0/8, ::1`, `unix`".to_owned()
    }
}

/// A size in bytes between two bounds, both allowed. As in Spark, all units are powers of two.
pub(super) struct Bytes {
    pub(super) min: usize,
    pub(super) max: usize,
}

const BYTE_UNITS: [(&[&str], u64); 4] = [
    (&["GiB", "g", "gb"], 1 << 30),
    (&["MiB", "m", "mb"], 1 << 20),
    (&["KiB", "k", "kb"], 1 << 10),
    (&["", "b"], 1),
];

impl Kind<usize> for Bytes {
    fn parse(&self, text: &str) -> Option<usize> {
        let bytes = usize::try_from(number_with_unit(text, &BYTE_UNITS)?).ok()?;
        (self.min..=self.max).contains(&bytes).then_some(bytes)
    }
    fn show(&self, value: &usize) -> String {
        let (number, unit) = in_largest_unit(*value as u64, &BYTE_UNITS);
        if unit.is_empty() {
            number.to_string()
        } else {
            format!("{number} {unit}")
        }
    }
    fn allowed(&self) -> String {
        let (min, max) = (self.show(&self.min), self.show(&self.max));
        format!("a size from {min} to {max}, such as `64 KiB`, `8m` or `1048576`")
    }
    fn name(&self) -> String {
        "size".to_owned()
    }
}

/// A span of time, from zero to 584 years.
pub(super) struct Span;

const NS_PER_MS: u64 = 1_000_000;
const TIME_UNITS_NS: [(&[&str], u64); 7] = [
    (&["d", "day", "days"], 86_400_000 * NS_PER_MS),
    (&["h", "hour", "hours"], 3_600_000 * NS_PER_MS),
    (
        &["min", "m", "mins", "minute", "minutes"],
        60_000 * NS_PER_MS,
    ),
    (&["s", "sec", "secs", "second", "seconds"], 1000 * NS_PER_MS),
    (
        &["ms", "", "milli", "millis", "millisecond", "milliseconds"],
        NS_PER_MS,
    ),
    (
        &["us", "µs", "micro", "micros", "microsecond", "microseconds"],
        1000,
    ),
    (&["ns", "nano", "nanos", "nanosecond", "nanoseconds"], 1),
];

impl Kind<Duration> for Span {
    fn parse(&self, text: &str) -> Option<Duration> {
        number_with_unit(text, &TIME_UNITS_NS).map(Duration::from_nanos)
    }
    fn show(&self, value: &Duration) -> String {
        let Ok(nanoseconds) = u64::try_from(value.as_nanos()) else {
            return format!("{value:?}");
        };
        match in_largest_unit(nanoseconds, &TIME_UNITS_NS) {
            (0, _) => "0s".to_owned(),
            (number, unit) => format!("{number}{unit}"),
        }
    }
    fn allowed(&self) -> String {
        "a duration such as `50us`, `10ms`, `1s` or `2 minutes`; a plain number is milliseconds"
            .to_owned()
    }
    fn name(&self) -> String {
        "duration".to_owned()
    }
}

/// A duration as options are given it: a whole number and a unit (`50us`, `10ms`, `1s`, `2 minutes`);
/// a plain number is milliseconds. None for anything else.
///
/// ```
/// use std::time::Duration;
/// use snapback::options::parse_duration;
///
/// assert_eq!(parse_duration("2 minutes"), Some(Duration::from_secs(120)));
/// assert_eq!(parse_duration("soon"), None);
/// ```
pub fn parse_duration(text: &str) -> Option<Duration> {
    Span.parse(text)
}

/// A size as options write it, `64 KiB`, `10g`; a plain number is bytes. None if the text is none.
///
/// ```
/// use snapback::options::parse_bytes;
///
/// assert_eq!(parse_bytes("2 MiB"), Some(2 << 20));
/// assert_eq!(parse_bytes("large"), None);
/// ```
pub fn parse_bytes(text: &str) -> Option<u64> {
    number_with_unit(text, &BYTE_UNITS)
}

/// `text` as a whole number times its unit, unless either is unknown or the product too large.
fn number_with_unit(text: &str, units: &[(&[&str], u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let known = |(names, _): &&(&[&str], u64)| names.iter().any(|n| n.eq_ignore_ascii_case(unit));
    let (_, factor) = units.iter().find(known)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// The number and the unit that write `value` shortest, without a remainder.
fn in_largest_unit(value: u64, units: &[(&[&'static str], u64)]) -> (u64, &'static str) {
    let fitting = units
        .iter()
        .find(|(_, factor)| value > 0 && value.is_multiple_of(*factor));
    fitting.map_or((value, ""), |(names, factor)| (value / factor, names[0]))
}

/// A host and a port, `auto` or `none`.
pub(super) struct Admin;

impl Kind<AdminAddress> for Admin {
    fn parse(&self, text: &str) -> Option<AdminAddress> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("auto") {
            return Some(AdminAddress::Auto);
        }
        if text.eq_ignore_ascii_case("none") {
            return Some(AdminAddress::None);
        }
        let (host, port) = text.rsplit_once(':')?;
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        // An IPv6 address stands in brackets, or its last group would be taken for the port.
        if bare.is_none() && host.contains(':') {
            return None;
        }
        let host = bare.unwrap_or(host);
        let fits = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
        Some(AdminAddress::At {
            host: fits.then(|| host.to_owned())?,
            port: port.parse().ok()?,
        })
    }
    fn show(&self, value: &AdminAddress) -> String {
        value.to_string()
    }
    fn allowed(&self) -> String {
        "`auto`, `none`, or a host and a port such as `127.0.0.1:4040`, `0.0.0.0:4040` or `[::1]:0`"
            .to_owned()
    }
    fn name(&self) -> String {
        "`auto`, `none` or host:port".to_owned()
    }
}

/// Cores to pin to: `auto`, `off` or a list.
pub(super) struct Cores;

/// The affinity mask of the kernel that pinning uses has this many bits.
const MAX_CORES: usize = 1024;

impl Kind<Pinning> for Cores {
    fn parse(&self, text: &str) -> Option<Pinning> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("auto") {
            return Some(Pinning::Auto);
        }
        if text.eq_ignore_ascii_case("off") {
            return Some(Pinning::Off);
        }
        let mut cores = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (usize, usize) =
                (first.trim().parse().ok()?, last.trim().parse().ok()?);
            if first > last || last >= MAX_CORES {
                return None;
            }
            cores.extend(first..=last);
        }
        Some(Pinning::Cores(cores))
    }
    fn show(&self, value: &Pinning) -> String {
        match value {
            Pinning::Auto => "auto".to_owned(),
            Pinning::Off => "off".to_owned(),
            Pinning::Cores(cores) => cores
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(","),
        }
    }
    fn allowed(&self) -> String {
        format!("`auto`, `off` or a list of cores below {MAX_CORES} such as `0,2,4-7`")
    }
    fn name(&self) -> String {
        "`auto`, `off`, or cores such as `0,2,4-7`".to_owned()
    }
}

/// One of the names of an enumeration.
pub(super) struct Choice;

/// An enumeration whose values have names.
pub(super) trait Named: Sized + Copy + PartialEq + 'static {
    const NAMES: &'static [(&'static str, Self)];
}

impl Named for PollMode {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("blocking", Self::Blocking),
        ("adaptive", Self::Adaptive),
        ("spin", Self::Spin),
    ];
}

impl Named for PortMode {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("shared", Self::Shared),
        ("perPartition", Self::PerPartition),
    ];
}

impl Named for TeeOverflow {
    const NAMES: &'static [(&'static str, Self)] = &[("shed", Self::Shed), ("drop", Self::Drop)];
}

impl Named for TlsVersion {
    const NAMES: &'static [(&'static str, Self)] = &[("1.2", Self::Tls12), ("1.3", Self::Tls13)];
}

impl<T: Named> Kind<T> for Choice {
    fn parse(&self, text: &str) -> Option<T> {
        let named = T::NAMES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text.trim()));
        named.map(|(_, value)| *value)
    }
    fn show(&self, value: &T) -> String {
        let named = T::NAMES.iter().find(|(_, named)| named == value);
        named.map_or("", |(name, _)| name).to_owned()
    }
    fn allowed(&self) -> String {
        let names: Vec<_> = T::NAMES
            .iter()
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        names.join(" or ")
    }
    fn name(&self) -> String {
        Kind::<T>::allowed(self).replace(" or ", ", ")
    }
}

/// Sockets of the service manager: `auto`, `off` or a name (systemd.socket(5)).
pub(super) struct SocketNames;

const MAX_NAME_BYTES: usize = 255;

impl Kind<ListenFds> for SocketNames {
    fn parse(&self, text: &str) -> Option<ListenFds> {
        let text = text.trim();
        let fits = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b':';
        match text {
            _ if text.eq_ignore_ascii_case("auto") => Some(ListenFds::Auto),
            _ if text.eq_ignore_ascii_case("off") => Some(ListenFds::Off),
            _ => ((1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(fits))
                .then(|| ListenFds::Named(text.to_owned())),
        }
    }
    fn show(&self, value: &ListenFds) -> String {
        match value {
            ListenFds::Auto => "auto".to_owned(),
            ListenFds::Off => "off".to_owned(),
            ListenFds::Named(name) => name.clone(),
        }
    }
    fn allowed(&self) -> String {
        format!("`auto`, `off` or a name of up to {MAX_NAME_BYTES} ASCII characters without `:`")
    }
    fn name(&self) -> String {
        "`auto`, `off`, or a name".to_owned()
    }
}
