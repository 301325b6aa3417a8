//! Policy routing rules: which table a packet's mark chooses.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::rtnetlink;
use super::socket::{NetlinkError, NetlinkSocket};

/// `ip rule add fwmark MARK/MASK pref PRIORITY lookup TABLE protocol PROTOCOL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkRule {
    pub mark: u32,
    pub mask: u32,
    pub priority: u32,
    /// Who made it (`FRA_PROTOCOL`, Linux 4.17).
    pub protocol: u8,
    /// Below 256.
    pub table: u8,
    pub v6: bool,
}

/// Adds the rule; one that is there already is success. True when it was added.
pub fn add_mark_rule(socket: &mut NetlinkSocket, rule: MarkRule) -> Result<bool, NetlinkError> {
    let message = RouteNetlinkMessage::NewRule(message(rule));
    match rtnetlink::change(socket, "adding a routing rule", message, NLM_F_CREATE | NLM_F_EXCL) {
        Ok(()) => Ok(true),
        Err(error) if error.errno() == Some(nix::libc::EEXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes the rule; absence is success. True when it was there.
pub fn remove_mark_rule(socket: &mut NetlinkSocket, rule: MarkRule) -> Result<bool, NetlinkError> {
    let message = RouteNetlinkMessage::DelRule(message(rule));
    match rtnetlink::change(socket, "removing a routing rule", message, 0) {
        Ok(()) => Ok(true),
        // ENOENT: no such rule. EAFNOSUPPORT: no such family in this kernel.
        Err(error) if matches!(error.errno(), Some(nix::libc::ENOENT | nix::libc::EAFNOSUPPORT)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The rules of one family that choose a table by mark. Others are left out.
pub fn mark_rules(socket: &mut NetlinkSocket, v6: bool) -> Result<Vec<MarkRule>, NetlinkError> {
    let mut request = RuleMessage::default();
    request.header.family = family(v6);
    let request = RouteNetlinkMessage::GetRule(request);
    let answers = rtnetlink::list(socket, "listing routing rules", &request)?;
    Ok(answers.iter().filter_map(|answer| mark_rule(answer, v6)).collect())
}

fn mark_rule(answer: &RouteNetlinkMessage, v6: bool) -> Option<MarkRule> {
    let RouteNetlinkMessage::NewRule(message) = answer else { return None };
    let (mut mark, mut mask, mut priority, mut protocol) = (None, u32::MAX, 0, 0);
    let mut table = message.header.table;
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::FwMark(value) => mark = Some(*value),
            RuleAttribute::FwMask(value) => mask = *value,
            RuleAttribute::Priority(value) => priority = *value,
            RuleAttribute::Protocol(value) => protocol = u8::from(*value),
            RuleAttribute::Table(value) => table = u8::try_from(*value).ok()?,
            _ => {}
        }
    }
    let same = message.header.family == family(v6) && message.header.action == RuleAction::ToTable;
    same.then_some(())?;
    Some(MarkRule { mark: mark?, mask, priority, protocol, table, v6 })
}

fn message(rule: MarkRule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family(rule.v6);
    message.header.table = rule.table;
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Priority(rule.priority),
        RuleAttribute::FwMark(rule.mark),
        RuleAttribute::FwMask(rule.mask),
        RuleAttribute::Table(u32::from(rule.table)),
        RuleAttribute::Protocol(RouteProtocol::from(rule.protocol)),
    ];
    message
}

fn family(v6: bool) -> AddressFamily {
    if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet }
}
