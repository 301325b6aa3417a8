//! What owns a pod, guessed from its metadata as Istio does, so that metrics carry the same names.

use crate::kube::types::ObjectMeta;

/// Name of the workload that a pod belongs to: a Deployment's, a CronJob's, …
pub(super) fn workload_name(meta: &ObjectMeta) -> String {
    if let Some(name) = label(meta, "service.istio.io/workload-name") {
        return name.to_owned();
    }
    // Without a generated name nobody but a person made it.
    let made = meta.generate_name.as_ref().filter(|name| !name.is_empty());
    let Some(owner) = made.and_then(|_| meta.owner_references.iter().find(|owner| owner.controller)) else {
        return meta.name.to_string();
    };
    let without_hash = |key: &str| owner.name.strip_suffix(label(meta, key)?)?.strip_suffix('-');
    let name = match owner.kind.as_str() {
        "ReplicaSet" => without_hash("pod-template-hash").or_else(|| without_hash("rollouts-pod-template-hash")),
        "ReplicationController" => label(meta, "deploymentconfig"),
        "Job" => without_time(&owner.name),
        _ => None,
    };
    name.filter(|name| !name.is_empty()).unwrap_or(&owner.name).to_owned()
}

/// Name and revision that a person knows the application by.
pub(super) fn canonical(meta: &ObjectMeta, workload: &str) -> (String, String) {
    let first = |keys: [&str; 3]| keys.into_iter().find_map(|key| label(meta, key));
    let name = first(["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]).unwrap_or(workload);
    let revision = first(["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
    (name.to_owned(), revision.unwrap_or("latest").to_owned())
}

/// A CronJob's Job is called `<name>-<8 to 10 digits>`, the minute of its start.
fn without_time(job: &str) -> Option<&str> {
    let (name, time) = job.rsplit_once('-')?;
    ((8..=10).contains(&time.len()) && time.bytes().all(|b| b.is_ascii_digit())).then_some(name)
}

fn label<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.labels.get(key).map(String::as_str).filter(|value| !value.is_empty())
}
