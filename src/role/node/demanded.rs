//! Asking the control plane for what the mesh lacks, where it holds only what was asked for: joins the client of xDS with
//! the mesh, and the DNS proxy with both.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::dns;
use crate::mesh::Reader;
use crate::mesh::demand::{Asking, Demand, OnDemand, Share, Silence, Sought};
use crate::model::name::NamespacedName;
use crate::xds::client::{Answer, DemandError, Demander, Key};

/// What the client of xDS brings is in the mesh.
struct Source(Demander);

/// Names for the DNS proxies of all pods.
struct Names {
    demand: Arc<OnDemand>,
    share: Arc<Share>,
}

/// Names that the questions of all pods ask for at a time; a question beyond that goes to a name server. The rest of what
/// the client may ask for is for connections, which have nobody else to ask.
const NAMES: usize = 256;
/// Of those, what one pod's questions ask for.
const NAMES_OF_POD: usize = 32;
/// A question waits for 2 s: somewhat less, so that it is heard of an answer that does not come.
const WAIT: Duration = Duration::from_millis(1500);

/// Asks `demander`, whose client writes the mesh that `mesh` reads.
pub fn on_demand(demander: Demander, mesh: Reader) -> Arc<OnDemand> {
    Arc::new(OnDemand::new(Arc::new(Source(demander)), mesh))
}

/// What the DNS proxies ask.
pub fn names(demand: &Arc<OnDemand>) -> Arc<dyn dns::Demand> {
    Arc::new(Names { demand: Arc::clone(demand), share: Arc::new(Share::new(NAMES)) })
}

// === impl Source ===

impl Demand for Source {
    fn demand(&self, sought: Sought, limit: Duration) -> Asking<'_> {
        let key = match &sought {
            Sought::Address { network, ip } => Key::address(network, *ip),
            Sought::Service(key) => Key::service(key),
        };
        Box::pin(async move {
            // A name that is longer than any is nobody's.
            let Some(key) = key else { return Ok(()) };
            match self.0.demand(key, limit).await {
                Ok(Answer::Found | Answer::Missing) => Ok(()),
                Ok(Answer::Refused) => Err(Silence::Unreadable),
                Err(DemandError::Deadline) => Err(Silence::Deadline),
                Err(DemandError::Ended) => Err(Silence::Ended),
                Err(DemandError::TooMany) => Err(Silence::TooMany),
            }
        })
    }
}

// === impl Names ===

impl dns::Demand for Names {
    fn share(&self) -> Share {
        Share::within(&self.share, NAMES_OF_POD)
    }

    fn demand<'a>(
        &'a self,
        share: &'a Share,
        names: Vec<NamespacedName>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            // One question in some seconds finds out whether the control plane is there again; the others have a name
            // server to ask.
            if self.demand.is_silent() {
                return;
            }
            let sought = names.into_iter().map(Sought::Service).collect();
            if let Err(unanswered) = self.demand.ask(share, sought, WAIT).await {
                tracing::debug!(target: "dns", error = %unanswered, "a name server is asked instead");
            }
        })
    }
}

#[cfg(test)]
mod tests;
