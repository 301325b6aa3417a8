//! `culvert explain`.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::{ArgGroup, ValueEnum};

use super::daemon::MeshArgs;
use super::table::{Cell, render};
use super::{Roles, report};
use crate::authz::inquiry::{self, Answer, Callee, Caller, Considered, Question, Standing};
use crate::config::env::Environment;
use crate::config::raw::ConfigError;
use crate::model::name::NamespacedName;
use crate::model::spiffe::Identity;
pub use crate::role::explain::Mesh;

/// Say whether a connection is allowed, and by which rule of which policy.
///
/// Every policy that applies to the destination is listed in the order of evaluation, with the rule that fired or the
/// attribute that failed. Asked is a node that runs, or a directory of manifests; nothing is sent to a pod.
#[derive(Clone, Debug, clap::Args)]
#[command(group = ArgGroup::new("caller").required(true).multiple(true).args(["from", "sa", "identity", "ip"]), after_help = AFTER)]
pub struct ExplainArgs {
    /// The pod that calls: with its identity when it is in the mesh, in plaintext when it is not
    #[arg(long, value_name = "NAMESPACE/POD", value_parser = inquiry::pod, conflicts_with_all = ["sa", "identity", "ip"])]
    from: Option<NamespacedName>,
    /// Instead: whoever has this service account's identity; from one of its pods' addresses, or from --ip
    #[arg(long, alias = "from-sa", value_name = "NAMESPACE/SERVICE-ACCOUNT", value_parser = inquiry::account)]
    sa: Option<NamespacedName>,
    /// Instead: whoever has this identity, of a federated trust domain too, from --ip
    #[arg(long, value_name = "SPIFFE-ID", value_parser = inquiry::identity, conflicts_with = "sa", requires = "ip")]
    identity: Option<Identity>,
    /// Instead: somebody at this address without an identity (plaintext); with --sa or --identity, the address that it
    /// calls from
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<IpAddr>,
    /// What is called; an address with a port will do
    #[arg(long, value_name = "NAMESPACE/POD:PORT", value_parser = inquiry::callee)]
    to: Callee,
    /// Read the mesh from this directory and ask no node
    #[arg(long, value_name = "DIR", conflicts_with = "node")]
    manifests: Option<PathBuf>,
    /// Admin page of the node that is asked
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:15000")]
    node: SocketAddr,
    /// How the answer is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
    #[command(flatten, next_help_heading = "The mesh, with --manifests alone")]
    mesh: MeshArgs,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Json,
    Text,
}

const AFTER: &str = "\
Examples:
  culvert explain --from demo/client --to demo/server:8080
  culvert explain --ip 192.0.2.7 --to demo/server:8080 --manifests ./mesh --output json

Exit codes:
  0   allowed
  1   denied
  2   no answer; the reason is on standard error
  64  the arguments are wrong";

/// Neither allowed nor denied.
const NO_ANSWER: u8 = 2;

// === impl ExplainArgs ===

impl ExplainArgs {
    pub(super) fn run(
        self,
        environment: &Environment,
        roles: &impl Roles,
        errors: &mut dyn Write,
    ) -> anyhow::Result<ExitCode> {
        let output = self.output;
        let (question, mesh) = self.split(environment)?;
        let answered = roles.explain(&question, &mesh).and_then(|answer| {
            report::print(&match output {
                Output::Json => serde_json::to_string_pretty(&answer)? + "\n",
                Output::Text => text(&answer),
            })?;
            Ok(answer.report.allowed)
        });
        Ok(match answered {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                report::failure(&error, errors);
                ExitCode::from(NO_ANSWER)
            }
        })
    }

    fn split(self, environment: &Environment) -> anyhow::Result<(Question, Mesh)> {
        let Self { from, sa, identity, ip, to, manifests, node, mesh, .. } = self;
        let caller = match (from, sa, identity, ip) {
            (Some(pod), ..) => Caller::Pod(pod),
            (None, None, Some(identity), Some(address)) => Caller::Identity { identity, address },
            (None, Some(account), _, address) => Caller::ServiceAccount { account, address },
            (None, None, None, Some(address)) => Caller::Address(address),
            // The group of arguments asks for one of them, and an identity for an address.
            (None, None, _, None) => anyhow::bail!("nobody calls: give --from, --sa, --identity with --ip, or --ip"),
        };
        let mesh = match (manifests, mesh.given()) {
            (Some(directory), _) => Mesh::Manifests { directory, mesh: mesh.resolve(environment)? },
            (None, Some(flag)) => {
                let text = format!("--{flag} is of use with --manifests alone: a node that is asked has its own");
                return Err(ConfigError::Contradiction(text).into());
            }
            (None, None) => Mesh::Node(node),
        };
        Ok((Question { caller, callee: to }, mesh))
    }
}

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// The answer for a person.
fn text(answer: &Answer) -> String {
    let Answer { source, destination, report, notes } = answer;
    let identity = source.identity.as_deref().unwrap_or("no identity: plaintext");
    let named = |pod: &Option<String>, rest: &str| match pod {
        Some(pod) => format!("{pod} ({rest})"),
        None => rest.to_owned(),
    };
    let from = named(&source.pod, &format!("{}, {identity}", source.address));
    let mut out = shown(&format!("{from} → {}\n", named(&destination.pod, &destination.address)));
    let (style, word) = if report.allowed { (GOOD, "ALLOWED") } else { (BAD, "DENIED") };
    out.push_str(&format!("{style}{word}{style:#}: {}\n", shown(&report.detail)));
    let missing = report.missing.iter().map(|key| absent(key, "missing", "it has not arrived"));
    let unsent = report.unsent.iter().map(|key| absent(key, "unsent", "it never came: no peer without identity"));
    let rows: Vec<_> = missing.chain(unsent).chain(report.policies.iter().flat_map(rows)).collect();
    if !rows.is_empty() {
        out.push('\n');
        out.push_str(&render(&["policy", "action", "scope", "standing", "rule", "clause", "why"], &rows));
    }
    for note in notes {
        out.push_str(&format!("note: {}\n", shown(note)));
    }
    out
}

/// A policy that is named and not here.
fn absent(key: &str, standing: &str, why: &str) -> Vec<Cell> {
    let unknown = || Cell::from("?");
    let standing = Cell::styled(standing, BAD);
    vec![key.into(), unknown(), "workload".into(), standing, unknown(), unknown(), why.into()]
}

/// A line for each fact; the first has the policy as well.
fn rows(considered: &Considered) -> Vec<Vec<Cell>> {
    let Considered { policy, action, scope, standing, rules, rule, facts } = considered;
    let style = if *standing == Standing::Decided { Style::new().bold() } else { Style::new() };
    let head = |clause: String, why: String| {
        let rule = rule.map_or_else(|| "-".to_owned(), |rule| rule.to_string());
        vec![
            Cell::styled(policy.as_str(), style),
            action.as_str().into(),
            scope.as_str().into(),
            Cell::styled(word(*standing), style),
            rule.into(),
            clause.into(),
            why.into(),
        ]
    };
    let fires = matches!(standing, Standing::Decided | Standing::Fires | Standing::Observes);
    let mut reasons = facts.iter().map(|fact| {
        let found = if fact.found.is_empty() { String::new() } else { format!(": {}", fact.found) };
        (fact.clause.to_string(), format!("{}{found}", fact.asks))
    });
    let (clause, first) = reasons.next().unwrap_or_else(|| {
        let why = match (fires, rules) {
            (true, _) => "it covers every connection",
            (false, 0) => "it has no rule, so it never fires",
            (false, _) => "no rule of it fires",
        };
        ("-".to_owned(), why.to_owned())
    });
    let more =
        reasons.map(|(clause, why)| (0..5).map(|_| Cell::default()).chain([clause.into(), why.into()]).collect());
    std::iter::once(head(clause, first)).chain(more).collect()
}

const fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Decided => "decided",
        Standing::Fires => "fires too",
        Standing::Nearest => "nearest",
        Standing::Observes => "only counts",
        Standing::Silent => "no match",
    }
}

/// Text of others: no control character reaches the terminal.
fn shown(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', "?")
}

#[cfg(test)]
mod tests;
