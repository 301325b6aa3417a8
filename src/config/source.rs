//! Where mesh, certificates and pods come from, as the settings together say.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::drop_in::OwnPod;
use super::node::NodeSettings;
use super::secret::{Header, Secret};
use super::value::{Endpoint, Roots};
use crate::model::name::NamespacedName;
use crate::model::spiffe::Identity;

/// A server of the control plane and how it is talked to.
#[derive(Clone, Debug)]
pub struct Remote<'a> {
    pub endpoint: &'a Endpoint,
    pub roots: &'a Roots,
    /// A further name that its certificate may be for.
    pub server_name: Option<&'a str>,
    pub token: Token<'a>,
    pub headers: &'a [Header],
    /// Goes with the token as the header `clusterid`.
    pub cluster: &'a str,
}

/// What says to a server who we are.
#[derive(Clone, Debug)]
pub enum Token<'a> {
    /// Read again for each request.
    File(&'a Path),
    Literal(&'a Secret),
    /// Neither a token nor the cluster's name is sent.
    None,
}

/// A mesh in ztunnel's file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalMesh<'a> {
    File(&'a Path),
    Text(&'a str),
}

/// This process as a workload of the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnWorkload {
    pub key: NamespacedName,
    pub identity: Identity,
    /// Of its record in the mesh, as Istio makes it of a pod.
    pub uid: Arc<str>,
    /// `INSTANCE_IP`.
    pub addresses: Vec<IpAddr>,
}

/// Where the last accepted mesh is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept<'a> {
    pub directory: &'a Path,
    pub max_age: Duration,
}

/// Where the mesh comes from.
#[derive(Clone, Debug)]
pub enum MeshSource<'a> {
    ControlPlane {
        remote: Remote<'a>,
        on_demand: bool,
        kept: Option<Kept<'a>>,
        /// In force beside what the control plane says.
        local: Option<LocalMesh<'a>>,
    },
    Local(LocalMesh<'a>),
    Manifests(&'a Path),
}

/// Where certificates come from.
#[derive(Clone, Debug)]
pub enum CertificateSource<'a> {
    /// A CA in this process, with this directory.
    Embedded(&'a Path),
    /// Istio's certificate service.
    Service(Remote<'a>),
}

/// Where pods come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodSource<'a> {
    /// The node agent at this socket.
    Agent(&'a Path),
    Manifests(&'a Path),
}

/// Who we are to a control plane: the `node` of the first request of each type.
#[derive(Clone, Debug, PartialEq)]
pub struct XdsNode {
    /// `ztunnel~<address>~<pod>.<namespace>~<namespace>.svc.<cluster domain>`: control planes take no other kind of node
    /// proxy.
    pub id: String,
    pub metadata: serde_json::Map<String, Value>,
}

// === impl NodeSettings ===

impl NodeSettings {
    /// # Panics
    /// Never: the settings were checked to name one.
    pub fn mesh_source(&self) -> MeshSource<'_> {
        let local = match (&self.drop_in, &self.local_xds) {
            (_, Some(path)) => Some(LocalMesh::File(path)),
            (Some(drop_in), None) => drop_in.local_mesh.as_deref().map(LocalMesh::Text),
            (None, None) => None,
        };
        let kept = self.state_dir.as_deref().map(|directory| Kept { directory, max_age: self.state_max_age });
        match (&self.xds_address, local) {
            (Some(endpoint), local) => {
                let headers = self.drop_in.as_ref().map_or(&[][..], |drop_in| &drop_in.xds_headers);
                let remote = self.remote(endpoint, &self.xds_roots, self.xds_server_name.as_deref(), headers);
                MeshSource::ControlPlane { remote, on_demand: self.xds_on_demand, kept, local }
            }
            (None, Some(local)) => MeshSource::Local(local),
            (None, None) => MeshSource::Manifests(self.manifests.as_deref().unwrap_or_else(|| Path::new("."))),
        }
    }

    pub fn certificate_source(&self) -> CertificateSource<'_> {
        let Some(endpoint) = &self.ca_address else { return CertificateSource::Embedded(&self.ca_dir) };
        let headers = self.drop_in.as_ref().map_or(&[][..], |drop_in| &drop_in.ca_headers);
        CertificateSource::Service(self.remote(endpoint, &self.ca_roots, self.ca_server_name.as_deref(), headers))
    }

    pub fn pod_source(&self) -> PodSource<'_> {
        match (&self.zds_socket, &self.manifests) {
            (Some(socket), _) => PodSource::Agent(socket),
            (None, manifests) => PodSource::Manifests(manifests.as_deref().unwrap_or_else(|| Path::new("."))),
        }
    }

    fn remote<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        roots: &'a Roots,
        server_name: Option<&'a str>,
        headers: &'a [Header],
    ) -> Remote<'a> {
        let literal = self.drop_in.as_ref().and_then(|drop_in| drop_in.token.as_ref());
        let token = match (literal, &self.token_file) {
            (_, Some(path)) => Token::File(path),
            (Some(token), None) => Token::Literal(token),
            (None, None) => Token::None,
        };
        Remote { endpoint, roots, server_name, token, headers, cluster: &self.cluster }
    }

    /// This process as a workload of the mesh, whose pages peers reach by tunnels. [`None`] unless the environment says
    /// name, namespace and service account of its pod: with less its identity or its record would be a guess.
    pub fn own_workload(&self) -> Option<OwnWorkload> {
        let own = &self.drop_in.as_ref()?.own;
        let (name, namespace) = (own.name.as_deref()?, own.namespace.as_deref()?);
        Some(OwnWorkload {
            identity: Identity::new(self.trust_domain.as_str(), namespace, own.service_account.as_deref()?),
            key: NamespacedName::new(namespace, name),
            uid: format!("{}//Pod/{namespace}/{name}", self.cluster).into(),
            addresses: own.addresses.clone(),
        })
    }

    /// Without a pod of its own the process is named after its node.
    pub fn xds_node(&self) -> XdsNode {
        let nobody = OwnPod::default();
        let own = self.drop_in.as_ref().map_or(&nobody, |drop_in| &drop_in.own);
        let name = own.name.clone().unwrap_or_else(|| format!("culvert-{}", self.node));
        let namespace = own.namespace.clone().unwrap_or_else(|| self.root_namespace.clone());
        // ztunnel's own word for "unknown".
        let address = own.addresses.first().map_or_else(|| "1.1.1.1".to_owned(), ToString::to_string);
        // A text and no list: istiod parts it at its commas.
        let all = match &own.addresses[..] {
            [] => address.clone(),
            all => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        };
        let id = format!("ztunnel~{address}~{name}.{namespace}~{namespace}.svc.{}", self.cluster_domain);
        let mut metadata = serde_json::Map::new();
        if let Some(account) = &own.service_account {
            metadata.insert("SERVICE_ACCOUNT".into(), account.clone().into());
        }
        if let Some(drop_in) = &self.drop_in {
            metadata.extend(drop_in.metadata.clone());
        }
        // Last: who we are is not what a variable of another name says.
        metadata.insert("CLUSTER_ID".into(), self.cluster.clone().into());
        if !self.network.is_empty() {
            metadata.insert("NETWORK".into(), self.network.clone().into());
        }
        metadata.insert("NAME".into(), name.into());
        metadata.insert("NAMESPACE".into(), namespace.into());
        metadata.insert("NODE_NAME".into(), self.node.clone().into());
        metadata.insert("INSTANCE_IPS".into(), all.into());
        XdsNode { id, metadata }
    }
}

#[cfg(test)]
mod tests;
