//! The headers of a request beside its token: the cluster's id and what an operator adds.

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, TE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Says which cluster's API a token belongs to; istiod asks that one.
const CLUSTER_ID: HeaderName = HeaderName::from_static("clusterid");

/// A header that cannot be sent. Configuration. The value is in no error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("{name:?} is no name of a header: letters, digits, - and _")]
    Name { name: String },
    /// gRPC writes it itself.
    #[error("the header {name:?} belongs to gRPC: leave it out")]
    Reserved { name: String },
    #[error("the value of the header {name:?} has bytes that no header can carry")]
    Value { name: String },
}

/// What every request carries.
pub(super) struct Headers {
    cluster_id: Option<HeaderValue>,
    extra: HeaderMap,
}

// === impl Headers ===

impl Headers {
    /// Names are lower-cased, as HTTP/2 wants them (RFC 9113 section 8.2.1); a name that comes twice is sent twice.
    pub(super) fn new(cluster_id: Option<&str>, extra: &[(String, String)]) -> Result<Self, HeaderError> {
        let mut map = HeaderMap::new();
        for (name, value) in extra {
            let key: HeaderName = name.parse().map_err(|_| HeaderError::Name { name: name.clone() })?;
            if [TE, CONTENT_TYPE, HOST].contains(&key) || key.as_str().starts_with("grpc-") {
                return Err(HeaderError::Reserved { name: name.clone() });
            }
            let mut value = HeaderValue::from_str(value).map_err(|_| HeaderError::Value { name: name.clone() })?;
            // An operator's header is as often as not a key to some door.
            value.set_sensitive(true);
            map.append(key, value);
        }
        let cluster_id = match cluster_id.filter(|id| !id.is_empty()) {
            None => None,
            Some(id) => Some(
                HeaderValue::from_str(id).map_err(|_| HeaderError::Value { name: CLUSTER_ID.as_str().to_owned() })?,
            ),
        };
        Ok(Self { cluster_id, extra: map })
    }

    /// The headers of one request. The cluster's id only says something of a token, so it comes with one. What an
    /// operator added under the name of one of ours stands in its place.
    pub(super) fn of(&self, token: Option<HeaderValue>) -> HeaderMap {
        let mut map = self.extra.clone();
        let Some(token) = token else { return map };
        map.entry(AUTHORIZATION).or_insert(token);
        if let Some(id) = &self.cluster_id {
            map.entry(CLUSTER_ID).or_insert_with(|| id.clone());
        }
        map
    }

    /// For a dump, without values.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.extra.keys().map(HeaderName::as_str)
    }
}

#[cfg(test)]
mod tests;
