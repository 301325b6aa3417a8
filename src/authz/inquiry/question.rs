//! What is asked, and its form in the query of an admin page.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::model::name::NamespacedName;
use crate::model::spiffe::Identity;

/// Who wants to connect to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub caller: Caller,
    pub callee: Callee,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody without an identity, at this address.
    Address(IpAddr),
    /// A pod as it is: with its identity when it is in the mesh, in plaintext when it is not.
    Pod(NamespacedName),
    /// Whoever has this identity, of whatever trust domain; nobody knows which address it calls from.
    Identity { identity: Identity, address: IpAddr },
    /// Whoever has the identity of a service account; from the address of one of its pods when none is given.
    ServiceAccount { account: NamespacedName, address: Option<IpAddr> },
}

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callee {
    Address(SocketAddr),
    Pod { pod: NamespacedName, port: u16 },
}

/// Why a text is no question. The fault of who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    #[error("{0:?} is not an address: write 10.0.0.1 or fd00::1")]
    Address(String),
    #[error("{0:?} is not a destination: write NAMESPACE/POD:PORT, 10.0.0.1:80 or [fd00::1]:80, with a port from 1 on")]
    Callee(String),
    #[error("{0:?} is neither {1}")]
    Key(String, &'static str),
    #[error("{0:?} is not spiffe://<trust domain>/ns/<namespace>/sa/<service account>")]
    Identity(String),
    #[error("{0:?} is there twice: write it once")]
    Twice(&'static str),
    #[error("{0:?} is not NAMESPACE/NAME")]
    Name(String),
    #[error(
        "nobody calls: write exactly one of from=NAMESPACE/POD, sa=NAMESPACE/NAME, identity=spiffe://… and ip=ADDRESS; sa may have an ip, and an identity has one"
    )]
    Caller,
    #[error("nothing is called: write to=NAMESPACE/POD:PORT")]
    NoCallee,
    #[error("the question is longer than {MAX_QUERY} bytes")]
    TooLong,
    #[error("{0:?} cannot be read: write KEY=VALUE joined by &, and %XX for printable ASCII only")]
    Encoding(String),
}

/// The longest query that is read. Two names of the longest kind, every byte as `%XX`, stay below it.
pub const MAX_QUERY: usize = 4096;
/// Longest name of a namespace or object in Kubernetes.
const MAX_NAME: usize = 253;
const KEYS: &str = "from, sa, identity, ip nor to";

/// Reads `NAMESPACE/POD`.
pub fn pod(text: &str) -> Result<NamespacedName, QuestionError> {
    let bad = || QuestionError::Name(short(text));
    let (namespace, name) = text.split_once('/').ok_or_else(bad)?;
    let good = |part: &str| {
        let byte = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        !part.is_empty() && part.len() <= MAX_NAME && part.bytes().all(byte)
    };
    if good(namespace) && good(name) { Ok(NamespacedName::new(namespace, name)) } else { Err(bad()) }
}

/// Reads `NAMESPACE/SERVICE-ACCOUNT`.
pub fn account(text: &str) -> Result<NamespacedName, QuestionError> {
    pod(text)
}

/// Reads `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
pub fn identity(text: &str) -> Result<Identity, QuestionError> {
    text.parse().map_err(|_| QuestionError::Identity(short(text)))
}

/// Reads `NAMESPACE/POD:PORT` or an address with a port.
pub fn callee(text: &str) -> Result<Callee, QuestionError> {
    let bad = || QuestionError::Callee(short(text));
    let port = |text: &str| match text.parse::<u16>() {
        // The parser alone would take `+80`.
        Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => Err(bad()),
    };
    if text.contains('/') {
        let (name, number) = text.rsplit_once(':').ok_or_else(bad)?;
        return Ok(Callee::Pod { pod: pod(name).map_err(|_| bad())?, port: port(number)? });
    }
    match text.parse::<SocketAddr>() {
        // A scope belongs to one host's links.
        Ok(SocketAddr::V6(v6)) if v6.scope_id() != 0 => Err(bad()),
        Ok(address) if address.port() > 0 => Ok(Callee::Address(address)),
        _ => Err(bad()),
    }
}

// === impl Question ===

impl Question {
    /// Reads `from=NS/POD&to=NS/POD:PORT` and the like: known keys, each once, nothing besides.
    pub fn from_query(query: &str) -> Result<Self, QuestionError> {
        if query.len() > MAX_QUERY {
            return Err(QuestionError::TooLong);
        }
        let (mut from, mut sa, mut id, mut ip, mut to) = (None, None, None, None, None);
        for pair in query.split('&').filter(|_| !query.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| QuestionError::Encoding(short(pair)))?;
            let (key, held) = match key {
                "from" => ("from", &mut from),
                "sa" => ("sa", &mut sa),
                "identity" => ("identity", &mut id),
                "ip" => ("ip", &mut ip),
                "to" => ("to", &mut to),
                _ => return Err(QuestionError::Key(short(key), KEYS)),
            };
            let value = decode(value).ok_or_else(|| QuestionError::Encoding(short(pair)))?;
            if held.replace(value).is_some() {
                return Err(QuestionError::Twice(key));
            }
        }
        let address = |text: &str| text.parse::<IpAddr>().map_err(|_| QuestionError::Address(short(text)));
        let caller = match (from, sa, id, ip) {
            (Some(name), None, None, None) => Caller::Pod(pod(&name)?),
            (None, None, Some(id), Some(ip)) => Caller::Identity { identity: identity(&id)?, address: address(&ip)? },
            (None, Some(name), None, ip) => {
                Caller::ServiceAccount { account: account(&name)?, address: ip.as_deref().map(address).transpose()? }
            }
            (None, None, None, Some(ip)) => Caller::Address(address(&ip)?),
            _ => return Err(QuestionError::Caller),
        };
        Ok(Self { caller, callee: callee(&to.ok_or(QuestionError::NoCallee)?)? })
    }

    /// The form that [`Question::from_query`] reads. Names and addresses need no encoding.
    pub fn to_query(&self) -> String {
        let caller = match &self.caller {
            Caller::Address(ip) => format!("ip={ip}"),
            Caller::Identity { identity, address } => format!("identity={identity}&ip={address}"),
            Caller::Pod(pod) => format!("from={pod}"),
            Caller::ServiceAccount { account, address: None } => format!("sa={account}"),
            Caller::ServiceAccount { account, address: Some(ip) } => format!("sa={account}&ip={ip}"),
        };
        format!("{caller}&to={}", self.callee)
    }
}

// === impl Callee ===

impl fmt::Display for Callee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Pod { pod, port } => write!(f, "{pod}:{port}"),
        }
    }
}

/// Undoes `%XX`. `None` for anything that is not printable ASCII afterwards.
fn decode(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let digit = |b: Option<u8>| char::from(b?).to_digit(16);
                u8::try_from(digit(bytes.next())? * 16 + digit(bytes.next())?).ok()?
            }
            byte => byte,
        };
        if !byte.is_ascii_graphic() {
            return None;
        }
        out.push(char::from(byte));
    }
    Some(out)
}

/// What a message quotes of a text of others.
fn short(text: &str) -> String {
    const MOST: usize = 80;
    if text.chars().count() <= MOST { text.to_owned() } else { text.chars().take(MOST).chain(['…']).collect() }
}

#[cfg(test)]
mod tests;
