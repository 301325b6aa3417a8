//! What the mesh answers to a question for addresses. Pure.

use std::net::IpAddr;

use crate::mesh::View;
use crate::model::service::Service;

use super::message::{A, AAAA, IN, Question};
use super::names::{Candidate, candidates, wildcards};

/// Addresses in one answer at most: with the longest names they stay below the 64 KiB of a message.
const MOST: usize = 2000;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client<'a> {
    pub namespace: &'a str,
    /// The network that the client is on; addresses of another mean something else there.
    pub network: &'a str,
    /// The cluster's domain.
    pub domain: &'a str,
    /// False: nothing is told about IPv6.
    pub ipv6: bool,
}

/// What a name of the mesh stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The asked name without its search domain: the records are its, and the asked one's CNAME.
    pub stripped: Option<String>,
    /// Of the asked family, in random order. Empty: the name is the mesh's and has none of it.
    pub addresses: Vec<IpAddr>,
}

/// The answer to `question`. `None` when it is not the mesh's to answer: another type or class, or a name that it does not
/// have. `random` shuffles.
pub(super) fn answer(question: &Question<'_>, client: Client<'_>, view: &View, random: u64) -> Option<Found> {
    let (v6, readings) = readings(question, client)?;
    let (service, stripped) = readings.into_iter().find_map(|reading| {
        if let Some(service) = usable(&reading.name, client, view) {
            return Some((service, reading.stripped));
        }
        // What a wildcard covers is owned by the name that was asked for, however it was completed.
        let covering = wildcards(&reading.name).find_map(|wildcard| usable(&wildcard, client, view));
        covering.map(|service| (service, None))
    })?;
    let mut addresses = if v6 && !client.ipv6 { Vec::new() } else { addresses(service, v6, client, view) };
    shuffle(&mut addresses, random);
    addresses.truncate(MOST);
    Some(Found { stripped, addresses })
}

/// The names that `question` may mean, where the mesh could know one; `true` with them for IPv6.
pub(super) fn readings(question: &Question<'_>, client: Client<'_>) -> Option<(bool, Vec<Candidate>)> {
    let v6 = match (question.class, question.kind) {
        (IN, A) => false,
        (IN, AAAA) => true,
        _ => return None,
    };
    Some((v6, candidates(&question.text()?, client.namespace, client.domain)))
}

/// The service that the client means by exactly this host name.
fn usable<'a>(hostname: &str, client: Client<'a>, view: &'a View) -> Option<&'a Service> {
    // A service of Kubernetes without an address is headless and has its endpoints'. Of what is outside of the cluster and
    // has no address here, a name server knows more.
    let of_cluster =
        hostname.strip_suffix(client.domain).is_some_and(|rest| rest.ends_with(".svc.") && rest.len() > ".svc.".len());
    let mut all = view.services_named(hostname, client.namespace);
    all.find(|service| of_cluster || service.addresses.iter().any(|address| address.ip().is_some())).map(AsRef::as_ref)
}

fn addresses(service: &Service, v6: bool, client: Client<'_>, view: &View) -> Vec<IpAddr> {
    let fits = |ip: &IpAddr| ip.is_ipv6() == v6 && service.families.allows(ip);
    let single: Vec<_> = service.addresses.iter().filter_map(|a| Some((&*a.network, a.ip()?.to_canonical()))).collect();
    let mut found: Vec<_> = if single.is_empty() {
        let endpoints = view.endpoints(&service.key()).iter().map(|endpoint| endpoint.workload());
        let takes_calls = endpoints.filter(|workload| workload.healthy || service.balancing.accept_unhealthy);
        // An address of another network would be called as what has it here.
        let near = takes_calls.filter(|workload| *workload.network == *client.network);
        near.filter_map(|workload| workload.addresses.iter().map(IpAddr::to_canonical).find(fits)).collect()
    } else {
        single.iter().filter(|(network, ip)| *network == client.network && fits(ip)).map(|(_, ip)| *ip).collect()
    };
    found.sort_unstable();
    found.dedup();
    found
}

/// Fisher and Yates, by numbers of splitmix64: enough to spread clients, and no secret.
fn shuffle(addresses: &mut [IpAddr], random: u64) {
    let mut state = random;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    for last in (1..addresses.len()).rev() {
        let bound = u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1);
        let other = usize::try_from(next() % bound).unwrap_or(last);
        addresses.swap(last, other);
    }
}

#[cfg(test)]
pub(super) mod tests;
