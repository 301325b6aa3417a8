//! The routing rules and routes that bring the app's answers back to the daemon.
//!
//! A packet with the reply mark is looked up in a table whose one route delivers everything to
//! this namespace's own sockets, where the daemon's, bound to the client's address, is waiting.

use super::backend::Difference;
use super::error::RedirectError;
use super::plan::{Families, MARK_MASK, REPLY_MARK, ROUTE_PROTOCOL, ROUTE_TABLE, RULE_PRIORITY};
use crate::sys::netlink::route::{self, LocalDefault};
use crate::sys::netlink::rule::{self, MarkRule};
use crate::sys::netlink::{NetlinkError, NetlinkSocket, Protocol};
use crate::sys::netns::Netns;

/// `LOOPBACK_IFINDEX` of net/loopback.h.
const LOOPBACK: u32 = 1;

/// Which families the namespace has: IPv6 only where the kernel has it and loopback may use it.
pub fn families(netns: &Netns) -> Result<Families, RedirectError> {
    // /proc/sys/net shows the namespace of the thread that opens the file.
    let disabled = netns.run(|| std::fs::read_to_string("/proc/sys/net/ipv6/conf/lo/disable_ipv6"))?;
    Ok(match disabled {
        Ok(text) if text.trim() == "0" => Families::Both,
        _ => Families::V4Only,
    })
}

/// Lays routes, then rules: a rule that leads to an empty table would send nothing anywhere, but
/// the order is the same everywhere. What is there already is success. True when a rule was added.
pub(super) fn apply(netns: &Netns, families: Families) -> Result<bool, RedirectError> {
    let fail = |source| error(netns, "lay the policy routing", source);
    let mut socket = NetlinkSocket::open_in(netns, Protocol::Route).map_err(fail)?;
    let mut added = false;
    for &v6 in families.v6() {
        route::add_local_default(&mut socket, local_default(v6)).map_err(fail)?;
        added |= rule::add_mark_rule(&mut socket, mark_rule(v6)).map_err(fail)?;
    }
    Ok(added)
}

/// What is missing.
pub(super) fn verify(netns: &Netns, families: Families) -> Result<Vec<Difference>, RedirectError> {
    let fail = |source| error(netns, "read the policy routing", source);
    let mut socket = NetlinkSocket::open_in(netns, Protocol::Route).map_err(fail)?;
    let mut differences = Vec::new();
    for &v6 in families.v6() {
        let family = if v6 { "IPv6" } else { "IPv4" };
        let rules = rule::mark_rules(&mut socket, v6).map_err(fail)?;
        // An equal rule of another program works as well as ours.
        if !rules.iter().any(|found| MarkRule { protocol: ROUTE_PROTOCOL, ..*found } == mark_rule(v6)) {
            differences.push(Difference::RoutingRuleMissing { family, table: ROUTE_TABLE });
        }
        let routes = route::local_defaults(&mut socket, v6).map_err(fail)?;
        if !routes.iter().any(|found| LocalDefault { protocol: ROUTE_PROTOCOL, ..*found } == local_default(v6)) {
            differences.push(Difference::RouteMissing { family, table: ROUTE_TABLE });
        }
    }
    Ok(differences)
}

/// Removes what carries our protocol number, rules before routes. Both families are tried and
/// errors gathered. Counts what was there.
pub(super) fn remove(netns: &Netns, errors: &mut Vec<RedirectError>) -> (usize, usize) {
    let fail = |source| error(netns, "remove the policy routing", source);
    let mut socket = match NetlinkSocket::open_in(netns, Protocol::Route) {
        Ok(socket) => socket,
        Err(source) => {
            errors.push(fail(source));
            return (0, 0);
        }
    };
    let (mut rules, mut routes) = (0, 0);
    let mut note = |count: &mut usize, answer: Result<bool, NetlinkError>| match answer {
        Ok(true) => *count += 1,
        Ok(false) => {}
        Err(source) => errors.push(fail(source)),
    };
    for v6 in [false, true] {
        note(&mut rules, remove_rule(&mut socket, v6));
        note(&mut routes, remove_route(&mut socket, v6));
    }
    (rules, routes)
}

/// An equal rule without our protocol number belongs to another program and stays.
fn remove_rule(socket: &mut NetlinkSocket, v6: bool) -> Result<bool, NetlinkError> {
    let ours = rule::mark_rules(socket, v6)?.contains(&mark_rule(v6));
    if ours { rule::remove_mark_rule(socket, mark_rule(v6)) } else { Ok(false) }
}

fn remove_route(socket: &mut NetlinkSocket, v6: bool) -> Result<bool, NetlinkError> {
    let ours = route::local_defaults(socket, v6)?.contains(&local_default(v6));
    if ours { route::remove_local_default(socket, local_default(v6)) } else { Ok(false) }
}

fn mark_rule(v6: bool) -> MarkRule {
    MarkRule {
        mark: REPLY_MARK,
        mask: MARK_MASK,
        priority: RULE_PRIORITY,
        protocol: ROUTE_PROTOCOL,
        table: ROUTE_TABLE,
        v6,
    }
}

fn local_default(v6: bool) -> LocalDefault {
    LocalDefault { interface: LOOPBACK, protocol: ROUTE_PROTOCOL, table: ROUTE_TABLE, v6 }
}

fn error(netns: &Netns, doing: &'static str, source: NetlinkError) -> RedirectError {
    RedirectError::Kernel { doing, namespace: netns.path().to_owned(), source }
}
