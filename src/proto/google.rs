//! The message of package `google.protobuf` that holds any other. Its wrappers and `Empty` are prost's own: `u32`, `()`.

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
