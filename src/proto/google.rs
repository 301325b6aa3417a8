//! Messages of the packages `google.protobuf` and `google.rpc`. Wrappers and `Empty` are prost's own: `u32`, `()`.

use std::collections::BTreeMap;

/// `google.protobuf.Any`: a message and the URL of its type.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Any {
    /// `<authority>/<full name>`.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The message's bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `google.protobuf.Struct`: an object of JSON.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    pub fields: BTreeMap<String, Value>,
}

/// `google.protobuf.Value`: a value of JSON.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Value {
    #[prost(oneof = "ValueKind", tags = "1, 2, 3, 4, 5, 6")]
    pub kind: Option<ValueKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ValueKind {
    /// Always 0.
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    String(String),
    #[prost(bool, tag = "4")]
    Bool(bool),
    #[prost(message, tag = "5")]
    Struct(Struct),
    #[prost(message, tag = "6")]
    List(ListValue),
}

/// `google.protobuf.ListValue`: an array of JSON.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ListValue {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

/// `google.rpc.Status`: an error.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Status {
    /// A code of gRPC.
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
}

// === impl Value ===

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self { kind: Some(ValueKind::String(text)) }
    }
}

impl From<&serde_json::Value> for Value {
    fn from(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        let kind = match json {
            Json::Null => ValueKind::Null(0),
            Json::Bool(yes) => ValueKind::Bool(*yes),
            // As JSON itself, this message has one kind of number.
            Json::Number(number) => ValueKind::Number(number.as_f64().unwrap_or_default()),
            Json::String(text) => ValueKind::String(text.clone()),
            Json::Array(items) => ValueKind::List(ListValue { values: items.iter().map(Self::from).collect() }),
            Json::Object(fields) => {
                let fields = fields.iter().map(|(key, value)| (key.clone(), value.into())).collect();
                ValueKind::Struct(Struct { fields })
            }
        };
        Self { kind: Some(kind) }
    }
}

// === impl Struct ===

impl Struct {
    /// The text under a key; `None` when there is none, or something else.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.fields.get(key)?.kind.as_ref()? {
            ValueKind::String(text) => Some(text),
            _ => None,
        }
    }
}
