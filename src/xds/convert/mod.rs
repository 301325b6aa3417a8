//! Model ↔ messages (pure): `encode_…` is total, `decode_…` answers [`Decoded`] or [`Refused`];
//! `read_…` is the same from bytes.
//!
//! Owns: the one place where a field of the model meets a field of the wire. Never: a socket, a subscription, a clock.
//!
//! Nothing of the model is lost: `decode(encode(x)) == x`. What Istio's messages have no field for rides in an
//! extension (`extension.rs`), and what is around it is right without. Normal forms, which a control plane of ours
//! produces: trust domain, service account and cluster are not empty; names have no slash; IPv4 is not written as
//! IPv6; a workload is in a service once, in order of keys.
//!
//! Decoding errs to the safe side. Unknown fields are ignored. A value that cannot be read refuses the resource, with
//! its name, the field and the value; the client keeps what it had and says why. Exceptions, each told in
//! [`Decoded::left_out`]:
//!
//! | what cannot be read | what is done | because |
//! | --- | --- | --- |
//! | an element of an ALLOW policy | its group is left out, so the rule never fires | less is allowed |
//! | an element of a `not_` list of a DENY policy, an unknown extension of its match | it is left out | more is denied |
//! | the same, when nothing else is in the match | the policy is refused | a match without a field never fires |
//! | any other element of a DENY policy | the policy is refused | less would be denied |
//! | a subject name that is no workload's identity | it is left out | fewer peers are believed |
//! | an extension of ours that only helps (affinity, numbers of rules) | it is left out | nothing depends on it |

mod address;
mod extension;
mod gateway;
mod matching;
pub mod name;
mod outcome;
mod policy;
mod resource;
mod service;
mod workload;

pub use outcome::{Decoded, Fault, LeftOut, Refused};
pub use policy::{decode as decode_policy, encode as encode_policy, read as read_policy};
pub use resource::{Addressed, decode_address, encode_service, encode_workload, read_address};

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod tests;
