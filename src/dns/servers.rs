//! The name servers of the daemon's own resolv.conf: for pods whose own server cannot be told.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often the file is looked at: a change of it is a rare event.
const EVERY: Duration = Duration::from_secs(5);
/// As many as a C library reads (`MAXNS`).
const MOST: usize = 3;
/// Bytes of the file that are read.
const LARGEST: u64 = 64 * 1024;

/// The servers, read again when they are asked for and the last look is some seconds old.
#[derive(Debug)]
pub struct Servers {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    looked: Option<Instant>,
    list: Arc<[SocketAddr]>,
}

// === impl Servers ===

impl Servers {
    /// Of a file in the format of resolv.conf(5). Nothing is read yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), state: Mutex::new(State { looked: None, list: Arc::default() }) }
    }

    /// The servers in their order, at most three. A file that cannot be read leaves those of before.
    pub(super) async fn current(&self) -> Arc<[SocketAddr]> {
        let now = Instant::now();
        {
            let mut state = self.state();
            if state.looked.is_some_and(|looked| now.saturating_duration_since(looked) < EVERY) {
                return Arc::clone(&state.list);
            }
            // One looks; the others take what there is meanwhile.
            state.looked = Some(now);
        }
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            std::fs::File::open(path)?.take(LARGEST).read_to_string(&mut text)?;
            Ok::<_, std::io::Error>(text)
        });
        let read = read.await;
        let mut state = self.state();
        match read {
            Ok(Ok(text)) => state.list = parse(&text).into(),
            Ok(Err(error)) => tracing::debug!(path = %self.path.display(), %error, "the name servers cannot be read"),
            // The runtime ends.
            Err(_) => {}
        }
        Arc::clone(&state.list)
    }

    /// Held for a look or a change, never across a wait.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lines `nameserver ADDRESS`. One that names an interface, or nothing that can be read, is left out.
fn parse(text: &str) -> Vec<SocketAddr> {
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        words.next().filter(|word| *word == "nameserver")?;
        words.next()?.parse::<IpAddr>().ok()
    });
    named.take(MOST).map(|ip| SocketAddr::new(ip, 53)).collect()
}

#[cfg(test)]
mod tests;
