//! Single values of a policy: text to a checked type, or why not.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::model::policy::{ServiceAccountMatch, StringMatch};
use crate::model::schedule::{TimeRange, WEEK, Weekday};

/// Why a value is refused. The fault of who wrote it.
pub(super) struct Refusal {
    pub reason: String,
    pub mend: String,
}

/// Limit of Istio's own validation: a namespace and a service account with the slash.
const MAX_SERVICE_ACCOUNT: usize = 320;

pub(super) type Checked<T> = Result<T, Refusal>;

fn refuse<T>(reason: impl Into<String>, mend: impl Into<String>) -> Checked<T> {
    Err(Refusal { reason: reason.into(), mend: mend.into() })
}

/// A namespace, or a pattern of one.
pub(super) fn namespace(text: &str) -> Checked<StringMatch> {
    pattern(text)
}

/// A principal `<trust domain>/ns/<namespace>/sa/<service account>`, or a pattern of one.
pub(super) fn principal(text: &str) -> Checked<StringMatch> {
    if let Some(rest) = text.strip_prefix("spiffe://").or_else(|| text.strip_prefix("*spiffe://")) {
        return refuse(
            format!("`{text}` can never match: principals are written without their scheme"),
            format!("write `{rest}`"),
        );
    }
    pattern(text)
}

/// `*` stands alone, first or last. Elsewhere it would be a letter that no name contains, and a
/// DENY with it would never fire.
fn pattern(text: &str) -> Checked<StringMatch> {
    if text.is_empty() {
        return refuse("it is empty", "write a value, or `*` for any");
    }
    let matcher = StringMatch::parse(text);
    let inner = match &matcher {
        StringMatch::Exact(inner) | StringMatch::Prefix(inner) | StringMatch::Suffix(inner) => inner,
        StringMatch::Presence => return Ok(matcher),
    };
    if inner.contains('*') {
        return refuse(
            format!("`{text}` can never match: `*` has a meaning only once, at the beginning or at the end"),
            "write `prefix*`, `*suffix`, `*` or the exact value",
        );
    }
    Ok(matcher)
}

/// True when no principal of any workload can be equal to it.
pub(super) fn never_a_principal(matcher: &StringMatch) -> bool {
    match matcher {
        StringMatch::Exact(exact) => format!("spiffe://{exact}").parse::<crate::model::spiffe::Identity>().is_err(),
        StringMatch::Prefix(_) | StringMatch::Presence | StringMatch::Suffix(_) => false,
    }
}

/// `<namespace>/<service account>`, or a service account of the policy's own namespace.
pub(super) fn service_account(text: &str, own_namespace: &str) -> Checked<ServiceAccountMatch> {
    const MEND: &str = "write `<namespace>/<service account>` or `<service account>`";
    if text.contains('*') {
        return refuse(format!("`{text}` contains `*`: service accounts are compared exactly"), MEND);
    }
    if text.len() > MAX_SERVICE_ACCOUNT {
        return refuse(format!("it is longer than {MAX_SERVICE_ACCOUNT} bytes"), MEND);
    }
    let (namespace, name) = text.split_once('/').unwrap_or((own_namespace, text));
    if namespace.is_empty() || name.is_empty() || name.contains('/') {
        return refuse(format!("`{text}` is not a service account"), MEND);
    }
    Ok(ServiceAccountMatch { namespace: namespace.into(), service_account: name.into() })
}

/// A CIDR or an address. IPv4 written as IPv6 (`::ffff:10.0.0.0/104`) becomes IPv4, because that is
/// the form in which addresses of connections are compared.
pub(super) fn cidr(text: &str) -> Checked<IpNet> {
    let parsed = match text.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => {
                return refuse(
                    format!("`{text}` is neither an address nor a CIDR"),
                    "write it as 10.0.0.0/8, 10.1.2.3, fd00::/8 or fd00::1",
                );
            }
        },
    };
    Ok(match parsed {
        IpNet::V6(net) if net.prefix_len() >= 96 => match net.addr().to_ipv4_mapped() {
            Some(v4) => Ipv4Net::new(v4, net.prefix_len() - 96).map_or(parsed, IpNet::V4),
            None => parsed,
        },
        IpNet::V4(_) | IpNet::V6(_) => parsed,
    })
}

/// A port, 1 to 65535. `str::parse` alone would take `+80`.
pub(super) fn port(text: &str) -> Checked<u16> {
    match text.parse::<u16>() {
        Ok(port) if port != 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => refuse(format!("`{text}` is not a port"), "write a number from 1 to 65535"),
    }
}

/// A span of the day, `08:00-18:00`; the last minute is not within, and `22:00-06:00` goes across midnight.
pub(super) fn time_range(text: &str) -> Checked<TimeRange> {
    let ends = text.split_once('-').and_then(|(from, to)| Some((minute(from)?, minute(to)?)));
    match ends {
        Some((from, to)) if from == to => refuse(
            format!("`{text}` begins when it ends"),
            "write 00:00-24:00 for the whole day, or remove the condition",
        ),
        _ => match ends.and_then(|(from, to)| TimeRange::new(from, to)) {
            Some(range) => Ok(range),
            None => refuse(
                format!("`{text}` is not a span of the day"),
                "write it as 08:00-18:00, or 22:00-06:00 across midnight; the last is 24:00",
            ),
        },
    }
}

/// `08:00`, with both digits; `24:00` is the end of the day.
fn minute(text: &str) -> Option<u16> {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten();
    let (hour, minute) = text.split_once(':').filter(|(hour, minute)| hour.len() == 2 && minute.len() == 2)?;
    let (hour, minute) = (number(hour)?, number(minute)?);
    (hour < 24 && minute < 60 || hour == 24 && minute == 0).then_some(hour * 60 + minute)
}

/// `Monday`, `Mon`, or days in a row such as `Mon-Fri` and `Sat-Sun`; also `Fri-Mon`. Case does not matter.
pub(super) fn days(text: &str) -> Checked<Vec<Weekday>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (day(first), day(last)) {
        (Some(first), Some(last)) => {
            let length = (last + WEEK.len() - first) % WEEK.len();
            Ok((first..=first + length).map(|place| WEEK[place % WEEK.len()]).collect())
        }
        _ => refuse(format!("`{text}` is not a day of the week"), "write Monday or Mon, or Mon-Fri for days in a row"),
    }
}

/// The place of a day in the week.
fn day(text: &str) -> Option<usize> {
    WEEK.iter().position(|day| {
        let name = day.as_str();
        text.eq_ignore_ascii_case(name) || text.eq_ignore_ascii_case(&name[..3])
    })
}

/// The attribute that a `when` entry speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Ours, not Istio's.
    DayOfWeek,
    DestinationIp,
    DestinationPort,
    /// Needs a proxy that reads requests, if any can judge it.
    Layer7,
    SourceIp,
    SourceNamespace,
    SourcePrincipal,
    SourceServiceAccount,
    /// Ours, not Istio's.
    TimeOfDay,
}

/// Families of attributes that need a proxy that reads requests, also those of them that Istio does not document.
const LAYER_7: [&str; 4] = ["connection.", "experimental.", "remote.", "request."];

/// Reads a `when` key. What is of a family of L7 narrows its rule to the safe side; anything else that is not judged at L4
/// is misspelt: no other proxy would know it either.
pub(super) fn key(text: &str) -> Checked<Key> {
    Ok(match text {
        "custom.day_of_week" => Key::DayOfWeek,
        "custom.time_of_day" => Key::TimeOfDay,
        "destination.ip" => Key::DestinationIp,
        "destination.port" => Key::DestinationPort,
        "source.ip" => Key::SourceIp,
        "source.namespace" => Key::SourceNamespace,
        "source.principal" => Key::SourcePrincipal,
        "source.serviceAccount" => Key::SourceServiceAccount,
        _ if LAYER_7.iter().any(|family| text.starts_with(family)) => Key::Layer7,
        _ => {
            return refuse(
                format!("`{text}` is not an attribute of Istio's list"),
                "use source.ip, source.namespace, source.principal, source.serviceAccount, destination.ip, \
                 destination.port, custom.time_of_day, custom.day_of_week, or one that a waypoint judges, such as request.headers[NAME]",
            );
        }
    })
}
