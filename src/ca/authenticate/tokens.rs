//! The callers of now, and the file that they come from.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::file::{self, Digest, TokensError};
use crate::grpc::server::{Authenticate, Caller, Unauthenticated, Who};
use crate::sys::stamp::Stamp;
use crate::tls::sha256;

/// The callers of now. Clones are the same.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<ArcSwap<HashMap<Digest, Caller>>>);

/// The file, looked at again and again.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    loaded: Option<Stamp>,
    seen: Option<Stamp>,
    tokens: Tokens,
}

/// What came of a look.
#[derive(Debug)]
pub enum Look {
    Same,
    /// The file's callers hold now; streams of those that it has no more end.
    Taken {
        callers: usize,
    },
    /// What was loaded goes on; told once for each change.
    Refused(TokensError),
}

// === impl Tokens ===

impl Authenticate for Tokens {
    fn authenticate(&self, token: &str) -> Result<Caller, Unauthenticated> {
        // Of a digest nobody can steer a part at a time, so the look-up's own time tells nothing.
        self.0.load().get(&sha256(token.as_bytes())).cloned().ok_or(Unauthenticated("a token that nobody has"))
    }
}

impl Tokens {
    fn replace(&self, next: HashMap<Digest, Who>) {
        let before = self.0.load_full();
        let keep = |(digest, who): (Digest, Who)| match before.get(&digest) {
            Some(caller) if caller.who == who => (digest, caller.clone()),
            _ => (digest, file::as_caller(&who)),
        };
        let next: HashMap<_, _> = next.into_iter().map(keep).collect();
        let gone = before.iter().filter(|(digest, caller)| next.get(*digest).is_none_or(|now| now.who != caller.who));
        let gone: Vec<_> = gone.map(|(_, caller)| caller.withdrawn.clone()).collect();
        self.0.store(Arc::new(next));
        gone.iter().for_each(tokio_util::sync::CancellationToken::cancel);
    }
}

// === impl TokenFile ===

impl TokenFile {
    /// # Errors
    /// A server does not start on a file that is broken: it has no last good state.
    pub fn open(path: &Path) -> Result<(Self, Tokens), TokensError> {
        let stamp = Stamp::of(path);
        let tokens = Tokens(Arc::new(ArcSwap::from_pointee(HashMap::new())));
        let callers = file::read(path)?;
        if callers.is_empty() {
            // At the start it is a mistake; later it is what somebody means who takes out the last one.
            return Err(TokensError::Empty { path: path.to_owned() });
        }
        tokens.replace(callers);
        Ok((Self { path: path.to_owned(), loaded: stamp, seen: stamp, tokens: tokens.clone() }, tokens))
    }

    /// Looks once, and reads the file when it has changed and is quiet. Call it every second or two, on a thread that may
    /// wait for a disk.
    pub fn look(&mut self) -> Look {
        let stamp = Stamp::of(&self.path);
        if stamp == self.loaded {
            self.seen = stamp;
            return Look::Same;
        }
        if std::mem::replace(&mut self.seen, stamp) != stamp {
            return Look::Same;
        }
        self.loaded = stamp;
        match file::read(&self.path) {
            Ok(next) => {
                let callers = next.len();
                self.tokens.replace(next);
                Look::Taken { callers }
            }
            Err(error) => Look::Refused(error),
        }
    }
}
