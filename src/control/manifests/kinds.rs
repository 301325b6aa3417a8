//! The kinds that are read: their names, their checks, and where they are kept.

use serde::de::DeserializeOwned;

use crate::control::policy::{Problem, authorization, peer};
use crate::kube::types::{
    AuthorizationPolicy, EndpointSlice, Gateway, GatewayClass, Namespace, Node, ObjectMeta, PeerAuthentication, Pod,
    Service, ServiceEntry, WorkloadEntry,
};

use super::{Objects, check};

/// One kind of object.
pub(super) trait Kind: DeserializeOwned {
    const KIND: &'static str;
    /// Fields that nobody knows are refused around `spec` too, and so is null inside of it: a policy
    /// whose `spec` or `namespace` is misspelt would do something else without a word.
    const STRICT: bool = false;
    /// It has no namespace.
    const CLUSTER_SCOPED: bool = false;

    fn metadata(&mut self) -> &mut ObjectMeta;

    /// Adds what is wrong with its values; the metadata is checked already.
    fn check(&self, problems: &mut Vec<Problem>);

    fn keep(self, objects: &mut Objects);
}

impl Kind for AuthorizationPolicy {
    const KIND: &'static str = "AuthorizationPolicy";
    const STRICT: bool = true;

    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn check(&self, problems: &mut Vec<Problem>) {
        problems.extend(authorization::parse(self).err().into_iter().flatten());
        problems.extend(authorization::check_zone(self));
    }

    fn keep(self, objects: &mut Objects) {
        objects.authorization_policies.push(self);
    }
}

impl Kind for EndpointSlice {
    const KIND: &'static str = "EndpointSlice";

    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn check(&self, _: &mut Vec<Problem>) {}

    fn keep(self, objects: &mut Objects) {
        objects.endpoint_slices.push(self);
    }
}

impl Kind for Gateway {
    const KIND: &'static str = "Gateway";

    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    /// What is wrong with a Gateway costs those who name it, and its status says so (`project::waypoint`).
    fn check(&self, _: &mut Vec<Problem>) {}

    fn keep(self, objects: &mut Objects) {
        objects.gateways.push(self);
    }
}

impl Kind for GatewayClass {
    const KIND: &'static str = "GatewayClass";
    const CLUSTER_SCOPED: bool = true;

    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn check(&self, _: &mut Vec<Problem>) {}

    fn keep(self, objects: &mut Objects) {
        objects.gateway_classes.push(self);
    }
}

impl Kind for Namespace {
    const KIND: &'static str = "Namespace";
    const CLUSTER_SCOPED: bool = true;

    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn check(&self, _: &mut Vec<Problem>) {}

    fn keep(self, objects: &mut Objects) {
        objects.namespaces.push(self);
    }
}

impl Kind for Node {
    const KIND: &'static str = "Node";
    const CLUSTER_SCOPED: bool = true;

    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn check(&self, _: &mut Vec<Problem>) {}

    fn keep(self, objects: &mut Objects) {
        objects.nodes.push(self);
    }
}

impl Kind for PeerAuthentication {
    const KIND: &'static str = "PeerAuthentication";
    const STRICT: bool = true;

    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn check(&self, problems: &mut Vec<Problem>) {
        problems.extend(peer::parse(self).err().into_iter().flatten());
    }

    fn keep(self, objects: &mut Objects) {
        objects.peer_authentications.push(self);
    }
}

impl Kind for Pod {
    const KIND: &'static str = "Pod";

    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn check(&self, problems: &mut Vec<Problem>) {
        check::pod(self, problems);
    }

    fn keep(self, objects: &mut Objects) {
        objects.pods.push(self);
    }
}

impl Kind for Service {
    const KIND: &'static str = "Service";

    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn check(&self, problems: &mut Vec<Problem>) {
        check::service(self, problems);
    }

    fn keep(self, objects: &mut Objects) {
        objects.services.push(self);
    }
}

impl Kind for ServiceEntry {
    const KIND: &'static str = "ServiceEntry";
    const STRICT: bool = true;

    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    /// Nothing: a bad value costs itself alone and is a status (`project`).
    fn check(&self, _: &mut Vec<Problem>) {}

    fn keep(self, objects: &mut Objects) {
        objects.service_entries.push(self);
    }
}

impl Kind for WorkloadEntry {
    const KIND: &'static str = "WorkloadEntry";
    const STRICT: bool = true;

    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    /// Nothing: a bad value costs itself alone and is a status (`project`).
    fn check(&self, _: &mut Vec<Problem>) {}

    fn keep(self, objects: &mut Objects) {
        objects.workload_entries.push(self);
    }
}
