//! One route message out, its answers back.

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;

use super::socket::{Message, NetlinkError, NetlinkSocket};

/// Sends `body` with `flags` beside REQUEST and ACK, and waits for the acknowledgement. `call` says
/// what is being done, for errors.
pub(super) fn perform(
    socket: &mut NetlinkSocket,
    call: &'static str,
    body: RouteNetlinkMessage,
    flags: u16,
) -> Result<Vec<Message>, NetlinkError> {
    let sequence = socket.sequence();
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(body));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.exchange(call, &bytes, sequence, sequence)
}
