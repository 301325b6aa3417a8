//! Asking for what the mesh does not hold yet, where it holds only what was asked for.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::mesh::demand::Share;
use crate::model::name::NamespacedName;

use super::answer::{Client, readings};
use super::message::Question;

/// Brings names into the mesh. It is asked for each question that the mesh has no answer to, so what is known not to
/// exist should be remembered by it.
pub trait Demand: Send + Sync + 'static {
    /// What one pod may ask for at a time.
    fn share(&self) -> Share;

    /// Asks for services by their keys, `<namespace>/<hostname>`, and ends when the mesh has what there is of them. A
    /// question waits for it for 2 s at most, and is then answered from what the mesh has.
    fn demand<'a>(
        &'a self,
        share: &'a Share,
        names: Vec<NamespacedName>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// How long a question waits: within a resolver's own 5 s there is then time left to ask a name server.
pub(super) const WAIT: Duration = Duration::from_secs(2);

/// The keys of the services that a question may mean: of a cluster's name the namespace stands in it, any other is taken
/// for one of the client's own namespace.
pub(super) fn keys(question: &Question<'_>, client: Client<'_>) -> Vec<NamespacedName> {
    let Some((_, readings)) = readings(question, client) else { return Vec::new() };
    let mut keys: Vec<NamespacedName> = Vec::new();
    for reading in readings {
        let of_cluster = reading.name.strip_suffix(client.domain).and_then(|rest| rest.strip_suffix(".svc."));
        let namespace = of_cluster.and_then(|rest| rest.rsplit_once('.')).map(|(_, namespace)| namespace.to_owned());
        let key = NamespacedName::new(namespace.unwrap_or_else(|| client.namespace.to_owned()), reading.name);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}
