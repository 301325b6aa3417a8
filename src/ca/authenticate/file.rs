//! The text of a file of tokens. Pure but for reading it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::grpc::server::{Caller, Who};
use crate::model::spiffe::Identity;
use crate::tls::sha256;

/// The largest file, 4 MiB: some 20,000 nodes.
const LARGEST: u64 = 4 << 20;
/// The shortest token: 32 characters of hexadecimal are 128 bits, which nobody guesses.
const SHORTEST: usize = 32;
/// The longest one: a header's room.
const LONGEST: usize = 8 << 10;

/// SHA-256 of a token.
pub(super) type Digest = [u8; 32];

/// Why a file of tokens is not taken. Configuration.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    #[error("{}: no caller in it: write lines of TOKEN NODE", path.display())]
    Empty { path: PathBuf },
    #[error("{}: line {line}: {reason}", path.display())]
    Line { path: PathBuf, line: usize, reason: &'static str },
    #[error("{}: others may read these tokens (mode {mode:04o}): chmod 600, or write digests (sha256:…)", path.display())]
    Mode { path: PathBuf, mode: u32 },
    #[error("{}: cannot read the tokens: check that the file exists and that this user may", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{}: larger than 4 MiB: name a file of tokens", path.display())]
    Size { path: PathBuf },
}

/// Reads and checks a file. There may be nobody in it: the last token can be withdrawn, too.
pub(super) fn read(path: &Path) -> Result<HashMap<Digest, Who>, TokensError> {
    let failed = |source| TokensError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    let mut text = String::new();
    file.take(LARGEST + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > LARGEST {
        return Err(TokensError::Size { path: path.to_owned() });
    }
    let Parsed { callers, plain } =
        parse(&text).map_err(|(line, reason)| TokensError::Line { path: path.to_owned(), line, reason })?;
    if plain && mode & 0o077 != 0 {
        return Err(TokensError::Mode { path: path.to_owned(), mode });
    }
    Ok(callers)
}

#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) callers: HashMap<Digest, Who>,
    /// There is a token that is not a digest.
    pub(super) plain: bool,
}

/// The callers, or the first bad line and what is wrong with it. No word of the file is in the reason.
pub(super) fn parse(text: &str) -> Result<Parsed, (usize, &'static str)> {
    let mut parsed = Parsed::default();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let bad = |reason| (number, reason);
        let mut words = line.split_ascii_whitespace();
        let (Some(token), Some(who), None) = (words.next(), words.next(), words.next()) else {
            return Err(bad("write TOKEN NODE"));
        };
        let digest = match token.strip_prefix("sha256:") {
            Some(digits) => digest(digits).ok_or_else(|| bad("a digest is sha256: and 64 digits of hexadecimal"))?,
            None if !(SHORTEST..=LONGEST).contains(&token.len()) => {
                return Err(bad("a token has 32 to 8192 characters: make one with openssl rand -hex 32"));
            }
            None if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                return Err(bad("a token is of printable ASCII"));
            }
            None => {
                parsed.plain = true;
                sha256(token.as_bytes())
            }
        };
        let who = caller(who).ok_or_else(|| bad("the caller is a node's name or spiffe://TRUST-DOMAIN/ns/NS/sa/SA"))?;
        if parsed.callers.insert(digest, who).is_some() {
            return Err(bad("the token is there twice"));
        }
    }
    Ok(parsed)
}

fn digest(digits: &str) -> Option<Digest> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok());
    let mut digest = [0; 32];
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if pairs.len() != digest.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(digest)
}

fn caller(text: &str) -> Option<Who> {
    if text.contains("://") {
        return text.parse::<Identity>().ok().map(Who::Workload);
    }
    // RFC 1123 subdomain, as Kubernetes names nodes.
    let good = text.len() <= 253 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    good.then(|| Who::Node(text.into()))
}

/// The caller that a line stands for.
pub(super) fn as_caller(who: &Who) -> Caller {
    match who {
        Who::Node(node) => Caller::node(node),
        Who::Workload(identity) => Caller::workload(identity.clone()),
    }
}
