//! The server's own certificate: issued by its own CA, renewed at half of its life and when the CA changes.

use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ca::Authority;
use crate::identity::rotate::{Lifetime, rotate};
use crate::telemetry::cause::chain;
use crate::tls::{NamedAcceptor, random_unit};

/// Between two certificates, however short their lives are.
const APART: Duration = Duration::from_secs(1);

/// Keeps the certificate fresh.
pub(super) struct ServerCertificate {
    names: Vec<String>,
    ttl: Duration,
    authority: watch::Receiver<Authority>,
    lifetime: watch::Sender<Lifetime>,
    acceptor: watch::Sender<NamedAcceptor>,
}

// === impl ServerCertificate ===

impl ServerCertificate {
    /// Issues the first one.
    pub(super) fn issue(
        names: Vec<String>,
        ttl: Duration,
        mut authority: watch::Receiver<Authority>,
        now: SystemTime,
    ) -> anyhow::Result<(Self, watch::Receiver<NamedAcceptor>)> {
        let signer = authority.borrow_and_update().clone();
        let (lifetime, first) = issue(&signer, &names, ttl, now)?;
        let (acceptor, reader) = watch::channel(first);
        Ok((Self { names, ttl, authority, lifetime: watch::Sender::new(lifetime), acceptor }, reader))
    }

    /// The life of the one in use.
    pub(super) fn reader(&self) -> watch::Receiver<Lifetime> {
        self.lifetime.subscribe()
    }

    /// Renews until `stop`. A failure is tried again, and the old certificate goes on.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut failures = 0;
        loop {
            let lifetime = *self.lifetime.borrow();
            let next = rotate(Some(lifetime), SystemTime::now(), failures, random_unit());
            let wait = next.at.duration_since(SystemTime::now()).unwrap_or_default().max(APART);
            tokio::select! {
                () = stop.cancelled() => return,
                changed = self.authority.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(wait) => {}
            }
            let signer = self.authority.borrow_and_update().clone();
            match issue(&signer, &self.names, self.ttl, SystemTime::now()) {
                Ok((lifetime, acceptor)) => {
                    failures = 0;
                    self.lifetime.send_replace(lifetime);
                    self.acceptor.send_replace(acceptor);
                    tracing::info!("the server's certificate was renewed");
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    tracing::error!(error = chain(&*error), "the server's certificate could not be renewed");
                }
            }
        }
    }
}

fn issue(
    signer: &Authority,
    names: &[String],
    ttl: Duration,
    now: SystemTime,
) -> anyhow::Result<(Lifetime, NamedAcceptor)> {
    let issued = signer.issue_server(names, ttl, now)?;
    // It is backdated by two minutes for peers whose clocks are behind, which is no part of the life that it has here.
    let lifetime = Lifetime { not_before: issued.not_before.max(now), not_after: issued.not_after };
    Ok((lifetime, NamedAcceptor::new(&issued)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::reload::Reloader;

    #[test]
    fn half_of_a_short_life_is_ahead() {
        let dir = tempfile::tempdir().unwrap();
        let (_reloader, authority) = Reloader::open(dir.path(), "cluster.local").unwrap();
        let (now, ttl) = (SystemTime::now(), Duration::from_secs(20));
        let (certificate, _acceptor) =
            ServerCertificate::issue(vec!["control.example".to_owned()], ttl, authority, now).unwrap();
        let lifetime = *certificate.reader().borrow();
        let ahead = rotate(Some(lifetime), now, 0, 0.5).at.duration_since(now).unwrap();
        assert!(ahead > Duration::from_secs(8) && ahead < Duration::from_secs(11), "{ahead:?}");
    }
}
