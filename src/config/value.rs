//! How a setting's text is read. Each kind has one parser, for flags, the environment and files alike.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

/// What a setting's text must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `ADDRESS:PORT`, IPv6 in brackets.
    Address,
    /// `true` or `false`.
    Bool,
    /// `256KiB`, `64MiB`, `1GiB` or a plain number of bytes; more than zero.
    Bytes,
    /// One of these words, which `|` parts.
    Choice(&'static str),
    /// A whole number, zero or more.
    Count,
    /// A duration with its unit, `0s` among them.
    Duration,
    /// DNS names and addresses, joined by commas.
    Hosts,
    /// `https://HOST:PORT`, or nothing.
    Endpoint,
    /// `NAME=PATH` joined by commas, or nothing.
    Files,
    /// Levels of the log.
    Levels,
    /// A DNS-like name: lower-case letters, digits, `-`, `.` and `_`.
    Name,
    /// Such names joined by commas, or nothing.
    Names,
    /// A path, or nothing.
    OptionalPath,
    /// A path.
    Path,
    /// A duration of more than zero.
    Period,
    /// A whole number, one or more.
    Positive,
    /// A path, `SYSTEM`, or certificates in PEM.
    Roots,
    /// Printable text, maybe empty.
    Text,
}

/// A text that is not of its setting's kind. Configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct BadValue {
    pub text: String,
    /// What to write instead, as a noun with an example.
    pub expected: String,
}

/// A server of the control plane; always HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an address, IPv6 without brackets.
    pub host: Arc<str>,
    pub port: u16,
}

/// What a server's certificate must lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// A file of certificates in PEM.
    File(PathBuf),
    /// These certificates, in PEM.
    Pem(Arc<str>),
    /// Those of the host's own store.
    System,
}

// === impl Endpoint ===

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "https://[{host}]:{port}") } else { write!(f, "https://{host}:{port}") }
    }
}

// === impl Kind ===

impl Kind {
    /// Whether `text` is of this kind.
    pub fn check(self, text: &str) -> Result<(), BadValue> {
        match self {
            Self::Address => address(text).map(drop),
            Self::Bool => bool(text).map(drop),
            Self::Bytes => bytes(text).map(drop),
            Self::Choice(words) if words.split('|').any(|word| word == text) => Ok(()),
            Self::Choice(words) => Err(bad(text, format!("one of {}", words.replace('|', ", ")))),
            Self::Count => count(text).map(drop),
            Self::Duration => duration(text).map(drop),
            Self::Hosts => hosts(text).map(drop),
            Self::Endpoint if text.is_empty() => Ok(()),
            Self::Endpoint => endpoint(text).map(drop),
            Self::Files => files(text).map(drop),
            Self::Levels => levels(text),
            Self::Name => name(text),
            Self::Names => names(text).map(drop),
            Self::OptionalPath if text.is_empty() => Ok(()),
            Self::OptionalPath | Self::Path => path(text),
            Self::Period => period(text),
            Self::Positive => positive(text).map(drop),
            Self::Roots => roots(text).map(drop),
            Self::Text if text.chars().any(char::is_control) => Err(bad(text, "printable text")),
            Self::Text => Ok(()),
        }
    }

    /// A word for the value in help and on the reference page.
    pub fn placeholder(self) -> &'static str {
        match self {
            Self::Address => "ADDRESS:PORT",
            Self::Bool => "true|false",
            Self::Bytes => "BYTES",
            Self::Choice(words) => words,
            Self::Count | Self::Positive => "NUMBER",
            Self::Duration | Self::Period => "DURATION",
            Self::Hosts => "HOSTS",
            Self::Endpoint => "https://HOST:PORT",
            Self::Files => "DOMAIN=FILE,…",
            Self::Levels => "LEVELS",
            Self::Name => "NAME",
            Self::Names => "NAME,…",
            Self::OptionalPath | Self::Path => "PATH",
            Self::Roots => "PATH|SYSTEM|PEM",
            Self::Text => "TEXT",
        }
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, BadValue> {
    text.parse().map_err(|_| bad(text, "an address with a port: write 127.0.0.1:15000 or [::]:15020"))
}

pub(super) fn bool(text: &str) -> Result<bool, BadValue> {
    text.parse().map_err(|_| bad(text, "true or false"))
}

pub(super) fn bytes(text: &str) -> Result<u64, BadValue> {
    let bad = || bad(text, "a size of more than zero: write 65536, 256KiB, 64MiB or 1GiB");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(bad()),
    };
    let number: u64 = number.parse().map_err(|_| bad())?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(bad)
}

pub(super) fn count(text: &str) -> Result<usize, BadValue> {
    plain(text).ok_or_else(|| bad(text, "a whole number of zero or more"))
}

pub(super) fn positive(text: &str) -> Result<NonZeroUsize, BadValue> {
    plain(text).and_then(NonZeroUsize::new).ok_or_else(|| bad(text, "a whole number of one or more"))
}

/// Digits alone: the standard parser also takes a plus sign.
fn plain(text: &str) -> Option<usize> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The longest duration, 100 years: beyond it, adding one to a clock can overflow.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

pub(super) fn duration(text: &str) -> Result<Duration, BadValue> {
    let parsed = humantime::parse_duration(text).ok().filter(|duration| *duration <= LONGEST);
    parsed.ok_or_else(|| bad(text, "a duration with its unit: write 500ms, 10s, 5m or 24h"))
}

fn period(text: &str) -> Result<(), BadValue> {
    match duration(text)? {
        Duration::ZERO => Err(bad(text, "a duration of more than zero")),
        _ => Ok(()),
    }
}

/// The largest list: a server has a handful of names.
const MOST_HOSTS: usize = 64;

pub(super) fn hosts(text: &str) -> Result<Vec<String>, BadValue> {
    let bad = || bad(text, "DNS names and addresses, joined by commas: write control.example.com,192.0.2.7");
    let byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-.*".contains(&byte);
    let dns = |host: &str| host.len() <= 253 && !host.starts_with('.') && host.bytes().all(byte);
    let good = |host: &&str| !host.is_empty() && (host.parse::<IpAddr>().is_ok() || dns(host));
    let hosts: Vec<_> = text.split(',').map(str::trim).collect();
    let sound = hosts.len() <= MOST_HOSTS && hosts.iter().all(good);
    sound.then(|| hosts.into_iter().map(str::to_owned).collect()).ok_or_else(bad)
}

fn levels(text: &str) -> Result<(), BadValue> {
    let expected = "a list of levels: write error, warn, info, debug, trace or MODULE=LEVEL, joined by commas";
    let known = |directive: &str| {
        let level = directive.rsplit('=').next().unwrap_or_default();
        !level.is_empty()
            && level.parse::<tracing::level_filters::LevelFilter>().is_ok()
            && level.bytes().all(|b| b.is_ascii_alphabetic())
    };
    // The library takes any word as a module whose every level is on; a misspelt level would be one. It also cuts texts
    // between the bytes of a character and panics: it is only asked about what is known to be fine.
    let parsed =
        text.is_ascii() && text.split(',').all(known) && EnvFilter::builder().with_regex(false).parse(text).is_ok();
    parsed.then_some(()).ok_or_else(|| bad(text, expected))
}

fn name(text: &str) -> Result<(), BadValue> {
    let byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    let good = !text.is_empty() && text.len() <= 253 && text.bytes().all(byte);
    good.then_some(()).ok_or_else(|| bad(text, "a name of lower-case letters, digits, '-', '.' and '_'"))
}

/// Names joined by commas; none when it is empty.
pub(super) fn names(text: &str) -> Result<Vec<String>, BadValue> {
    let each = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    each.map(|part| name(part).map(|()| part.to_owned())).collect()
}

/// `NAME=PATH` joined by commas; none when it is empty.
pub(super) fn files(text: &str) -> Result<Vec<(String, PathBuf)>, BadValue> {
    let bad = || bad(text, "a list of DOMAIN=FILE joined by commas: write partner.example=/etc/partner/roots.pem");
    let each = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let read = |part: &str| {
        let (name_of, file) = part.split_once('=').ok_or_else(bad)?;
        (name(name_of).is_ok() && path(file).is_ok()).then(|| (name_of.to_owned(), PathBuf::from(file))).ok_or_else(bad)
    };
    each.map(read).collect()
}

fn path(text: &str) -> Result<(), BadValue> {
    let good = !text.is_empty() && !text.chars().any(char::is_control);
    good.then_some(()).ok_or_else(|| bad(text, "a path"))
}

/// A scheme is optional; without a port it is HTTPS' own.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, BadValue> {
    let bad = || bad(text, "an address of HTTPS: write https://istiod.istio-system.svc:15012");
    let uri: http::Uri = match text.contains("://") {
        true => text.parse(),
        false => format!("https://{text}/").parse(),
    }
    .map_err(|_| bad())?;
    let plain = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
    let host = authority.map(|authority| authority.host().trim_matches(['[', ']'])).filter(|host| !host.is_empty());
    match (uri.scheme_str(), host) {
        // A port that is no number is not told as missing by the library.
        (Some("https"), Some(host)) if plain && authority.is_some_and(has_good_port) => {
            Ok(Endpoint { host: host.into(), port: uri.port_u16().unwrap_or(443) })
        }
        _ => Err(bad()),
    }
}

fn has_good_port(authority: &http::uri::Authority) -> bool {
    match authority.as_str().strip_prefix(authority.host()).unwrap_or_default() {
        "" => true,
        port => port.strip_prefix(':').and_then(|port| port.parse::<u16>().ok()).is_some_and(|port| port != 0),
    }
}

pub(super) fn roots(text: &str) -> Result<Roots, BadValue> {
    if text.contains("-----BEGIN CERTIFICATE-----") {
        return Ok(Roots::Pem(text.into()));
    }
    match text {
        "SYSTEM" => Ok(Roots::System),
        text if path(text).is_ok() => Ok(Roots::File(text.into())),
        _ => Err(bad(text, "a path, SYSTEM, or certificates in PEM")),
    }
}

fn bad(text: &str, expected: impl Into<String>) -> BadValue {
    BadValue { text: text.to_owned(), expected: expected.into() }
}

#[cfg(test)]
mod tests;
