//! The lab as Kubernetes objects, in a directory that a node daemon watches.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use super::topology::{KubeNamespace, PodPlan};

/// A directory of manifests. Files are replaced whole: a watcher never reads half of one.
#[derive(Clone, Debug)]
pub struct Manifests {
    directory: PathBuf,
}

/// A manifest that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// No space, no permission, or no such directory. Configuration.
    #[error("cannot {call} {}", path.display())]
    File {
        call: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The caller.
    #[error("'{name}' cannot name a manifest: use a plain name that ends in .yaml")]
    Name { name: String },
}

// === impl Manifests ===

impl Manifests {
    /// Makes the directory when it is missing.
    pub fn open(directory: &Path) -> Result<Self, ManifestError> {
        std::fs::create_dir_all(directory).map_err(failed("make the directory", directory))?;
        Ok(Self { directory: directory.into() })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes a Namespace to `namespace-<name>.yaml`.
    pub fn namespace(&self, namespace: &KubeNamespace) -> Result<(), ManifestError> {
        self.put(&format!("namespace-{}.yaml", namespace.name), &namespace_yaml(namespace))
    }

    /// Writes a Pod to `pod-<namespace>-<name>.yaml`.
    pub fn pod(&self, pod: &PodPlan, netns: &Path) -> Result<(), ManifestError> {
        self.put(&format!("pod-{}-{}.yaml", pod.spec.namespace, pod.spec.name), &pod_yaml(pod, netns))
    }

    /// Writes or replaces `name` with `text`, at one instant for whoever reads.
    pub fn put(&self, name: &str, text: &str) -> Result<(), ManifestError> {
        let path = self.path(name)?;
        // In the same directory, because a rename does not cross file systems; hidden and with
        // another ending, because it is no manifest yet.
        let draft = self.directory.join(format!(".{name}.draft"));
        std::fs::write(&draft, text).map_err(failed("write", &draft))?;
        std::fs::rename(&draft, &path).map_err(failed("replace", &path))
    }

    /// Removes `name`. Nothing happens when it is not there.
    pub fn remove(&self, name: &str) -> Result<(), ManifestError> {
        let path = self.path(name)?;
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(source)),
            _ => Ok(()),
        }
    }

    fn path(&self, name: &str) -> Result<PathBuf, ManifestError> {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if plain && name.len() <= 200 && name.ends_with(".yaml") && !name.starts_with('.') {
            Ok(self.directory.join(name))
        } else {
            Err(ManifestError::Name { name: name.into() })
        }
    }
}

fn namespace_yaml(namespace: &KubeNamespace) -> String {
    let mut text = format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {}\n", quoted(&namespace.name));
    map(&mut text, "  ", "labels", &namespace.labels);
    text
}

fn pod_yaml(pod: &PodPlan, netns: &Path) -> String {
    let spec = &pod.spec;
    let mut text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {}\n  namespace: {}\n",
        quoted(&spec.name),
        quoted(&spec.namespace)
    );
    map(&mut text, "  ", "labels", &spec.labels);
    let netns = netns.display().to_string();
    map(&mut text, "  ", "annotations", &BTreeMap::from([("culvert.dev/netns".into(), netns)]));
    let lines = [
        "spec:".to_string(),
        format!("  nodeName: {}", quoted(&spec.node)),
        format!("  serviceAccountName: {}", quoted(&spec.service_account)),
        "  containers:".into(),
        "  - name: app".into(),
        "    image: culvert-demo-app".into(),
        "status:".into(),
        "  phase: Running".into(),
        "  conditions:".into(),
        "  - type: Ready".into(),
        "    status: \"True\"".into(),
        format!("  podIP: {}", quoted(&pod.v4.to_string())),
        "  podIPs:".into(),
        format!("  - ip: {}", quoted(&pod.v4.to_string())),
        format!("  - ip: {}", quoted(&pod.v6.to_string())),
    ];
    text + &lines.join("\n") + "\n"
}

fn map(text: &mut String, indent: &str, key: &str, entries: &BTreeMap<String, String>) {
    if entries.is_empty() {
        return;
    }
    // Writing to a String cannot fail.
    let _infallible = writeln!(text, "{indent}{key}:");
    for (key, value) in entries {
        let _infallible = writeln!(text, "{indent}  {}: {}", quoted(key), quoted(value));
    }
}

/// A YAML double-quoted scalar, of which JSON's strings are a part (YAML 1.2, section 7.3.1). Bare
/// only where it cannot be taken for anything but a string.
fn quoted(value: &str) -> String {
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let starts = value.starts_with(|c: char| c.is_ascii_lowercase() || c == '/');
    let rest = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-./_".contains(&byte));
    if starts && rest && !words.contains(&value.to_ascii_lowercase().as_str()) {
        value.into()
    } else {
        serde_json::Value::from(value).to_string()
    }
}

fn failed(call: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ManifestError {
    let path = path.to_owned();
    move |source| ManifestError::File { call, path, source }
}

#[cfg(test)]
mod tests;
