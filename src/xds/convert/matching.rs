//! Matches of policies: the conditions, and what becomes of one that cannot be read.
//!
//! A match holds when all of its lists do. Without an element a positive list holds less often and a `not_` list more
//! often, so an element may be left out only of a `not_` list, and only where firing more is the safe side: in a DENY.

mod timed;

use ipnet::IpNet;

use crate::model::policy::{Action, Match, ServiceAccountMatch, StringMatch};
use crate::proto::security as wire;
use crate::proto::security::StringMatchMatchType as Pattern;

use super::outcome::{Checked, Fault, LeftOut, each, port};
use super::{address, extension};
use crate::proto::extension::TimedMatch;

pub(super) fn encode(m: &Match, action: Action) -> wire::Match {
    let plain = encode_plain(m);
    timed::encode(m, plain, action)
}

fn encode_plain(m: &Match) -> wire::Match {
    let Match {
        namespaces,
        not_namespaces,
        principals,
        not_principals,
        service_accounts,
        not_service_accounts,
        source_ips,
        not_source_ips,
        destination_ips,
        not_destination_ips,
        destination_ports,
        not_destination_ports,
        // In an extension, see `timed`.
        times: _,
        not_times: _,
        days: _,
        not_days: _,
    } = m;
    let strings = |list: &[StringMatch]| list.iter().map(encode_string).collect();
    let accounts = |list: &[ServiceAccountMatch]| list.iter().map(encode_account).collect();
    let nets = |list: &[IpNet]| list.iter().map(encode_net).collect();
    let ports = |list: &[u16]| list.iter().map(|port| u32::from(*port)).collect();
    wire::Match {
        namespaces: strings(namespaces),
        not_namespaces: strings(not_namespaces),
        principals: strings(principals),
        not_principals: strings(not_principals),
        source_ips: nets(source_ips),
        not_source_ips: nets(not_source_ips),
        destination_ips: nets(destination_ips),
        not_destination_ips: nets(not_destination_ips),
        destination_ports: ports(destination_ports),
        not_destination_ports: ports(not_destination_ports),
        service_accounts: accounts(service_accounts),
        not_service_accounts: accounts(not_service_accounts),
        extensions: Vec::new(),
    }
}

/// An error says that the match must not stand: an ALLOW loses its group, a DENY is refused.
pub(super) fn decode(message: wire::Match, action: Action) -> Checked<(Match, LeftOut)> {
    match extension::find::<TimedMatch>(&message.extensions)? {
        Some(timed) => timed::decode(timed, action),
        None => decode_plain(message, action),
    }
}

fn decode_plain(message: wire::Match, action: Action) -> Checked<(Match, LeftOut)> {
    let wire::Match {
        namespaces,
        not_namespaces,
        principals,
        not_principals,
        source_ips,
        not_source_ips,
        destination_ips,
        not_destination_ips,
        destination_ports,
        not_destination_ports,
        service_accounts,
        not_service_accounts,
        extensions,
    } = message;
    let mut lost = Lost { action, last: None, all: LeftOut::default() };
    let m = Match {
        namespaces: each("namespaces", namespaces, decode_string)?,
        not_namespaces: lost.each("not_namespaces", not_namespaces, decode_string)?,
        principals: each("principals", principals, decode_string)?,
        not_principals: lost.each("not_principals", not_principals, decode_string)?,
        service_accounts: each("service_accounts", service_accounts, decode_account)?,
        not_service_accounts: lost.each("not_service_accounts", not_service_accounts, decode_account)?,
        source_ips: each("source_ips", source_ips, decode_net)?,
        not_source_ips: lost.each("not_source_ips", not_source_ips, decode_net)?,
        destination_ips: each("destination_ips", destination_ips, decode_net)?,
        not_destination_ips: lost.each("not_destination_ips", not_destination_ips, decode_net)?,
        destination_ports: each("destination_ports", destination_ports, port)?,
        not_destination_ports: lost.each("not_destination_ports", not_destination_ports, port)?,
        ..Match::default()
    };
    if let Some(fault) = extension::foreign(&extensions) {
        lost.element(fault)?;
    }
    match lost.last {
        Some(fault) if m.is_empty() => Err(fault),
        _ => Ok((m, lost.all)),
    }
}

/// Elements without which the match fires more often.
struct Lost {
    action: Action,
    last: Option<Fault>,
    all: LeftOut,
}

// === impl Lost ===

impl Lost {
    fn element(&mut self, fault: Fault) -> Checked<()> {
        match self.action {
            Action::Allow | Action::Audit => Err(fault),
            Action::Deny => {
                self.all.add(fault.clone());
                self.last = Some(fault);
                Ok(())
            }
        }
    }

    fn each<T, U>(&mut self, field: &str, list: Vec<T>, read: impl Fn(T) -> Checked<U>) -> Checked<Vec<U>> {
        let mut kept = Vec::with_capacity(list.len());
        for (index, item) in list.into_iter().enumerate() {
            match read(item) {
                Ok(item) => kept.push(item),
                Err(fault) => self.element(fault.within_item(field, index))?,
            }
        }
        Ok(kept)
    }
}

fn encode_string(m: &StringMatch) -> wire::StringMatch {
    let pattern = match m {
        StringMatch::Exact(text) => Pattern::Exact(text.as_ref().into()),
        StringMatch::Prefix(text) => Pattern::Prefix(text.as_ref().into()),
        StringMatch::Presence => Pattern::Presence(()),
        StringMatch::Suffix(text) => Pattern::Suffix(text.as_ref().into()),
    };
    wire::StringMatch { match_type: Some(pattern) }
}

fn decode_string(message: wire::StringMatch) -> Checked<StringMatch> {
    match message.match_type {
        Some(Pattern::Exact(text)) => Ok(StringMatch::Exact(text.into())),
        Some(Pattern::Prefix(text)) => Ok(StringMatch::Prefix(text.into())),
        Some(Pattern::Presence(())) => Ok(StringMatch::Presence),
        Some(Pattern::Suffix(text)) => Ok(StringMatch::Suffix(text.into())),
        None => Err(Fault::new("", "exact, prefix, suffix and presence are known")),
    }
}

fn encode_account(m: &ServiceAccountMatch) -> wire::ServiceAccountMatch {
    let ServiceAccountMatch { namespace, service_account } = m;
    wire::ServiceAccountMatch { namespace: namespace.as_ref().into(), service_account: service_account.as_ref().into() }
}

fn decode_account(message: wire::ServiceAccountMatch) -> Checked<ServiceAccountMatch> {
    let wire::ServiceAccountMatch { namespace, service_account } = message;
    Ok(ServiceAccountMatch { namespace: namespace.into(), service_account: service_account.into() })
}

fn encode_net(net: &IpNet) -> wire::Address {
    wire::Address { address: address::encode(net.addr()), length: u32::from(net.prefix_len()) }
}

fn decode_net(message: wire::Address) -> Checked<IpNet> {
    address::decode_net(&message.address, Some(message.length))
}
