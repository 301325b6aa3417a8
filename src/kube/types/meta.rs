//! Metadata that all objects share, and the kinds of which nothing else is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Labels or annotations, in order of their keys.
pub type StringMap = BTreeMap<String, String>;

/// `metadata` of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectMeta {
    #[serde(default)]
    pub name: Arc<str>,
    /// Empty for a cluster-scoped object, and in a manifest that leaves it out.
    #[serde(default)]
    pub namespace: Arc<str>,
    #[serde(default)]
    pub uid: Arc<str>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub labels: StringMap,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub annotations: StringMap,
    /// Set when a controller made the object and let the server choose the end of its name.
    pub generate_name: Option<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub owner_references: Vec<OwnerReference>,
    /// RFC 3339 as written; [`ObjectMeta::created`] reads it.
    pub creation_timestamp: Option<String>,
    pub deletion_timestamp: Option<String>,
}

/// Who made the object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub controller: bool,
}

/// A namespace: only its labels and annotations matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Namespace {
    pub metadata: ObjectMeta,
}

/// A node: its labels say in which region and zone its pods run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Node {
    pub metadata: ObjectMeta,
}

/// Kubernetes writes `labels: null` for an empty map, so null and absent are the same.
pub(super) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

// === impl ObjectMeta ===

impl ObjectMeta {
    /// When the object was made, for "the oldest wins". `None`, which sorts before every time, when nobody wrote it or
    /// it is not a time.
    pub fn created(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(self.creation_timestamp.as_deref()?, &Rfc3339).ok()
    }
}
