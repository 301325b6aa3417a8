//! Requests, bounded in size. Pure.

use std::sync::Arc;

use crate::proto::discovery::DeltaDiscoveryRequest;

use super::kind::Kind;

/// Bytes of names in one request, 3 MiB: a gRPC server takes 4 MiB unless it is told otherwise.
pub(super) const ROOM: usize = 3 << 20;

pub(super) type Request = DeltaDiscoveryRequest;

/// A request of a type and nothing else.
pub(super) fn of(kind: Kind) -> Request {
    Request { type_url: kind.url().to_owned(), ..Request::default() }
}

/// Requests for single addresses, none larger than [`ROOM`].
pub(super) fn subscribe<'a>(names: impl Iterator<Item = &'a Arc<str>>) -> Vec<Request> {
    let (mut requests, mut room) = (Vec::<Request>::new(), 0_usize);
    for name in names {
        let cost = name.len() + 8;
        if cost > room {
            requests.push(of(Kind::Address));
            room = ROOM;
        }
        room -= cost;
        if let Some(last) = requests.last_mut() {
            last.resource_names_subscribe.push(name.to_string());
        }
    }
    requests
}
