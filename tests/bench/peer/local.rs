//! The file of workloads that a proxy without a control plane reads. Pure.

use std::fmt::Write as _;

use culvert::role::demo::lab::PodPlan;

/// Every pod of the mesh, reached by HBONE. No policy: everything is allowed, as in culvert's column.
pub(crate) fn workloads<'a>(pods: impl IntoIterator<Item = &'a PodPlan>) -> String {
    let mut text = "policies: []\nservices: []\nworkloads:\n".to_owned();
    for pod in pods {
        let spec = &pod.spec;
        // Writing to a String cannot fail.
        let _infallible = write!(
            text,
            "- uid: \"{}\"\n\
             \x20 name: \"{}\"\n\
             \x20 namespace: \"{}\"\n\
             \x20 serviceAccount: \"{}\"\n\
             \x20 workloadIps: [\"{}\", \"{}\"]\n\
             \x20 node: \"{}\"\n\
             \x20 protocol: HBONE\n\
             \x20 network: \"\"\n\
             \x20 services: {{}}\n",
            uid(pod),
            spec.name,
            spec.namespace,
            spec.service_account,
            pod.v4,
            pod.v6,
            spec.node
        );
    }
    text
}

/// The name of a pod's record, and of the pod itself where it is announced.
pub(crate) fn uid(pod: &PodPlan) -> String {
    format!("Kubernetes//Pod/{}/{}", pod.spec.namespace, pod.spec.name)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_pod_is_in_it() {
        let plan = culvert::role::demo::lab::Topology::demo().plan("x").unwrap();
        let value: serde_json::Value = serde_saphyr::from_str(&super::workloads(&plan.pods)).unwrap();
        let workloads = value["workloads"].as_array().unwrap();
        assert_eq!(workloads.len(), plan.pods.len());
        let client = &workloads[0];
        assert_eq!(client["uid"], "Kubernetes//Pod/demo/client");
        assert_eq!(client["workloadIps"][0], plan.pods[0].v4.to_string());
        assert_eq!(client["serviceAccount"], "client");
        assert_eq!(client["node"], "node-a");
        assert_eq!(client["protocol"], "HBONE");
        assert!(client["services"].as_object().unwrap().is_empty());
    }
}
