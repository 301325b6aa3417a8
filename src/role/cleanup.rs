//! Clean-up: every rule and route of ours out of every namespace of this machine.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::redirect::{Swept, sweep};
use crate::sys::netns::{Netns, every};
use crate::telemetry::cause::chain;

/// Sweeps every network namespace that can be found, and `named` ones on top. Goes on after a failure and ends with 1.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command that a person reads")]
pub fn run(named: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let own = Netns::own()?.id();
    let mut failed = 0;
    let mut namespaces = Vec::new();
    for path in named {
        match Netns::open(path) {
            Ok(netns) => namespaces.push(netns),
            Err(error) => {
                eprintln!("error: {}", chain(&error));
                failed += 1;
            }
        }
    }
    namespaces.extend(every());
    let mut seen = std::collections::BTreeSet::from([own]);
    let mut cleaned = 0;
    for netns in namespaces.iter().filter(|netns| seen.insert(netns.id())) {
        match sweep(netns) {
            Ok(swept) if swept.is_empty() => {}
            Ok(swept) => {
                println!("{}: removed {}", netns.path().display(), what(&swept));
                cleaned += 1;
            }
            Err(error) => {
                eprintln!("error: {}: {}", netns.path().display(), chain(&error));
                failed += 1;
            }
        }
    }
    println!("looked into {} network namespaces, cleaned {cleaned}", seen.len() - 1);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn what(swept: &Swept) -> String {
    let mut parts = Vec::new();
    if swept.nftables {
        parts.push("the nf_tables table culvert".to_owned());
    }
    parts.extend(swept.iptables.iter().map(|variant| format!("the chains CULVERT_* of {variant}")));
    if swept.rules + swept.routes > 0 {
        parts.push(format!("{} routing rules and {} routes", swept.rules, swept.routes));
    }
    parts.join(", ")
}
