//! One resource, from its bytes to a value of the model. Pure.

use bytes::Bytes;
use prost::Message;

use crate::model::policy::Policy;
use crate::model::service::Service;
use crate::model::workload::Workload;
use crate::xds::convert::{Addressed, Decoded, Fault, LeftOut, Refused, name, read_address, read_policy};

use super::envelope::Wrapped;
use super::held::What;
use super::kind::Kind;

/// Bytes of a resource's name. A uid is a cluster, a kind, a namespace and a name: some 400 at most.
const LONGEST_NAME: usize = 1024;

/// A resource that can be taken.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) aliases: Vec<String>,
    /// As it came.
    pub(super) bytes: Bytes,
    pub(super) thing: Thing,
    pub(super) left_out: LeftOut,
}

#[derive(Debug)]
pub(super) enum Thing {
    Workload(Workload),
    Service(Service),
    Policy(Policy),
}

/// A resource that cannot.
#[derive(Debug)]
pub(super) struct Bad {
    /// Under which it may have been asked for; none when not even that can be read.
    pub(super) names: Vec<String>,
    pub(super) refused: Refused,
}

// === impl Thing ===

impl Thing {
    pub(super) const fn what(&self) -> What {
        match self {
            Self::Workload(_) => What::Workload,
            Self::Service(_) => What::Service,
            Self::Policy(_) => What::Policy,
        }
    }

    /// The names by which its addresses are asked for.
    pub(super) fn addresses(&self) -> Vec<String> {
        match self {
            Self::Workload(workload) => {
                workload.addresses.iter().map(|ip| name::of_address(&workload.network, *ip)).collect()
            }
            Self::Service(service) => {
                let single = service.addresses.iter().filter_map(|at| Some((&at.network, at.ip()?)));
                single.map(|(network, ip)| name::of_address(network, ip)).collect()
            }
            Self::Policy(_) => Vec::new(),
        }
    }

    /// The name that it must have.
    fn is_named(&self, name: &str) -> bool {
        match self {
            Self::Workload(workload) => name::of_workload(workload) == name,
            Self::Service(service) => name::of_service(service) == name,
            Self::Policy(policy) => name::of_policy(policy) == name,
        }
    }
}

/// Reads a resource of a response.
pub(super) fn read(kind: Kind, resource: Bytes) -> Result<Fresh, Box<Bad>> {
    let wrapped = Wrapped::decode(resource).map_err(|error| {
        let fault = Fault::new(format_args!("{error}"), "not a resource: it has no name that can be read");
        Box::new(Bad { names: Vec::new(), refused: fault.of("?") })
    })?;
    let Wrapped { version, resource, name, aliases } = wrapped;
    let checked = match resource {
        _ if name.len() > LONGEST_NAME => Err(Fault::new(name.len(), "a name has at most 1024 bytes").within("name")),
        None => Err(Fault::new("", "there is nothing under the name").within("resource")),
        Some(body) if body.type_url != kind.url() => {
            Err(Fault::new(body.type_url, "it is of another type than the response").within("resource.type_url"))
        }
        Some(body) => Ok(body.value),
    };
    let read = checked.map_err(|fault| fault.of(&name)).and_then(|bytes| Ok((thing(kind, &name, &bytes)?, bytes)));
    match read {
        Ok((Decoded { value, left_out }, bytes)) => Ok(Fresh { name, version, aliases, bytes, thing: value, left_out }),
        Err(refused) => {
            let names = std::iter::once(name).chain(aliases).collect();
            Err(Box::new(Bad { names, refused }))
        }
    }
}

/// Reads what is under a name. The name must be the key that is inside: under another one it could neither be removed
/// nor replaced.
pub(super) fn thing(kind: Kind, name: &str, bytes: &[u8]) -> Result<Decoded<Thing>, Refused> {
    let Decoded { value, left_out } = match kind {
        Kind::Address => {
            let Decoded { value, left_out } = read_address(name, bytes)?;
            let value = match value {
                Addressed::Service(service) => Thing::Service(service),
                Addressed::Workload(workload) => Thing::Workload(workload),
            };
            Decoded { value, left_out }
        }
        Kind::Authorization => {
            let Decoded { value, left_out } = read_policy(name, bytes)?;
            Decoded { value: Thing::Policy(value), left_out }
        }
    };
    if value.is_named(name) {
        return Ok(Decoded { value, left_out });
    }
    Err(Fault::new(name, "its name is not the key that is in it").within("name").of(name))
}
