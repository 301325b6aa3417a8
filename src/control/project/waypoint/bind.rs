//! Which waypoint an object goes through (pure): its own labels, else its namespace's.
//!
//! A waypoint that was named and cannot be used is still a waypoint: an address that nobody has, so that callers
//! refuse. One exception: what a namespace names for services alone was never meant for its workloads, nor the other
//! way round.

use std::sync::Arc;

use crate::kube::types::ObjectMeta;
use crate::model::gateway::{GatewayAddress, GatewayDestination};
use crate::model::name::NamespacedName;
use crate::model::ports;

use super::super::Settings;
use super::super::status::{Level, Reason, Status};
use super::declared::{Target, Waypoint, Waypoints};
use super::labels;

/// Who goes through a waypoint, perhaps.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub key: &'a NamespacedName,
    pub meta: &'a ObjectMeta,
    pub target: Target,
    /// Only its own namespace sees it (a ServiceEntry).
    pub private: bool,
}

/// What an object's labels come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bound {
    /// The first hop. Somewhere that does not exist when the one that was named cannot be used.
    pub waypoint: Option<GatewayAddress>,
    /// Primary and canary, when there is a canary.
    pub weighted: Vec<(GatewayAddress, u32)>,
    pub ingress: bool,
    /// The Gateways that were named.
    pub named: Vec<NamespacedName>,
    /// Those of them that can be used.
    pub usable: Vec<NamespacedName>,
    /// Why the primary cannot be used.
    pub refusal: Option<Refusal>,
    /// What the labels say and does not hold.
    pub doubts: Vec<Refusal>,
    /// The namespace named it, and not the object.
    pub inherited: bool,
}

/// Why a waypoint is not used: Istio's code, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub reason: Reason,
    pub message: String,
}

/// A name and where it stands.
struct Named<'a> {
    key: NamespacedName,
    inherited: bool,
    /// The object or its namespace: canary labels count where the name is.
    meta: &'a ObjectMeta,
}

// === impl Waypoints ===

impl Waypoints<'_> {
    /// Decides for one object that is no waypoint's own.
    pub(super) fn bind(&self, asker: &Asker<'_>) -> Bound {
        let namespace = self.index.namespaces.get(&asker.key.namespace).map(|object| &object.metadata);
        let own = name_in(asker.meta, &asker.key.namespace, false);
        let Some(named) = own.or_else(|| name_in(namespace?, &asker.key.namespace, true)) else {
            return Bound::default();
        };
        if named.key.name.as_ref() == labels::NONE {
            return Bound::default();
        }
        if named.inherited && self.is_for_the_other(&named.key, asker.target) {
            return Bound::default();
        }
        let mut bound = Bound { named: vec![named.key.clone()], inherited: named.inherited, ..Bound::default() };
        match self.usable(&named.key, asker) {
            Ok((waypoint, address)) => {
                bound.waypoint = Some(address.clone());
                bound.usable.push(waypoint.key.clone());
                if asker.target == Target::Service {
                    self.canary(&named, asker, address, &mut bound);
                }
            }
            Err(refusal) => {
                bound.waypoint = Some(nowhere(&named.key, self.settings));
                bound.refusal = Some(refusal);
            }
        }
        if asker.target == Target::Service {
            self.ingress(asker.meta, namespace, &mut bound);
        }
        bound
    }

    /// A waypoint of services for a workload, or the other way round. One for nothing is neither.
    fn is_for_the_other(&self, key: &NamespacedName, target: Target) -> bool {
        let other = match target {
            Target::Service => Target::Workload,
            Target::Workload => Target::Service,
        };
        self.get(key).is_some_and(|waypoint| !waypoint.traffic.covers(target) && waypoint.traffic.covers(other))
    }

    fn usable(&self, key: &NamespacedName, asker: &Asker<'_>) -> Result<(&Waypoint, &GatewayAddress), Refusal> {
        let refuse = |reason, message| Err(Refusal { reason, message });
        let Some(waypoint) = self.get(key) else {
            return refuse(Reason::WaypointIsNotReady, format!("there is no Gateway {key}"));
        };
        let address = match &waypoint.address {
            Ok(address) => address,
            Err(why) => return refuse(Reason::WaypointIsNotReady, format!("Gateway {key} is not ready: {why}")),
        };
        let namespace = &asker.key.namespace;
        if !waypoint.admission.admits(&key.namespace, namespace, self.index) {
            return refuse(
                Reason::AttachmentDenied,
                format!("Gateway {key} does not take objects of namespace {namespace} (allowedRoutes of its listener)"),
            );
        }
        if !waypoint.traffic.covers(asker.target) {
            let (is, wants) = (waypoint.traffic.as_str(), asker.target.as_str());
            return refuse(
                Reason::UnsupportedTrafficType,
                format!("Gateway {key} is for {is}, and this is a {wants}; its label {} decides", labels::FOR),
            );
        }
        if asker.private && key.namespace != *namespace {
            return refuse(
                Reason::CrossNamespaceWaypointForbidden,
                format!("only namespace {namespace} sees it, and Gateway {key} is of another"),
            );
        }
        Ok((waypoint, address))
    }

    fn canary(&self, primary: &Named<'_>, asker: &Asker<'_>, address: &GatewayAddress, bound: &mut Bound) {
        let meta = primary.meta;
        let Some(name) = meta.labels.get(labels::CANARY).filter(|name| *name != labels::NONE) else { return };
        let namespace = meta.labels.get(labels::CANARY_NAMESPACE).map_or(&*asker.key.namespace, String::as_str);
        let key = NamespacedName::new(namespace, name.as_str());
        let mut doubt = |reason, why: String| {
            let message = format!("the canary {key} is not used: {why}");
            bound.doubts.push(Refusal { reason, message });
        };
        if key == primary.key {
            return doubt(Reason::CanarySameAsPrimary, "it is the primary".to_owned());
        }
        let text = meta.annotations.get(labels::CANARY_WEIGHT).map_or("0", String::as_str);
        let Some(weight) = text.parse::<u32>().ok().filter(|weight| *weight <= 100) else {
            let why = format!("annotation {} is `{text}`; write 0 to 100", labels::CANARY_WEIGHT);
            return doubt(Reason::CanaryInvalidWeight, why);
        };
        match self.usable(&key, asker) {
            Ok((_, canary)) => {
                bound.weighted = vec![(address.clone(), 100 - weight), (canary.clone(), weight)];
                bound.named.push(key.clone());
                bound.usable.push(key);
            }
            Err(refusal) => doubt(refusal.reason, refusal.message),
        }
    }

    fn ingress(&self, own: &ObjectMeta, namespace: Option<&ObjectMeta>, bound: &mut Bound) {
        let label = |meta: &ObjectMeta| meta.labels.get(labels::INGRESS).cloned();
        match label(own).or_else(|| label(namespace?)).as_deref() {
            Some("true") => bound.ingress = true,
            None | Some("false") => {}
            Some(text) => bound.doubts.push(Refusal {
                reason: Reason::Invalid,
                message: format!("{} is `{text}` and counts as false; write true or false", labels::INGRESS),
            }),
        }
    }
}

/// What an object's own labels name; an empty name names nothing that exists.
fn name_in<'a>(meta: &'a ObjectMeta, namespace: &Arc<str>, inherited: bool) -> Option<Named<'a>> {
    let name = meta.labels.get(labels::USE)?;
    let namespace = match meta.labels.get(labels::USE_NAMESPACE) {
        Some(namespace) => namespace.as_str().into(),
        None => Arc::clone(namespace),
    };
    Some(Named { key: NamespacedName { namespace, name: name.as_str().into() }, inherited, meta })
}

/// An address for a waypoint that cannot be used. Nothing can have the name, because no object of Kubernetes has an
/// underscore in its own; so who resolves it gets an error and no road.
fn nowhere(key: &NamespacedName, settings: &Settings) -> GatewayAddress {
    let host = format!("unusable_{}.{}.svc.{}", key.name, key.namespace, settings.cluster_domain);
    let destination = GatewayDestination::Hostname(NamespacedName::new(Arc::clone(&key.namespace), host));
    GatewayAddress { destination, port: ports::HBONE }
}

// === impl Bound ===

impl Bound {
    /// The service is where its waypoint is: to go there is to go through the waypoint.
    pub(super) fn leads_to(&self, service: &NamespacedName) -> bool {
        let destination = self.waypoint.as_ref().map(|waypoint| &waypoint.destination);
        matches!(destination, Some(GatewayDestination::Hostname(key)) if key == service)
    }

    /// What its author should know; nothing when no waypoint was named.
    pub(super) fn statuses(&self, kind: &'static str, key: &NamespacedName) -> Vec<Status> {
        let status = |level, reason, message| Status { kind, key: key.clone(), level, reason, message };
        let mut statuses = Vec::new();
        let by = if self.inherited { format!(" (label {} of the namespace)", labels::USE) } else { String::new() };
        match (&self.refusal, self.usable.first()) {
            (Some(Refusal { reason, message }), _) => {
                let message = format!("{message}{by}; calls through it are refused until then, and never go round it");
                statuses.push(status(Level::Warning, *reason, message));
            }
            (None, Some(waypoint)) => {
                let mut message = format!("calls go through the waypoint {waypoint}{by}");
                if let ([_, (_, weight)], [_, canary]) = (self.weighted.as_slice(), self.usable.as_slice()) {
                    message += &format!(", and {weight} % of them through the canary {canary}");
                }
                if self.ingress {
                    message += "; so do those of ingress gateways";
                }
                statuses.push(status(Level::Info, Reason::WaypointAccepted, message));
            }
            (None, None) => {}
        }
        statuses.extend(self.doubts.iter().map(|d| status(Level::Warning, d.reason, d.message.clone())));
        statuses
    }
}

// === impl Target ===

impl Target {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Workload => "workload",
        }
    }
}
