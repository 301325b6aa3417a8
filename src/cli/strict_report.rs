//! `culvert strict-report`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anstyle::AnsiColor;

use super::explain::Output;
use super::table::{Cell, render};
use super::{Roles, report};
pub use crate::role::strict_report::{Ask, Judged};
use crate::role::strict_report::{JudgedFlow, Others, Verdict};

/// Say who still connects in plaintext, and what STRICT would have refused.
///
/// A node counts who connects to which port of its pods, in plaintext and with an identity, over a window (settings
/// flow-window and flow-limit). With --policy, the policies of a file are tried on all of it, on top of today's
/// manifests. Nothing is applied.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER)]
pub struct StrictReportArgs {
    /// Admin page of the node that is asked
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:15000")]
    node: SocketAddr,
    /// Try the AuthorizationPolicies and PeerAuthentications of this file; one of a name that is there replaces it
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Today's manifests, when the node's own directory cannot be read from here
    #[arg(long, value_name = "DIR", requires = "policy")]
    manifests: Option<PathBuf>,
    /// How the report is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

const AFTER: &str = "\
Examples:
  culvert strict-report
  culvert strict-report --policy only-client.yaml --output json";

// === impl StrictReportArgs ===

impl StrictReportArgs {
    pub(super) fn run(self, roles: &impl Roles) -> anyhow::Result<ExitCode> {
        let Self { node, policy, manifests, output } = self;
        let judged = roles.strict_report(&Ask { node, policy, manifests })?;
        report::print(&match output {
            Output::Json => serde_json::to_string_pretty(&judged)? + "\n",
            Output::Text => text(&judged),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The report for a person.
fn text(judged: &Judged) -> String {
    let Judged { window_seconds, watched_seconds, flows, others } = judged;
    let plaintext = flows.iter().filter(|judged| judged.strict_refuses).count();
    let mut out = format!("{} clients of ports in the last {}", flows.len(), span(*window_seconds));
    if watched_seconds < window_seconds {
        out.push_str(&format!(", of which the node has seen {}", span(*watched_seconds)));
    }
    out.push_str(&format!("; STRICT would refuse {plaintext}"));
    let tries = flows.iter().any(|judged| judged.tried.is_some());
    if tries {
        let newly = flows.iter().filter(|judged| newly_refused(judged)).count();
        out.push_str(&format!("; the file would newly refuse {newly}"));
    }
    out.push('\n');
    if !flows.is_empty() {
        let mut header = vec!["destination", "port", "client", "connections", "refused", "last seen", "STRICT"];
        header.extend(tries.then_some("with the file"));
        out.push('\n');
        out.push_str(&render(&header, &flows.iter().map(row).collect::<Vec<_>>()));
    }
    let Others { plaintext, with_identity } = others;
    if plaintext + with_identity > 0 {
        out.push_str(&format!(
            "note: not told apart, because the table is full (setting flow-limit): {plaintext} plaintext connections and \
             {with_identity} with an identity\n"
        ));
    }
    out
}

fn row(judged: &JudgedFlow) -> Vec<Cell> {
    let JudgedFlow { flow, strict_refuses, tried, .. } = judged;
    let client = match (&flow.identity, &flow.plaintext_client) {
        (Some(identity), _) => identity.clone(),
        (None, Some(client)) => format!("{client} (plaintext)"),
        (None, None) => format!("{} (plaintext)", flow.source),
    };
    let mut row = vec![
        flow.pod.as_str().into(),
        flow.destination.port().to_string().into(),
        client.into(),
        flow.connections.to_string().into(),
        flow.refused.to_string().into(),
        format!("{} ago", span(flow.last_seen_seconds)).into(),
        if *strict_refuses { bad("refuse") } else { "allow".into() },
    ];
    row.extend(tried.as_ref().map(|verdict| tried_cell(judged, verdict)));
    row
}

fn tried_cell(judged: &JudgedFlow, verdict: &Verdict) -> Cell {
    match verdict {
        Verdict::Allow if matches!(judged.today, Some(Verdict::Refuse { .. })) => "allow, unlike today".into(),
        Verdict::Allow => "allow".into(),
        Verdict::Gone => "the pod is gone".into(),
        Verdict::Refuse { policy, rule, .. } => {
            let policy = policy.as_deref().unwrap_or("?");
            let rule = rule.map_or_else(String::new, |rule| format!(" rule {rule}"));
            if newly_refused(judged) {
                bad(&format!("refuse: {policy}{rule}"))
            } else {
                format!("refuse as today: {policy}{rule}").into()
            }
        }
    }
}

fn newly_refused(judged: &JudgedFlow) -> bool {
    matches!((&judged.today, &judged.tried), (Some(Verdict::Allow), Some(Verdict::Refuse { .. })))
}

fn bad(text: &str) -> Cell {
    Cell::styled(text, AnsiColor::Red.on_default())
}

/// Its two largest units: `1day 2h`, `3m 5s`.
fn span(seconds: u64) -> String {
    let all = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    all.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
