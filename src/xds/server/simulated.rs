//! A client for tests: it keeps what it is sent, as a node does, and holds the server to the protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message;

use super::{Heard, Limits, Refusal, Resources, Session, Snapshot, Type};
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Policy, Scope};
use crate::model::service::{Service, VirtualAddress};
use crate::model::timezone::Zone;
use crate::model::workload::{ServiceMembership, Workload};
use crate::proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use crate::proto::google::Status;

pub(super) const LIMITS: Limits = Limits { names: 1000, name_bytes: 1 << 16, response: 2 << 20 };

/// A workload with the address `10.0.0.<n>`.
pub(super) fn workload(n: u8, node: &str) -> Workload {
    Workload {
        uid: format!("c//Pod/shop/w{n}").into(),
        name: format!("w{n}").into(),
        namespace: "shop".into(),
        service_account: "cart".into(),
        trust_domain: "cluster.local".into(),
        cluster: "c".into(),
        node: node.into(),
        addresses: vec![[10, 0, 0, n].into()],
        ..Workload::default()
    }
}

/// A service with the address `10.1.0.<n>`, named `shop/s<n>`.
pub(super) fn service(n: u8) -> Service {
    Service {
        name: format!("s{n}").into(),
        namespace: "shop".into(),
        hostname: format!("s{n}").into(),
        addresses: vec![VirtualAddress::single("".into(), [10, 1, 0, n].into())],
        ..Service::default()
    }
}

pub(super) fn member(mut workload: Workload, services: &[u8]) -> Workload {
    let place = |n: &u8| ServiceMembership { service: NamespacedName::new("shop", format!("s{n}")), ports: Vec::new() };
    workload.services = services.iter().map(place).collect();
    workload
}

pub(super) fn policy(n: u8, dry_run: bool) -> Policy {
    Policy {
        key: NamespacedName::new("shop", format!("p{n}")),
        scope: Scope::Workload,
        action: Action::Deny,
        dry_run,
        zone: Zone::utc(),
        groups: Vec::new(),
    }
}

/// What there is, and its snapshot.
#[derive(Default)]
pub(super) struct World {
    pub(super) now: Arc<Snapshot>,
}

impl World {
    pub(super) fn new(resources: &Resources) -> Self {
        let mut world = Self::default();
        world.set(resources);
        world
    }

    pub(super) fn set(&mut self, resources: &Resources) {
        if let Some(next) = self.now.next(resources) {
            self.now = Arc::new(next);
        }
    }

    /// Name → version of a type.
    pub(super) fn all(&self, kind: Type) -> BTreeMap<String, String> {
        self.now.of(kind).iter().map(|entry| (entry.name().to_string(), entry.version())).collect()
    }
}

/// One type of one client, with its stream.
pub(super) struct Client {
    pub(super) kind: Type,
    node: String,
    /// `None` wants everything.
    pub(super) asked: Option<BTreeSet<String>>,
    pub(super) session: Session,
    /// What it has: name → version.
    pub(super) held: BTreeMap<String, String>,
    /// Aliases of the last response.
    pub(super) aliases: BTreeMap<String, Vec<String>>,
    pub(super) responses: usize,
}

impl Client {
    pub(super) fn new(kind: Type, node: &str, asked: Option<&[&str]>, limits: Limits) -> Self {
        Self {
            kind,
            node: node.to_owned(),
            asked: asked.map(|asked| asked.iter().map(|name| (*name).to_owned()).collect()),
            session: Session::new(limits, node.into()),
            held: BTreeMap::new(),
            aliases: BTreeMap::new(),
            responses: 0,
        }
    }

    /// A new stream: what it had in flight is lost, what it holds is not.
    pub(super) fn reconnect(&mut self, world: &World, limits: Limits) {
        self.session = Session::new(limits, self.node.as_str().into());
        let request = self.first();
        assert_eq!(self.session.request(request, &world.now), Ok(Heard::Subscribed));
    }

    /// The first request of a stream.
    pub(super) fn first(&self) -> DeltaDiscoveryRequest {
        let (subscribe, unsubscribe) = match &self.asked {
            None => (Vec::new(), Vec::new()),
            Some(asked) => (asked.iter().cloned().chain(["*".to_owned()]).collect(), vec!["*".to_owned()]),
        };
        DeltaDiscoveryRequest {
            resource_names_subscribe: subscribe,
            resource_names_unsubscribe: unsubscribe,
            initial_resource_versions: self.held.clone(),
            ..self.request()
        }
    }

    pub(super) fn request(&self) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest { type_url: self.kind.url().to_owned(), ..DeltaDiscoveryRequest::default() }
    }

    pub(super) fn ask(&mut self, names: &[&str], world: &World) -> Result<Heard, Refusal> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        if let Some(asked) = &mut self.asked {
            asked.extend(names.iter().cloned());
        }
        let request = DeltaDiscoveryRequest { resource_names_subscribe: names, ..self.request() };
        self.session.request(request, &world.now)
    }

    pub(super) fn leave(&mut self, name: &str, world: &World) {
        if let Some(asked) = &mut self.asked {
            asked.remove(name);
        }
        self.held.remove(name);
        let request = DeltaDiscoveryRequest { resource_names_unsubscribe: vec![name.to_owned()], ..self.request() };
        self.session.request(request, &world.now).unwrap();
    }

    /// The next response, off the wire.
    pub(super) fn pull(&mut self, world: &World) -> Option<DeltaDiscoveryResponse> {
        let response = self.session.next(&world.now).unwrap()?;
        Some(DeltaDiscoveryResponse::decode(response.encode(&world.now)).unwrap())
    }

    /// Takes a response over.
    pub(super) fn apply(&mut self, response: &DeltaDiscoveryResponse) {
        assert_eq!(response.type_url, self.kind.url());
        assert!(response.nonce.starts_with(&response.system_version_info));
        self.responses += 1;
        self.aliases.clear();
        for name in &response.removed_resources {
            self.held.remove(name);
        }
        for resource in &response.resources {
            let any = resource.resource.as_ref().unwrap();
            assert_eq!(any.type_url, self.kind.url());
            self.held.insert(resource.name.clone(), resource.version.clone());
            self.aliases.insert(resource.name.clone(), resource.aliases.clone());
        }
    }

    pub(super) fn acknowledgement(&self, nonce: &str, refused: Option<&str>) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            response_nonce: nonce.to_owned(),
            error_detail: refused.map(|message| Status { code: 3, message: message.to_owned() }),
            ..self.request()
        }
    }

    pub(super) fn acknowledge(&mut self, nonce: &str, world: &World) -> Heard {
        let request = self.acknowledgement(nonce, None);
        self.session.request(request, &world.now).unwrap()
    }

    /// Takes and acknowledges until there is nothing more. Answers the responses.
    pub(super) fn settle(&mut self, world: &World) -> Vec<DeltaDiscoveryResponse> {
        let mut all = Vec::new();
        while let Some(response) = self.pull(world) {
            self.apply(&response);
            assert_eq!(self.acknowledge(&response.nonce, world), Heard::Acknowledged);
            all.push(response);
        }
        all
    }
}

/// Names of a response's resources, and of those that it removes.
pub(super) fn names(response: &DeltaDiscoveryResponse) -> (Vec<&str>, Vec<&str>) {
    let resources = response.resources.iter().map(|resource| resource.name.as_str()).collect();
    (resources, response.removed_resources.iter().map(String::as_str).collect())
}

mod properties;
