//! One exchange of the route family, with the messages of netlink-packet-route.

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;

use super::netfilter::dump;
use super::socket::{Message, NetlinkError, NetlinkSocket};

/// Sends one change and waits for its acknowledgement. `flags` are those beside request and ack.
pub(super) fn change(
    socket: &mut NetlinkSocket,
    call: &'static str,
    message: RouteNetlinkMessage,
    flags: u16,
) -> Result<(), NetlinkError> {
    let sequence = socket.sequence();
    let request = serialize(message, NLM_F_REQUEST | NLM_F_ACK | flags, sequence);
    socket.exchange(call, &request, sequence, sequence).map(drop)
}

/// Lists what `message` asks for. Answers that do not parse are left out: a newer kernel may say
/// things that this program has no word for, about objects that are not ours.
pub(super) fn list(
    socket: &mut NetlinkSocket,
    call: &'static str,
    message: &RouteNetlinkMessage,
) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
    let answers = dump(socket, call, |socket| {
        let sequence = socket.sequence();
        let request = serialize(message.clone(), NLM_F_REQUEST | NLM_F_DUMP, sequence);
        socket.exchange(call, &request, sequence, sequence)
    })?;
    Ok(answers.iter().filter_map(parse).collect())
}

fn parse(answer: &Message) -> Option<RouteNetlinkMessage> {
    let mut header = NetlinkHeader::default();
    header.message_type = answer.kind;
    header.flags = answer.flags;
    RouteNetlinkMessage::deserialize(&header, &answer.payload).ok()
}

fn serialize(message: RouteNetlinkMessage, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests;
