//! Why an environment cannot be used.

use std::path::PathBuf;

use crate::config::raw::Origin;
use crate::config::value::BadValue;

/// Why ztunnel's environment cannot be used. All are the configuration's fault, and each names the variable.
#[derive(Debug, thiserror::Error)]
pub enum ZtunnelError {
    /// A value is not what its variable takes.
    #[error("{origin}")]
    BadValue {
        origin: Origin,
        #[source]
        source: BadValue,
    },
    /// Two variables that exclude each other.
    #[error("{one} and {other} are both set: take one of them away")]
    Both { one: &'static str, other: &'static str },
    /// A header's name or value is not one. The value is not shown: it may be a secret.
    #[error("{variable} is not a header: its name has letters, digits, '-' and '_', its value printable characters")]
    Header { variable: String },
    /// The mesh configuration is not YAML, or a key in it has the wrong kind of value.
    #[error("{place} is not the YAML of a proxy's configuration")]
    MeshConfig {
        place: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The node's name is nowhere.
    #[error("NODE_NAME is not set: take it from the downward API (spec.nodeName)")]
    NoNode,
    /// A file that is there cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A path that would be taken for the token itself.
    #[error("AUTH_TOKEN: {} is not a file that is there: mount it, or give the token itself", path.display())]
    TokenFile { path: PathBuf },
    /// It asks for a way of working that there is not here.
    #[error("{variable}={value} is not possible here: {why}")]
    Unable { variable: &'static str, value: String, why: &'static str },
}

/// A variable as the place of a value.
pub(super) fn origin(variable: &str) -> Origin {
    Origin::Environment(variable.to_owned())
}

/// A value that cannot be read, and what could.
pub(super) fn bad(variable: &str, text: &str, expected: &str) -> ZtunnelError {
    let source = BadValue { text: text.to_owned(), expected: expected.to_owned() };
    ZtunnelError::BadValue { origin: origin(variable), source }
}
