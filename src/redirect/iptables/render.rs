//! A plan as text for iptables-restore, and what of it is missing from iptables-save. Pure.
//!
//! iptables-save does not print rules as they were given, and versions differ, so a rule is known
//! by the comment that it carries: its name and a hash of its text (in the order of its chain).

use std::collections::HashMap;

use super::save::Saved;
use crate::redirect::backend::{Count, Difference};
use crate::redirect::plan::{Action, ChainKind, Hook, MARK_MASK, Match, Plan, Rule};

/// By which a later process knows a chain as ours.
pub(super) const CHAIN_PREFIX: &str = "CULVERT_";
/// By which it knows a rule.
pub(super) const TAG_PREFIX: &str = "culvert:";

/// What was there before, which a new text must replace.
pub(in crate::redirect) struct Found<'a> {
    pub counts: &'a HashMap<String, Count>,
    pub saved: &'a Saved,
}

/// The text that makes a family's tables equal to the plan.
/// Tables that are right already are left alone.
pub(in crate::redirect) fn render(plan: &Plan, found: &Found<'_>) -> String {
    let mut text = String::new();
    for table in tables(plan, found.saved) {
        if table_differences(plan, table, "", found.saved).is_empty() {
            continue;
        }
        let chains: Vec<_> = plan.chains.iter().filter(|chain| table_of(chain.kind) == table).collect();
        line(&mut text, format_args!("*{table}"));
        // Naming a chain of one's own makes it, or empties it when it is there.
        for chain in &chains {
            line(&mut text, format_args!(":{} - [0:0]", chain_name(chain.name)));
        }
        for jump in found.saved.jumps().filter(|jump| jump.table == table) {
            line(&mut text, format_args!("-D {}", jump.text));
        }
        for chain in chains {
            let name = chain_name(chain.name);
            for rule in &chain.rules {
                let body = body(rule);
                let count = found.counts.get(rule.name).copied().unwrap_or_default();
                let tag = tag(rule, &body);
                line(
                    &mut text,
                    format_args!(
                        "[{}:{}] -A {name}{body} -m comment --comment {tag}{}",
                        count.packets,
                        count.bytes,
                        target(rule.action)
                    ),
                );
            }
            // In front of everything: a rule of the pod's own must not let a connection pass by.
            line(&mut text, format_args!("-I {} 1 -j {name}", builtin(chain.hook)));
        }
        // Chains of another version of this program.
        for stale in stale(plan, table, found.saved) {
            line(&mut text, format_args!("-F {stale}"));
            line(&mut text, format_args!("-X {stale}"));
        }
        line(&mut text, format_args!("COMMIT"));
    }
    text
}

/// The text that takes away everything of ours.
pub(super) fn removal(saved: &Saved) -> String {
    let mut text = String::new();
    for table in saved.tables() {
        line(&mut text, format_args!("*{table}"));
        for jump in saved.jumps().filter(|jump| jump.table == table) {
            line(&mut text, format_args!("-D {}", jump.text));
        }
        let chains: Vec<_> = saved.chains().filter(|chain| chain.table == table).collect();
        for verb in ["-F", "-X"] {
            for chain in &chains {
                line(&mut text, format_args!("{verb} {}", chain.name));
            }
        }
        line(&mut text, format_args!("COMMIT"));
    }
    text
}

/// The text that empties the nat chains and keeps the jumps into them. `None` when there are none.
pub(super) fn withdrawal(saved: &Saved) -> Option<String> {
    let mut chains = saved.chains().filter(|chain| chain.table == "nat").peekable();
    chains.peek()?;
    let mut text = String::from("*nat\n");
    for chain in chains {
        line(&mut text, format_args!("-F {}", chain.name));
    }
    line(&mut text, format_args!("COMMIT"));
    Some(text)
}

/// What of the plan is missing or wrong in one family.
pub(super) fn differences(plan: &Plan, v6: bool, saved: &Saved) -> Vec<Difference> {
    let family = super::programs::family_word(v6);
    tables(plan, saved).into_iter().flat_map(|table| table_differences(plan, table, family, saved)).collect()
}

fn table_differences(plan: &Plan, table: &str, family: &'static str, saved: &Saved) -> Vec<Difference> {
    let mut differences = Vec::new();
    for planned in plan.chains.iter().filter(|chain| table_of(chain.kind) == table) {
        let chain = chain_name(planned.name);
        let Some(found) = saved.chains().find(|found| found.table == table && found.name == chain) else {
            differences.push(Difference::ChainMissing { chain });
            continue;
        };
        let expected = format!("{} -j {chain}", builtin(planned.hook));
        let jumps: Vec<_> = saved.jumps().filter(|jump| jump.table == table && jump.leads_to(&chain)).collect();
        if jumps.len() != 1 || jumps.iter().any(|jump| jump.text != expected) {
            differences.push(Difference::Jumps { chain: chain.clone(), family, times: jumps.len() });
        }
        if found.rules.len() != planned.rules.len() {
            let (found, planned) = (found.rules.len(), planned.rules.len());
            differences.push(Difference::RuleCount { chain: chain.clone(), found, planned });
        }
        let tags = planned.rules.iter().map(|rule| (rule.name, tag(rule, &body(rule))));
        for (at, ((rule, tag), found)) in tags.zip(&found.rules).enumerate() {
            if found.tag.as_ref() != Some(&tag) {
                let (position, rule) = (at + 1, rule.to_owned());
                differences.push(Difference::RuleChanged { chain: chain.clone(), position, rule });
                break;
            }
        }
    }
    let unknown = stale(plan, table, saved).map(|chain| Difference::ChainUnknown { chain: chain.to_owned() });
    differences.extend(unknown);
    differences
}

/// Chains of ours in this table that the plan does not have.
fn stale<'a>(plan: &'a Plan, table: &'a str, saved: &'a Saved) -> impl Iterator<Item = &'a str> {
    let planned = move |name: &str| {
        plan.chains.iter().any(|chain| table_of(chain.kind) == table && chain_name(chain.name) == name)
    };
    let chains = saved.chains().filter(move |chain| chain.table == table && !planned(&chain.name));
    chains.map(|chain| chain.name.as_str())
}

/// Those of the plan in its order, then others that hold something of ours; each once.
fn tables<'a>(plan: &Plan, saved: &'a Saved) -> Vec<&'a str> {
    let mut tables = Vec::new();
    let planned = plan.chains.iter().map(|chain| table_of(chain.kind));
    for table in planned.chain(saved.tables()) {
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    tables
}

/// The table whose chains run where the plan's do. mangle routes again when its OUTPUT changed a mark.
const fn table_of(kind: ChainKind) -> &'static str {
    match kind {
        ChainKind::Filter => "filter",
        ChainKind::Nat => "nat",
        ChainKind::Raw => "raw",
        ChainKind::Route => "mangle",
    }
}

const fn builtin(hook: Hook) -> &'static str {
    match hook {
        Hook::Input => "INPUT",
        Hook::Output => "OUTPUT",
        Hook::Prerouting => "PREROUTING",
    }
}

fn chain_name(name: &str) -> String {
    format!("{CHAIN_PREFIX}{}", name.to_ascii_uppercase())
}

/// The rule's matches. iptables wants interfaces and the protocol in front of `-m`.
fn body(rule: &Rule) -> String {
    let mut matches: Vec<_> = rule.matches.iter().collect();
    matches.sort_by_key(|one| match one {
        Match::From(_) | Match::FromElsewhere | Match::FromLoopback | Match::ToLoopback => 0,
        Match::FirstSyn | Match::Protocol(_) | Match::UdpPort(_) => 1,
        Match::TcpPort(_) | Match::TcpPortNot(_) => 2,
        Match::Cgroup(_) | Match::ConnectionMark(_) | Match::Mark(_) | Match::Reply => 3,
    });
    matches.into_iter().map(|one| format!(" {}", matching(one))).collect()
}

fn matching(one: &Match) -> String {
    match one {
        Match::Cgroup(cgroup) => format!("-m cgroup --path \"{}\"", quoted(&cgroup.path)),
        Match::ConnectionMark(mark) => format!("-m connmark --mark {mark:#x}/{MARK_MASK:#x}"),
        Match::FirstSyn => "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN".to_owned(),
        Match::From(name) => format!("-i {name}"),
        Match::FromElsewhere => "! -i lo".to_owned(),
        Match::FromLoopback => "-i lo".to_owned(),
        Match::Mark(mark) => format!("-m mark --mark {mark:#x}/{MARK_MASK:#x}"),
        Match::Protocol(number) => format!("-p {number}"),
        Match::Reply => "-m conntrack --ctdir REPLY".to_owned(),
        Match::TcpPort(port) => format!("--dport {port}"),
        Match::TcpPortNot(port) => format!("! --dport {port}"),
        Match::ToLoopback => "-o lo".to_owned(),
        Match::UdpPort(port) => format!("-p udp -m udp --dport {port}"),
    }
}

/// iptables-restore reads a backslash as an escape inside quotes.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

fn target(action: Action) -> String {
    match action {
        Action::Accept => " -j ACCEPT".to_owned(),
        Action::Count | Action::Return => " -j RETURN".to_owned(),
        Action::MarkConnection(mark) => format!(" -j CONNMARK --set-xmark {mark:#x}/{MARK_MASK:#x}"),
        Action::MarkPacket(mark) => format!(" -j MARK --set-xmark {mark:#x}/{MARK_MASK:#x}"),
        Action::Redirect(port) => format!(" -j REDIRECT --to-ports {port}"),
        Action::Zone(zone) => format!(" -j CT --zone-orig {zone}"),
    }
}

/// `culvert:NAME:HASH`. The name in front is what people read.
fn tag(rule: &Rule, body: &str) -> String {
    format!("{TAG_PREFIX}{}:{:08x}", rule.name, fnv1a(&format!("{body}{}", target(rule.action))))
}

/// FNV-1a, 32 bits: stable over versions of this program and of Rust, which `Hash` is not. It tells
/// versions of a rule apart; it is no defence.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.push_str(&arguments.to_string());
    text.push('\n');
}
