//! Documents to typed objects, collecting every mistake on the way.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::control::policy::Problem;
use crate::kube::types::{
    AuthorizationPolicy, EndpointSlice, Gateway, GatewayClass, Namespace, Node, PeerAuthentication, Pod, Service,
    ServiceEntry, WorkloadEntry,
};

use super::error::{DocumentPlace, Fault, LoadError, LoadErrors};
use super::json::Strict;
use super::kinds::Kind;
use super::split::documents;
use super::{MAX_IGNORED, Objects, Places, Survey, check};

/// Documents of one directory. A List counts as one.
const MAX_DOCUMENTS: usize = 200_000;

/// Gathers objects and mistakes over all files.
#[derive(Default)]
pub(super) struct Collector {
    objects: Objects,
    errors: LoadErrors,
    documents: usize,
    /// Kind, namespace and name → where it was first.
    places: Places,
}

/// Where the object at hand stands.
#[derive(Clone)]
struct At<'a> {
    file: &'a Path,
    document: DocumentPlace,
    /// `items[3].` inside a List, else empty.
    prefix: String,
}

// === impl Collector ===

impl Collector {
    /// Reads one file: JSON by its extension, YAML otherwise.
    pub(super) fn file(&mut self, file: &Path, bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else {
            let fault = Fault::Syntax { reason: "it is not UTF-8 text".to_owned(), mend: "save it as UTF-8" };
            return self.errors.push(LoadError::file(file, fault));
        };
        let is_json = file.extension().is_some_and(|e| e == "json");
        let documents = if is_json { whole(text) } else { documents(text) };
        for document in documents {
            self.documents += 1;
            if self.documents > MAX_DOCUMENTS {
                let fault = Fault::TooLarge { what: "the number of documents", limit: MAX_DOCUMENTS as u64 };
                return self.errors.push(LoadError::file(file, fault));
            }
            let place = DocumentPlace { number: document.number, line: document.first };
            let at = At { file, document: place, prefix: String::new() };
            match if is_json { json(document.text) } else { yaml(document.text, document.line) } {
                Ok(Value::Null) => {}
                Ok(value) => self.value(at, value),
                Err(fault) => self.error(&at, None, String::new(), fault),
            }
        }
    }

    pub(super) fn finish(self) -> Result<Objects, LoadErrors> {
        if self.errors.is_empty() { Ok(self.objects) } else { Err(self.errors) }
    }

    /// What is sound and what is not, side by side.
    pub(super) fn survey(self) -> Survey {
        Survey { objects: self.objects, errors: self.errors, places: self.places, documents: self.documents }
    }

    fn error(&mut self, at: &At<'_>, object: Option<String>, path: String, fault: Fault) {
        let path = match (at.prefix.as_str(), path.as_str()) {
            (prefix, "" | ".") => prefix.trim_end_matches('.').to_owned(),
            (prefix, path) => format!("{prefix}{path}"),
        };
        self.errors.push(LoadError { file: at.file.to_owned(), document: Some(at.document), object, path, fault });
    }

    /// One object, or a List of them. Depth is bounded by the parsers.
    fn value(&mut self, at: At<'_>, mut value: Value) {
        const MEND: &str = "write one object a document, with apiVersion, kind and metadata";
        if !value.is_object() {
            let reason = "the document is not an object".to_owned();
            return self.error(&at, None, String::new(), Fault::Shape { reason, mend: MEND });
        }
        let field = |name: &str| value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let (Some(version), Some(kind)) = (field("apiVersion"), field("kind")) else {
            let missing = if field("kind").is_none() { "kind" } else { "apiVersion" };
            let reason = format!("`{missing}` is missing or is not text");
            return self.error(&at, None, String::new(), Fault::Shape { reason, mend: MEND });
        };
        let (version, kind) = (version.to_owned(), kind.to_owned());
        if (version.as_str(), kind.as_str()) == ("v1", "List") {
            let items = match value.get_mut("items").map(Value::take) {
                None | Some(Value::Null) => Vec::new(),
                Some(Value::Array(items)) => items,
                Some(_) => {
                    let reason = "`items` of a List is not a list".to_owned();
                    return self.error(&at, None, "items".to_owned(), Fault::Shape { reason, mend: MEND });
                }
            };
            for (i, item) in items.into_iter().enumerate() {
                self.value(At { prefix: format!("{}items[{i}].", at.prefix), ..at.clone() }, item);
            }
            return;
        }
        self.object(&at, &version, &kind, value);
    }

    fn object(&mut self, at: &At<'_>, version: &str, kind: &str, value: Value) {
        match (version, kind) {
            ("discovery.k8s.io/v1", "EndpointSlice") => self.typed::<EndpointSlice>(at, value),
            (
                "networking.istio.io/v1" | "networking.istio.io/v1beta1" | "networking.istio.io/v1alpha3",
                "ServiceEntry",
            ) => {
                self.typed::<ServiceEntry>(at, value);
            }
            (
                "networking.istio.io/v1" | "networking.istio.io/v1beta1" | "networking.istio.io/v1alpha3",
                "WorkloadEntry",
            ) => {
                self.typed::<WorkloadEntry>(at, value);
            }
            ("gateway.networking.k8s.io/v1" | "gateway.networking.k8s.io/v1beta1", "Gateway") => {
                self.typed::<Gateway>(at, value);
            }
            ("gateway.networking.k8s.io/v1" | "gateway.networking.k8s.io/v1beta1", "GatewayClass") => {
                self.typed::<GatewayClass>(at, value);
            }
            ("security.istio.io/v1" | "security.istio.io/v1beta1", "AuthorizationPolicy") => {
                self.typed::<AuthorizationPolicy>(at, value);
            }
            ("security.istio.io/v1" | "security.istio.io/v1beta1", "PeerAuthentication") => {
                self.typed::<PeerAuthentication>(at, value);
            }
            ("v1", "Namespace") => self.typed::<Namespace>(at, value),
            ("v1", "Node") => self.typed::<Node>(at, value),
            ("v1", "Pod") => self.typed::<Pod>(at, value),
            ("v1", "Service") => self.typed::<Service>(at, value),
            _ => self.ignore(format!("{version} {kind}")),
        }
    }

    /// Remembers a kind that nothing here reads, within bounds: the name is the manifest's.
    fn ignore(&mut self, name: String) {
        const MAX_NAME: usize = 120;
        let name: String = name.chars().take(MAX_NAME).collect();
        if self.objects.ignored.len() < MAX_IGNORED || self.objects.ignored.contains_key(&name) {
            *self.objects.ignored.entry(name).or_default() += 1;
        }
    }

    /// Types one object, gives it its namespace, checks names and values and that it is the only one,
    /// and keeps it. When anything was wrong the mistakes are kept instead.
    fn typed<T: Kind>(&mut self, at: &At<'_>, value: Value) {
        let shown = name_of::<T>(&value);
        if T::STRICT
            && let Some((path, fault)) = strict(&value)
        {
            return self.error(at, shown, path, fault);
        }
        let mut object: T = match serde_path_to_error::deserialize(value) {
            Ok(object) => object,
            Err(error) => {
                let path = error.path().to_string();
                let reason = error.inner().to_string();
                let mend = mend(&reason);
                return self.error(at, shown, path, Fault::Shape { reason, mend });
            }
        };
        let meta = object.metadata();
        if T::CLUSTER_SCOPED {
            meta.namespace = Arc::default();
        } else if meta.namespace.is_empty() {
            meta.namespace = "default".into();
        }
        let mut problems = Vec::new();
        check::metadata(meta, &mut problems);
        let key = (T::KIND, meta.namespace.clone(), meta.name.clone());
        object.check(&mut problems);
        if !problems.is_empty() {
            for Problem { path, reason, mend } in problems {
                self.error(at, shown.clone(), path, Fault::Invalid { reason, mend });
            }
            return;
        }
        if let Some((file, DocumentPlace { number, line })) = self.places.get(&key) {
            let first = format!("{} document {number} (line {line})", file.display());
            return self.error(at, shown, String::new(), Fault::Duplicate { first });
        }
        self.places.insert(key, (at.file.to_owned(), at.document));
        object.keep(&mut self.objects);
    }
}

/// A JSON file as its one document.
fn whole(text: &str) -> Vec<super::split::Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let blank = text.trim().is_empty();
    let first = 1 + text.bytes().take_while(u8::is_ascii_whitespace).filter(|b| *b == b'\n').count();
    if blank { Vec::new() } else { vec![super::split::Document { number: 1, line: 1, text, first }] }
}

fn json(text: &str) -> Result<Value, Fault> {
    match serde_json::from_str::<Strict>(text) {
        Ok(Strict(value)) => Ok(value),
        Err(error) => Err(Fault::Syntax {
            reason: error.to_string(),
            mend: "write one JSON object, or a List, with every key once",
        }),
    }
}

/// `line` is where the text begins in its file, from 1.
fn yaml(text: &str, line: usize) -> Result<Value, Fault> {
    let budget = serde_saphyr::budget! { max_nodes: 4_000_000, max_events: 16_000_000 };
    let alias_limits = serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 };
    // YAML 1.2 booleans: `no` and `y` stay text, as the author of a label meant them.
    let options = serde_saphyr::options! {
        budget: budget,
        alias_limits: alias_limits,
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| Fault::Syntax {
        reason: error.render_with_options(serde_saphyr::render_options! {
            snippets: serde_saphyr::SnippetMode::Off,
            line_offset: line as u64 - 1,
        }),
        mend: "write one YAML object a document, with every key once",
    })
}

/// What `deny_unknown_fields` on `spec` does not see: a misspelt field around it, and `null` inside.
fn strict(value: &Value) -> Option<(String, Fault)> {
    /// Every object has these.
    const TOP: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    /// Kubernetes' ObjectMeta, which is closed since v1.
    const METADATA: [&str; 16] = [
        "annotations",
        "clusterName",
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "labels",
        "managedFields",
        "name",
        "namespace",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    ];
    let unknown =
        |value: &Value, known: &[&str]| value.as_object()?.keys().find(|key| !known.contains(&key.as_str())).cloned();
    let misspelt = |path: String, known: &[&str]| {
        let reason = format!("unknown field, expected one of {}", known.join(", "));
        let mend = mend(&reason);
        (path, Fault::Shape { reason, mend })
    };
    if let Some(key) = unknown(value, &TOP) {
        return Some(misspelt(key, &TOP));
    }
    if let Some(key) = value.get("metadata").and_then(|metadata| unknown(metadata, &METADATA)) {
        return Some(misspelt(format!("metadata.{key}"), &METADATA));
    }
    let path = value.get("spec").and_then(|spec| null_in(spec, "spec"))?;
    let fault = Fault::Invalid {
        reason: "it is empty (null)".to_owned(),
        mend: "check the indentation of what belongs below it, or remove it".to_owned(),
    };
    Some((path, fault))
}

/// The first `null` below a value.
fn null_in(value: &Value, path: &str) -> Option<String> {
    match value {
        Value::Null => Some(path.to_owned()),
        Value::Array(list) => list.iter().enumerate().find_map(|(i, item)| null_in(item, &format!("{path}[{i}]"))),
        Value::Object(map) => map.iter().find_map(|(key, item)| null_in(item, &format!("{path}.{key}"))),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// `<kind> <namespace>/<name>`, or without a namespace, as far as it can be read from something that may be broken.
fn name_of<T: Kind>(value: &Value) -> Option<String> {
    let kind = T::KIND;
    let metadata = value.get("metadata")?;
    let name = metadata.get("name")?.as_str()?;
    match metadata.get("namespace").and_then(Value::as_str) {
        _ if T::CLUSTER_SCOPED => Some(format!("{kind} {name}")),
        Some(namespace) => Some(format!("{kind} {namespace}/{name}")),
        None => Some(format!("{kind} default/{name}")),
    }
}

/// What mends a mistake of serde's naming.
fn mend(reason: &str) -> &'static str {
    if reason.starts_with("unknown field") {
        "check the spelling; nothing is enforced with a field that is not understood"
    } else if reason.starts_with("unknown variant") {
        "write one of the names given, in capitals as shown"
    } else if reason.contains("expected a string") || reason.contains("expected a borrowed string") {
        "put the value in quotes"
    } else if reason.starts_with("missing field") {
        "add the field"
    } else {
        "write the field as Kubernetes documents it"
    }
}
