//! What matching and the order of policies mean, written as directly as they can be: an oracle for the evaluator.

use std::net::IpAddr;
use std::time::UNIX_EPOCH;

use ipnet::IpNet;

use crate::authz::{Outcome, Request};
use crate::model::policy::{Action, Match, Policy, ServiceAccountMatch, StringMatch};
use crate::model::schedule::{TimeRange, WEEK, Weekday};
use crate::model::spiffe::Identity;

fn text(peer: Option<&Identity>) -> Option<String> {
    peer.map(|p| format!("{}/ns/{}/sa/{}", p.trust_domain, p.namespace, p.service_account))
}

fn string(m: &StringMatch, value: &Option<String>) -> bool {
    let Some(value) = value else { return false };
    match m {
        StringMatch::Exact(s) => value == &**s,
        StringMatch::Prefix(s) => value.starts_with(&**s),
        StringMatch::Presence => !value.is_empty(),
        StringMatch::Suffix(s) => value.ends_with(&**s),
    }
}

fn in_net(net: &IpNet, ip: IpAddr) -> bool {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (4, u128::from(u32::from(ip)) << 96),
        IpAddr::V6(ip) => (6, u128::from(ip)),
    };
    let ((family, have), (wanted_family, want)) = (bits(ip), bits(net.addr()));
    let mask = u128::MAX.checked_shl(128 - u32::from(net.prefix_len())).unwrap_or(0);
    family == wanted_family && have & mask == want & mask
}

fn plain(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

/// Minute and day, by adding what the zone is ahead; none of these has a summer time.
fn clock(p: &Policy, r: &Request<'_>) -> Option<(u64, Weekday)> {
    let ahead = match p.zone.name() {
        "UTC" => 0,
        "Asia/Kolkata" => 330,
        "Asia/Tokyo" => 540,
        _ => return None,
    };
    let minutes = r.now.duration_since(UNIX_EPOCH).unwrap().as_secs() / 60 + ahead;
    // The first of January 1970 was a Thursday.
    Some((minutes % 1440, WEEK[usize::try_from(minutes / 1440 + 3).unwrap() % 7]))
}

/// Every minute of a span, one after another from its beginning to its end.
fn minutes(range: &TimeRange) -> Vec<u64> {
    let (mut minute, end) = (u64::from(range.from()), u64::from(range.to()) % 1440);
    let mut all = Vec::new();
    loop {
        all.push(minute);
        minute = (minute + 1) % 1440;
        if minute == end {
            return all;
        }
    }
}

fn in_time(p: &Policy, m: &Match, r: &Request<'_>) -> bool {
    let timed = [m.times.len(), m.not_times.len(), m.days.len(), m.not_days.len()].iter().sum::<usize>() > 0;
    let Some((minute, day)) = clock(p, r) else {
        return !timed || p.action == Action::Deny;
    };
    let within = |range: &TimeRange| minutes(range).contains(&minute);
    (m.times.is_empty() || m.times.iter().any(within))
        && !m.not_times.iter().any(within)
        && (m.days.is_empty() || m.days.contains(&day))
        && !m.not_days.contains(&day)
}

fn one(p: &Policy, m: &Match, r: &Request<'_>) -> bool {
    if *m == Match::default() {
        return false;
    }
    let principal = text(r.peer);
    let namespace = r.peer.map(|p| p.namespace.to_string());
    let account = |s: &ServiceAccountMatch| {
        r.peer.is_some_and(|p| p.namespace == s.namespace && p.service_account == s.service_account)
    };
    let (source, to, port) = (plain(r.source), plain(r.destination.ip()), r.destination.port());
    let holds = [
        m.principals.is_empty() || m.principals.iter().any(|s| string(s, &principal)),
        m.not_principals.iter().all(|s| !string(s, &principal)),
        m.namespaces.is_empty() || m.namespaces.iter().any(|s| string(s, &namespace)),
        m.not_namespaces.iter().all(|s| !string(s, &namespace)),
        m.service_accounts.is_empty() || m.service_accounts.iter().any(account),
        !m.not_service_accounts.iter().any(account),
        m.source_ips.is_empty() || m.source_ips.iter().any(|n| in_net(n, source)),
        m.not_source_ips.iter().all(|n| !in_net(n, source)),
        m.destination_ips.is_empty() || m.destination_ips.iter().any(|n| in_net(n, to)),
        m.not_destination_ips.iter().all(|n| !in_net(n, to)),
        m.destination_ports.is_empty() || m.destination_ports.contains(&port),
        !m.not_destination_ports.contains(&port),
        in_time(p, m, r),
    ];
    holds.into_iter().all(|h| h)
}

/// The place of the first group that fires.
pub fn fires(p: &Policy, r: &Request<'_>) -> Option<usize> {
    p.groups
        .iter()
        .position(|g| g.clauses.iter().all(|c| c.matches.is_empty() || c.matches.iter().any(|m| one(p, m, r))))
}

/// Istio's order: a DENY that fires, no ALLOW at all, an ALLOW that fires, and nothing. What is tried out or audits
/// is not there.
pub fn allowed(policies: &[Policy], r: &Request<'_>) -> bool {
    let enforced = |action| policies.iter().filter(move |p| p.action == action && !p.dry_run);
    if enforced(Action::Deny).any(|p| fires(p, r).is_some()) {
        return false;
    }
    if enforced(Action::Allow).count() == 0 {
        return true;
    }
    enforced(Action::Allow).any(|p| fires(p, r).is_some())
}

/// What each policy that decides nothing says, by its place.
pub fn observed(policies: &[Policy], r: &Request<'_>) -> Vec<(usize, Outcome)> {
    let denied = policies.iter().any(|p| p.action == Action::Deny && !p.dry_run && fires(p, r).is_some());
    let is_tried_allow = |p: &&Policy| p.action == Action::Allow && p.dry_run;
    let enforced_allow = policies.iter().any(|p| p.action == Action::Allow && !p.dry_run);
    let tried_fires = policies.iter().filter(is_tried_allow).any(|p| fires(p, r).is_some());
    let mut said = Vec::new();
    for (place, p) in policies.iter().enumerate() {
        let fired = fires(p, r).is_some();
        match p.action {
            Action::Audit if fired => said.push((place, Outcome::Audited)),
            Action::Deny if p.dry_run && fired => said.push((place, Outcome::WouldDeny)),
            Action::Allow if p.dry_run && !denied && fired => said.push((place, Outcome::WouldAllow)),
            Action::Allow if p.dry_run && !denied && !enforced_allow && !tried_fires => {
                said.push((place, Outcome::WouldDeny));
            }
            _ => {}
        }
    }
    said
}
