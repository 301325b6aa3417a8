//! The mesh's state as another node would have it: written as Istio's messages, to bytes, and read again.

use culvert::mesh::State;
use culvert::proto::security::Authorization;
use culvert::proto::workload::Address;
use culvert::xds::convert::{
    Addressed, encode_policy, encode_service, encode_workload, name, read_address, read_policy,
};
use prost::Message as _;

/// Who reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// culvert: nothing may be lost.
    Ours,
    /// A client that knows none of our extensions, as Istio's.
    Plain,
}

/// Writes and reads everything; an error is a resource that was refused, or a part of one that was left out.
pub(crate) fn through_the_wire(state: &State, reader: Reader) -> Result<State, String> {
    let mut read = State::default();
    let services =
        state.services.iter().map(|service| (name::of_service(service).to_string(), encode_service(service)));
    let workloads =
        state.workloads.iter().map(|workload| (name::of_workload(workload).to_string(), encode_workload(workload)));
    for (name, address) in services.chain(workloads) {
        match address_of(&name, &address)? {
            Addressed::Service(service) => read.services.push(service),
            Addressed::Workload(workload) => read.workloads.push(workload),
        }
    }
    for policy in &state.policies {
        let mut message = encode_policy(policy);
        if reader == Reader::Plain {
            forget(&mut message);
        }
        let (name, bytes) = (name::of_policy(policy), message.encode_to_vec());
        let decoded = read_policy(&name.to_string(), &bytes).map_err(|refused| refused.to_string())?;
        if decoded.left_out.count > 0 {
            return Err(format!("{name}: {:?} were left out", decoded.left_out.first));
        }
        read.policies.push(decoded.value);
    }
    Ok(read)
}

fn address_of(name: &str, address: &Address) -> Result<Addressed, String> {
    let decoded = read_address(name, &address.encode_to_vec()).map_err(|refused| refused.to_string())?;
    match decoded.left_out.count {
        0 => Ok(decoded.value),
        _ => Err(format!("{name}: {:?} were left out", decoded.left_out.first)),
    }
}

/// What a client has that does not look at extensions.
fn forget(message: &mut Authorization) {
    message.extensions.clear();
    for group in &mut message.groups {
        for m in group.rules.iter_mut().flat_map(|rules| &mut rules.matches) {
            m.extensions.clear();
        }
    }
}
