//! `istio.workload.Address`: a workload or a service.

use crate::model::service::Service;
use crate::model::workload::Workload;
use crate::proto::workload::{Address, AddressType};

use super::outcome::{Decoded, Fault, LeftOut, Refused, message};
use super::{service, workload};

/// What has addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressed {
    Service(Service),
    Workload(Workload),
}

pub fn encode_workload(value: &Workload) -> Address {
    Address { r#type: Some(AddressType::Workload(workload::encode(value))) }
}

pub fn encode_service(value: &Service) -> Address {
    Address { r#type: Some(AddressType::Service(service::encode(value))) }
}

/// [`decode_address`] of bytes.
pub fn read_address(resource: &str, bytes: &[u8]) -> Result<Decoded<Addressed>, Refused> {
    decode_address(resource, message(resource, bytes)?)
}

/// `resource` is the name that the sender gave it, for messages.
pub fn decode_address(resource: &str, message: Address) -> Result<Decoded<Addressed>, Refused> {
    let mut left_out = LeftOut::default();
    let value = match message.r#type {
        Some(AddressType::Service(message)) => {
            service::decode(message, &mut left_out).map(Addressed::Service).map_err(|fault| fault.within("service"))
        }
        Some(AddressType::Workload(message)) => {
            workload::decode(message).map(Addressed::Workload).map_err(|fault| fault.within("workload"))
        }
        None => Err(Fault::new("", "an address is a workload or a service").within("type")),
    };
    value.map(|value| Decoded { value, left_out }).map_err(|fault| fault.of(resource))
}
