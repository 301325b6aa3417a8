//! The bearer token of a request, and what happens when its file goes away.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use http::HeaderValue;

/// Largest token file, 64 KiB: a token of Kubernetes has 1 to 2.
const MAX_TOKEN: u64 = 64 << 10;

/// Where a token comes from.
#[derive(Clone, Default)]
pub enum TokenSource {
    /// Requests have no token, and no cluster id.
    #[default]
    None,
    /// Read again for each request: Kubernetes replaces it when four fifths of its life are over.
    File(PathBuf),
    Literal(String),
}

/// Why a request has no token to carry. The mend is in each; none holds a part of a token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The text cannot be a header's value. Configuration.
    #[error("{}the token has bytes that no header can carry, or none at all: write it anew", place(path))]
    Form { path: Option<PathBuf> },
    /// There is no file, or it cannot be read. Configuration, or whoever mounts it.
    #[error("the token file {} cannot be read: mount it, and let this user read it", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The token of one endpoint.
pub(super) struct Token {
    source: TokenSource,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: Option<HeaderValue>,
    /// `last` is not what the source holds now. Said once for each time that it happens.
    stale: bool,
}

fn place(path: &Option<PathBuf>) -> String {
    path.as_ref().map(|path| format!("{}: ", path.display())).unwrap_or_default()
}

// === impl TokenSource ===

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Literal(_) => f.write_str("Literal(..)"),
        }
    }
}

// === impl Token ===

impl Token {
    pub(super) fn new(source: TokenSource) -> Result<Self, TokenError> {
        let state = Mutex::default();
        let this = Self { source, state };
        if let TokenSource::Literal(text) = &this.source {
            this.lock().last = Some(header(text).ok_or(TokenError::Form { path: None })?);
        }
        Ok(this)
    }

    /// The value of `authorization` for one request; [`None`] when no token is configured. A file that has gone away,
    /// is empty or cannot be read leaves the last token in use.
    pub(super) fn read(&self) -> Result<Option<HeaderValue>, TokenError> {
        let path = match &self.source {
            TokenSource::None => return Ok(None),
            TokenSource::Literal(_) => return Ok(self.lock().last.clone()),
            TokenSource::File(path) => path,
        };
        let read = file(path);
        let mut state = self.lock();
        match (read, &state.last) {
            (Ok(token), _) => {
                if std::mem::take(&mut state.stale) {
                    tracing::info!(path = %path.display(), "the token file can be read again");
                }
                state.last = Some(token.clone());
                Ok(Some(token))
            }
            (Err(error), Some(last)) => {
                let last = last.clone();
                if !std::mem::replace(&mut state.stale, true) {
                    let error = crate::telemetry::cause::chain(&error);
                    tracing::warn!(path = %path.display(), error, "the last token is used until it is refused");
                }
                Ok(Some(last))
            }
            (Err(error), None) => Err(error),
        }
    }

    /// The server refused who we say we are. A token that the source no longer holds is given up.
    pub(super) fn refused(&self) {
        let mut state = self.lock();
        if state.stale {
            *state = State::default();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file(path: &Path) -> Result<HeaderValue, TokenError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_TOKEN + 1).read_to_end(&mut bytes))
        .map_err(|source| TokenError::Read { path: path.to_owned(), source })?;
    let form = || TokenError::Form { path: Some(path.to_owned()) };
    if u64::try_from(bytes.len()).is_ok_and(|size| size > MAX_TOKEN) {
        return Err(form());
    }
    std::str::from_utf8(&bytes).ok().and_then(header).ok_or_else(form)
}

/// RFC 6750 section 2.1. Editors and `echo` leave a line's end behind the token.
fn header(text: &str) -> Option<HeaderValue> {
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    // Shown as `Sensitive`, and never put into a table of headers that later requests point into.
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests;
