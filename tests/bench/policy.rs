//! `cargo bench --bench policy`: how long a decision takes under one policy of ten thousand rules.
//!
//! Each shape of rule is one policy of one namespace, through the mesh and the evaluator as a connection meets them.
//! Half of the peers are admitted by some rule and half by none. A figure is one decision, with the look-up of what
//! applies; reading the clock twice is part of it.
#![expect(clippy::print_stdout, reason = "the table is what a person asked for")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, UNIX_EPOCH};

use culvert::authz::{Request, evaluate};
use culvert::mesh::{self, State};
use culvert::model::name::NamespacedName;
use culvert::model::policy::{Action, Clause, Group, Match, Policy, Scope, StringMatch};
use culvert::model::schedule::TimeRange;
use culvert::model::spiffe::Identity;
use culvert::model::workload::Workload;
use tokio::time::Instant;

const RULES: u32 = 10_000;
const DECISIONS: u32 = 50_000;

/// A shape of rules: its name, and the clauses of the rule of a number.
type Shape = (&'static str, fn(u32) -> Vec<Clause>);

const SHAPES: [Shape; 7] = [
    ("a principal each", |rule| vec![principal(StringMatch::Exact(text(rule).into()))]),
    ("a principal each, one port", |rule| vec![port(80), principal(StringMatch::Exact(text(rule).into()))]),
    ("a prefix each", |rule| vec![principal(StringMatch::Prefix(format!("cluster.local/ns/n{rule}/").into()))]),
    ("a network each", |rule| {
        let net = format!("10.{}.{}.0/24", rule / 256, rule % 256);
        vec![clause(Match { source_ips: vec![net.parse().expect("a network")], ..Match::default() })]
    }),
    ("a principal each, in office hours", |rule| {
        let times = TimeRange::new(8 * 60, 18 * 60).into_iter().collect();
        vec![principal(StringMatch::Exact(text(rule).into())), clause(Match { times, ..Match::default() })]
    }),
    ("plaintext alone, an exception each", |rule| {
        let not_principals = vec![StringMatch::Presence, StringMatch::Exact(text(rule).into())];
        vec![clause(Match { not_principals, ..Match::default() })]
    }),
    ("one principal, a port each", |rule| {
        vec![principal(StringMatch::Exact(text(1).into())), port(u16::try_from(1000 + rule).unwrap_or(1))]
    }),
];

fn text(rule: u32) -> String {
    format!("cluster.local/ns/n{rule}/sa/s{rule}")
}

fn clause(m: Match) -> Clause {
    Clause { matches: vec![m] }
}

fn principal(wanted: StringMatch) -> Clause {
    clause(Match { principals: vec![wanted], ..Match::default() })
}

fn port(port: u16) -> Clause {
    clause(Match { destination_ports: vec![port], ..Match::default() })
}

fn main() {
    println!("| 10,000 rules | p50 (µs) | p99 (µs) |\n| --- | ---: | ---: |");
    for (name, shape) in SHAPES {
        let mut took = measure(shape);
        took.sort_unstable();
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_nanos() as f64 / 1000.0;
        println!("| {name} | {:.2} | {:.2} |", at(0.5), at(0.99));
    }
}

fn measure(shape: fn(u32) -> Vec<Clause>) -> Vec<Duration> {
    let groups = (0..RULES).map(|rule| Group { rule, clauses: shape(rule) }).collect();
    let policy = Policy::new(NamespacedName::new("demo", "long"), Scope::Namespace, Action::Allow, groups);
    let workload = Workload { uid: "w".into(), namespace: "demo".into(), ..Workload::default() };
    let (mut writer, reader) = mesh::channel();
    writer.replace(State { workloads: vec![workload], policies: vec![policy], ..State::default() });
    let view = reader.view();
    let workload = view.workload_by_uid("w").expect("it was put there");
    let noon = UNIX_EPOCH + Duration::from_secs(12 * 3600);
    let mut took = Vec::new();
    for turn in 0..DECISIONS {
        // A step that visits all numbers, the upper half being nobody's.
        let number = turn.wrapping_mul(7919) % (2 * RULES);
        let peer = Identity::new("cluster.local", format!("n{number}"), format!("s{number}"));
        let [.., high, low] = number.to_be_bytes();
        let request = Request {
            peer: Some(&peer),
            foreign: false,
            source: IpAddr::V4(Ipv4Addr::new(10, high, low, 1)),
            destination: SocketAddr::from(([10, 1, 0, 1], 80)),
            now: noon,
        };
        let begin = Instant::now();
        black_box(evaluate(black_box(&request), &view.policies_for(workload)));
        took.push(begin.elapsed());
    }
    took
}
