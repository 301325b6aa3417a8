//! What was decided, written into services, workloads, policies and statuses.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::control::index::Index;
use crate::kube::types::{ObjectMeta, Service};
use crate::model::name::NamespacedName;
use crate::model::workload::Workload;

use super::super::notes::{SERVICE, SERVICE_ENTRY};
use super::super::status::{Level, Reason, Status};
use super::super::{Projection, Settings};
use super::bind::{Asker, Bound};
use super::declared::{Target, Waypoints, service_key};
use super::{Binding, enforce, entries, labels, targets};

/// An object of Kubernetes, as statuses name it.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    pub kind: &'static str,
    pub key: &'a NamespacedName,
    pub meta: &'a ObjectMeta,
}

/// What makes a service, and its waypoint.
pub(super) struct Served<'a> {
    pub object: Object<'a>,
    pub bound: Bound,
}

/// What makes a workload, and its waypoint.
pub(super) struct Member<'a> {
    pub object: Object<'a>,
    pub bound: Bound,
    /// Its place in the projection.
    pub workload: usize,
    /// It is a waypoint's own.
    pub is_instance: bool,
}

/// Objects with their waypoints; services by `<namespace>/<hostname>`.
#[derive(Default)]
pub(super) struct Parties<'a> {
    pub services: BTreeMap<NamespacedName, Served<'a>>,
    pub members: Vec<Member<'a>>,
}

/// Adds everything about waypoints to a projection that is otherwise complete.
pub(in super::super) fn apply(index: &Index, settings: &Settings, projection: &mut Projection) {
    let waypoints = Waypoints::build(index, settings, &mut projection.statuses);
    namespaces(&waypoints, &mut projection.statuses);
    let entries = entries::workloads(index, settings);
    let mut binder = Binder::new(&waypoints, projection);
    for (key, object) in index.services.iter().filter(|(_, object)| !is_elsewhere(object)) {
        let meta = &object.metadata;
        let is_own = waypoints.is_own(key, object);
        binder.service(Object { kind: SERVICE, key, meta }, service_key(key, settings), false, is_own);
    }
    for (key, object) in &index.service_entries {
        let object_of = Object { kind: SERVICE_ENTRY, key, meta: &object.metadata };
        for host in &object.spec.hosts {
            let host = NamespacedName::new(Arc::clone(&key.namespace), host.to_ascii_lowercase());
            binder.service(object_of, host, false, false);
        }
    }
    for (key, pod) in &index.pods {
        let meta = &pod.object.metadata;
        let uid = format!("{}//Pod/{}/{}", settings.cluster, key.namespace, key.name);
        binder.workload(Object { kind: "Pod", key, meta }, &uid, |workload| waypoints.mark(pod, workload));
    }
    for entries::Entry { kind, key, meta, uid } in &entries {
        binder.workload(Object { kind, key, meta }, uid, |_| false);
    }
    let parties = binder.parties;
    projection.bindings = parties.members.iter().filter_map(|m| binding(&waypoints, &parties, m, projection)).collect();
    enforce::enforce(&waypoints, &parties, projection);
    targets::statuses(&waypoints, &parties, &mut projection.statuses);
}

/// An ExternalName is no service of the mesh.
fn is_elsewhere(object: &Service) -> bool {
    object.spec.kind.as_deref() == Some("ExternalName")
}

/// One status for what a namespace names, and not one for each of its pods.
fn namespaces(waypoints: &Waypoints<'_>, statuses: &mut Vec<Status>) {
    let nothing = ObjectMeta::default();
    for name in waypoints.index.namespaces.keys() {
        let key = NamespacedName::new("", Arc::clone(name));
        let inside = NamespacedName::new(Arc::clone(name), "");
        let meta = waypoints.index.namespaces.get(name).map_or(&nothing, |object| &object.metadata);
        statuses.extend(misplaced(Object { kind: "Namespace", key: &key, meta }, &[labels::USE, labels::ENFORCE]));
        let mut told = BTreeSet::new();
        for target in [Target::Service, Target::Workload] {
            let asker = Asker { key: &inside, meta: &nothing, target, private: false };
            let bound = Bound { inherited: false, ..waypoints.bind(&asker) };
            // What holds for both is said once.
            let said = bound.statuses("Namespace", &key).into_iter();
            statuses.extend(said.filter(|status| told.insert(status.message.clone())));
        }
    }
}

/// Binds one object after the other, and remembers all.
struct Binder<'o, 'p> {
    waypoints: &'p Waypoints<'p>,
    projection: &'p mut Projection,
    parties: Parties<'o>,
    /// Places of the models.
    services: HashMap<NamespacedName, usize>,
    workloads: HashMap<Arc<str>, usize>,
    /// Objects whose statuses are told: one may make several services.
    told: HashSet<(&'static str, &'o NamespacedName)>,
}

// === impl Binder ===

impl<'o, 'p> Binder<'o, 'p> {
    fn new(waypoints: &'p Waypoints<'p>, projection: &'p mut Projection) -> Self {
        let services = projection.services.iter().enumerate().map(|(place, s)| (s.key(), place)).collect();
        let workloads = projection.workloads.iter().enumerate().map(|(place, w)| (Arc::clone(&w.uid), place)).collect();
        Self { waypoints, projection, parties: Parties::default(), services, workloads, told: HashSet::new() }
    }

    /// `host` is `<namespace>/<hostname>` of the service that the object makes. `private`: only its namespace sees it.
    /// `is_own`: it stands for a waypoint.
    fn service(&mut self, object: Object<'o>, host: NamespacedName, private: bool, is_own: bool) {
        let model = self.services.get(&host).and_then(|place| self.projection.services.get_mut(*place));
        // A host that two objects claim is of one: of the Service, else of the ServiceEntry whose name it bears.
        let is_taken = self.parties.services.contains_key(&host);
        let Some(model) = model.filter(|model| !is_taken && model.name == object.key.name) else { return };
        let asker = Asker { key: object.key, meta: object.meta, target: Target::Service, private };
        let asked = self.waypoints.bind(&asker);
        let is_own = is_own || asked.leads_to(&host);
        let (bound, statuses) = settle(object, asked, is_own);
        if self.told.insert((object.kind, object.key)) {
            self.projection.statuses.extend(misplaced(object, &[labels::USE, labels::ENFORCE]));
            self.projection.statuses.extend(statuses);
        }
        model.waypoint.clone_from(&bound.waypoint);
        model.weighted_waypoints.clone_from(&bound.weighted);
        model.ingress_use_waypoint = bound.ingress;
        self.parties.services.insert(host, Served { object, bound });
    }

    /// `mark` writes how the workload's HBONE ends, and says whether it is a waypoint's own.
    fn workload(&mut self, object: Object<'o>, uid: &str, mark: impl FnOnce(&mut Workload) -> bool) {
        let Some(place) = self.workloads.get(uid).copied() else { return };
        let Some(model) = self.projection.workloads.get_mut(place) else { return };
        let is_instance = mark(model);
        let asker = Asker { key: object.key, meta: object.meta, target: Target::Workload, private: false };
        let (bound, statuses) = settle(object, self.waypoints.bind(&asker), is_instance);
        self.projection.statuses.extend(misplaced(object, &[labels::USE, labels::ENFORCE]));
        // What a namespace says is told of the namespace.
        if !bound.inherited {
            self.projection.statuses.extend(statuses);
        }
        model.waypoint.clone_from(&bound.waypoint);
        self.parties.members.push(Member { object, bound, workload: place, is_instance });
    }
}

/// Labels that were written as annotations, where nobody looks for them.
pub(super) fn misplaced(object: Object<'_>, names: &[&str]) -> Option<Status> {
    let Object { kind, key, meta } = object;
    let is_misplaced = |name: &&&str| meta.annotations.contains_key(**name) && !meta.labels.contains_key(**name);
    let name = names.iter().find(is_misplaced)?;
    let message = format!("{name} is an annotation and does nothing; write it as a label");
    Some(Status { kind, key: key.clone(), level: Level::NotEnforced, reason: Reason::WaypointIgnored, message })
}

/// A waypoint's own has none; if its labels name one nevertheless, they are ignored aloud.
fn settle(object: Object<'_>, asked: Bound, is_own: bool) -> (Bound, Vec<Status>) {
    let Object { kind, key, .. } = object;
    if !is_own {
        let statuses = asked.statuses(kind, key);
        return (asked, statuses);
    }
    let message = format!("{} does nothing here: a waypoint's own pods and Service have no waypoint", labels::USE);
    let status = Status { kind, key: key.clone(), level: Level::Warning, reason: Reason::WaypointIgnored, message };
    let named = !asked.inherited && !asked.named.is_empty();
    (Bound::default(), named.then_some(status).into_iter().collect())
}

fn binding(
    waypoints: &Waypoints<'_>,
    parties: &Parties<'_>,
    member: &Member<'_>,
    projection: &Projection,
) -> Option<Binding> {
    let workload = projection.workloads.get(member.workload).filter(|_| !member.is_instance)?;
    let of_services = workload.services.iter().filter_map(|m| parties.services.get(&m.service)).map(|s| &s.bound);
    let bounds: Vec<&Bound> = of_services.chain([&member.bound]).collect();
    let named: BTreeSet<_> = bounds.iter().flat_map(|bound| &bound.named).cloned().collect();
    let usable = bounds.iter().flat_map(|bound| &bound.usable);
    let identities: BTreeSet<_> =
        usable.filter_map(|key| waypoints.get(key)).flat_map(|waypoint| &waypoint.identities).cloned().collect();
    (!named.is_empty()).then(|| Binding {
        workload: Arc::clone(&workload.uid),
        waypoints: named.into_iter().collect(),
        identities: identities.into_iter().collect(),
    })
}
