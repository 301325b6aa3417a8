//! Gateway and GatewayClass of `gateway.networking.k8s.io`, v1 and v1beta1 (the same fields), as far as a waypoint is
//! declared by them. Unknown fields are ignored: most Gateways are not ours.

use serde::Deserialize;

use super::meta::{ObjectMeta, StringMap, null_is_empty};

/// The label by which a pod says which Gateway of its namespace it is an instance of.
pub const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Gateway {
    pub metadata: ObjectMeta,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub spec: GatewaySpec,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub status: GatewayStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    #[serde(default)]
    pub gateway_class_name: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub listeners: Vec<Listener>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub addresses: Vec<Address>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct GatewayStatus {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub addresses: Vec<Address>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    #[serde(default)]
    pub name: String,
    pub port: u16,
    /// `HBONE` and `istio.io/PROXY` are Istio's; others are of no interest here.
    #[serde(default)]
    pub protocol: String,
    pub allowed_routes: Option<AllowedRoutes>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct AllowedRoutes {
    pub namespaces: Option<RouteNamespaces>,
}

/// Namespaces whose objects may be attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct RouteNamespaces {
    /// `Same` when it is absent; `All`, `Selector` or `None`.
    pub from: Option<String>,
    pub selector: Option<LabelSelector>,
}

/// Kubernetes' selector of labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub match_labels: StringMap,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub match_expressions: Vec<LabelExpression>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct LabelExpression {
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub values: Vec<String>,
}

/// Where a Gateway is, or shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Address {
    /// `IPAddress` when it is absent; `Hostname` is the other that Istio writes.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    #[serde(default)]
    pub value: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct GatewayClass {
    pub metadata: ObjectMeta,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub spec: GatewayClassSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayClassSpec {
    #[serde(default)]
    pub controller_name: String,
}

// === impl LabelSelector ===

impl LabelSelector {
    /// True when these labels fit. One without a requirement fits everything; an operator that nobody knows fits
    /// nothing.
    pub fn selects(&self, labels: &StringMap) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|expression| expression.holds(labels))
    }
}

// === impl LabelExpression ===

impl LabelExpression {
    fn holds(&self, labels: &StringMap) -> bool {
        let value = labels.get(&self.key);
        match self.operator.as_str() {
            "In" => value.is_some_and(|value| self.values.contains(value)),
            "NotIn" => value.is_none_or(|value| !self.values.contains(value)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}
