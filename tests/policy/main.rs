//! The policy truth table: Kubernetes YAML in, decisions out, through the whole chain of manifests,
//! index, projection, mesh and evaluator. The cases are in the `*.yaml` files beside this one;
//! `base.yaml` holds the namespaces and pods that all of them share.

mod chain;
#[expect(clippy::unwrap_used, reason = "all of it is test: what fails is shown where it fails")]
mod guide;
mod lint;
mod render;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use culvert::authz::inquiry::{Standing, report};
use culvert::authz::{Decision, Observation, Request, evaluate, observe};
use culvert::control::index::Index;
use culvert::control::manifests;
use culvert::control::project::{Projection, Settings, project};
use culvert::mesh::{self, Held, Reader, State, View};
use culvert::model::spiffe::Identity;
use serde::Deserialize;

/// The table may grow; a table that lost its rows would pass without saying so.
const MIN_ROWS: usize = 477;
const MIN_CASES: usize = 137;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    manifests: String,
    #[serde(default)]
    rows: Vec<Row>,
    /// All policies that the projection makes, rendered, in any order.
    emits: Option<Vec<String>>,
    /// Pod → the policies that its workload names, in order.
    refs: Option<BTreeMap<String, Vec<String>>>,
    /// All statuses that are not `Accepted`, as `<reason> <level> <key>`, each followed by nothing
    /// or ` ~ <text of the message>`.
    statuses: Option<Vec<String>>,
    /// Policies that are kept from the mesh, as if they had not arrived.
    #[serde(default)]
    withhold: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// `none`, `<namespace>/<service account>` of cluster.local, or a whole principal.
    from: String,
    #[serde(default = "default_ip")]
    ip: IpAddr,
    #[serde(default = "default_pod")]
    to: String,
    /// The destination's address, when it is not the pod's first one.
    dst: Option<IpAddr>,
    #[serde(default = "default_port")]
    port: u16,
    /// When, in UTC: `Mon 12:00`, or a whole time such as `2026-03-29T01:00:00Z`.
    #[serde(default = "default_time")]
    at: String,
    expect: Expect,
    /// The policy that decided, or the reason.
    by: Option<String>,
    /// A part of the explanation.
    says: Option<String>,
    /// All that AUDIT and dry runs remark, as `<outcome> <policy> [<rule>]`.
    sees: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expect {
    Allow,
    Deny,
}

fn default_ip() -> IpAddr {
    IpAddr::from([10, 9, 9, 9])
}

fn default_pod() -> String {
    "demo/server".to_owned()
}

fn default_time() -> String {
    "Mon 12:00".to_owned()
}

const fn default_port() -> u16 {
    80
}

#[test]
fn truth_table() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy");
    let base = std::fs::read(directory.join("base.yaml")).unwrap();
    let mut failures = Vec::new();
    let (mut rows, mut cases) = (0, 0);
    for file in case_files(&directory) {
        let text = std::fs::read_to_string(&file).unwrap();
        let shown = file.file_name().unwrap().to_string_lossy().into_owned();
        let list: Vec<Case> = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{shown}: {e}"));
        for case in list {
            let place = format!("{shown}: {}", case.name);
            let checks = case.rows.len();
            assert!(checks > 0 || case.emits.is_some() || case.statuses.is_some(), "{place}: checks nothing");
            rows += checks;
            cases += 1;
            run(&place, &base, case, &mut failures);
        }
    }
    assert!(failures.is_empty(), "{} of {rows} rows fail:\n{}", failures.len(), failures.join("\n"));
    assert!(rows >= MIN_ROWS, "the table has only {rows} rows; {MIN_ROWS} were there");
    assert!(cases >= MIN_CASES, "the table has only {cases} cases; {MIN_CASES} were there");
}

fn case_files(directory: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(directory).expect("the table's directory").map(|entry| entry.expect("its entry").path());
    let mut files: Vec<_> =
        entries.filter(|p| p.extension().is_some_and(|e| e == "yaml") && !p.ends_with("base.yaml")).collect();
    files.sort();
    files
}

fn run(place: &str, base: &[u8], case: Case, failures: &mut Vec<String>) {
    let sources = [
        (PathBuf::from("base.yaml"), base.to_vec()),
        (PathBuf::from("case.yaml"), case.manifests.clone().into_bytes()),
    ];
    let objects = manifests::parse(&sources).unwrap_or_else(|errors| panic!("{place}: {errors}"));
    let projection = project(&Index::build(objects), &Settings::default());
    for workload in &projection.workloads {
        for key in &workload.policies {
            if !projection.policies.iter().any(|policy| policy.key == *key) {
                failures.push(format!("{place}: {} names {key}, which was not made", workload.uid));
            }
        }
    }
    structures(place, &case, &projection, failures);
    let Projection { workloads, services, mut policies, .. } = projection;
    let before = policies.len();
    policies.retain(|policy| !case.withhold.contains(&policy.key.to_string()));
    assert_eq!(before - policies.len(), case.withhold.len(), "{place}: withholds what was not made");
    let state = State { workloads, services, policies };
    // The same rows for a node that has it by xDS, and for a client that knows none of our extensions.
    match chain::through_the_wire(&state, chain::Reader::Ours) {
        Ok(read) => decide(&format!("{place} (by xDS)"), read, &case.rows, failures),
        Err(lost) => failures.push(format!("{place} (by xDS): {lost}")),
    }
    match chain::through_the_wire(&state, chain::Reader::Plain) {
        Ok(read) => err_to_the_safe_side(place, read, &case.rows, failures),
        Err(lost) => failures.push(format!("{place} (by xDS, without extensions): {lost}")),
    }
    decide(place, state, &case.rows, failures);
}

/// What is refused is refused there as well.
fn err_to_the_safe_side(place: &str, state: State, rows: &[Row], failures: &mut Vec<String>) {
    let (mut writer, reader) = mesh::channel();
    writer.replace(state);
    for (i, row) in rows.iter().enumerate().filter(|(_, row)| row.expect == Expect::Deny) {
        let (view, peer) = (reader.view(), identity(&row.from));
        let allowed = called(&view, row).map(|(workload, destination)| {
            let request =
                Request { peer: peer.as_ref(), foreign: false, source: row.ip, destination, now: moment(&row.at) };
            evaluate(&request, &view.policies_for(workload)).is_allow()
        });
        if allowed != Ok(false) {
            failures.push(format!("{place} (by xDS, without extensions): row {}: {allowed:?}\n    {row:?}", i + 1));
        }
    }
}

/// From the state of a mesh to the decisions of the rows, by whatever way the state has come.
fn decide(place: &str, state: State, rows: &[Row], failures: &mut Vec<String>) {
    let (mut writer, reader) = mesh::channel();
    writer.replace(state);
    for (i, row) in rows.iter().enumerate() {
        if let Err(wrong) = judge(&reader, row) {
            failures.push(format!("{place}: row {}: {wrong}\n    {row:?}", i + 1));
        }
    }
}

fn structures(place: &str, case: &Case, projection: &Projection, failures: &mut Vec<String>) {
    if let Some(wanted) = &case.emits {
        let mut made: Vec<_> = projection.policies.iter().map(render::policy).collect();
        let mut wanted = wanted.clone();
        made.sort();
        wanted.sort();
        if made != wanted {
            failures.push(format!("{place}: made\n  {}\n  instead of\n  {}", made.join("\n  "), wanted.join("\n  ")));
        }
    }
    for (pod, wanted) in case.refs.iter().flatten() {
        let uid = format!("Kubernetes//Pod/{pod}");
        let workload =
            projection.workloads.iter().find(|w| *w.uid == *uid).unwrap_or_else(|| panic!("{place}: {pod}?"));
        let named: Vec<_> = workload.policies.iter().map(ToString::to_string).collect();
        if named != *wanted {
            failures.push(format!("{place}: {pod} names {named:?} instead of {wanted:?}"));
        }
    }
    if let Some(wanted) = &case.statuses {
        let told: Vec<_> = projection.statuses.iter().filter(|s| s.reason.as_str() != "Accepted").collect();
        let fits = |(status, wanted): (&&culvert::control::project::Status, &String)| {
            let (head, text) = wanted.split_once(" ~ ").unwrap_or((wanted, ""));
            let shown = format!("{} {} {}", status.reason.as_str(), status.level, status.key);
            shown == head && status.message.contains(text)
        };
        if told.len() != wanted.len() || !told.iter().zip(wanted).all(fits) {
            let told: Vec<_> = told.iter().map(|s| format!("{}: {s}", s.reason.as_str())).collect();
            failures.push(format!("{place}: statuses are\n  {}\n  instead of {wanted:#?}", told.join("\n  ")));
        }
    }
}

/// The pod of a row, and where it is called.
fn called<'a>(view: &'a View, row: &Row) -> Result<(&'a Held, SocketAddr), String> {
    let uid = format!("Kubernetes//Pod/{}", row.to);
    let pod = view.workload_by_uid(&uid).ok_or_else(|| format!("there is no pod {}", row.to))?;
    let address = row.dst.unwrap_or(pod.addresses[0]);
    let workload = view.workload_at("", address).ok_or_else(|| format!("nobody is at {address}"))?;
    assert_eq!(workload.uid, pod.uid, "{address} is not {}", row.to);
    Ok((workload, SocketAddr::new(address, row.port)))
}

fn judge(reader: &Reader, row: &Row) -> Result<(), String> {
    let view = reader.view();
    let (workload, destination) = called(&view, row)?;
    let peer = identity(&row.from);
    let request = Request { peer: peer.as_ref(), foreign: false, source: row.ip, destination, now: moment(&row.at) };
    let applicable = view.policies_for(workload);
    let decision = evaluate(&request, &applicable);
    let remark = |o: &Observation| {
        let rule = o.rule().map_or_else(String::new, |rule| format!(" {rule}"));
        format!("{} {}{rule}", o.outcome().as_str(), o.policy())
    };
    let seen: Vec<_> = observe(&request, &applicable, &decision).iter().map(remark).collect();
    let (got, policy, reason, text) = match decision {
        Decision::Allow(permit) => {
            let reason = if permit.policy().is_none() { "no_allow_policy" } else { "allowed" };
            (Expect::Allow, permit.policy().cloned(), reason, permit.to_string())
        }
        Decision::Deny(denial) => (Expect::Deny, denial.policy(), denial.reason().as_str(), denial.to_string()),
    };
    let policy = policy.map(|key| key.to_string());
    // What is told of a decision is the decision.
    let told = report(&request, &view.policies_for(workload));
    let named = told.policies.iter().find(|p| matches!(p.standing, Standing::Decided | Standing::Nearest));
    let same = (told.allowed, told.policy.as_ref(), &told.detail) == (got == Expect::Allow, policy.as_ref(), &text);
    if !same || named.is_some_and(|named| Some(&named.policy) != policy.as_ref()) {
        return Err(format!("the report says something else: {told:?}"));
    }
    let by = row.by.as_ref().is_none_or(|by| Some(by) == policy.as_ref() || by == reason);
    let says = row.says.as_ref().is_none_or(|says| text.contains(says.as_str()));
    let sees = row.sees.as_ref().is_none_or(|sees| *sees == seen);
    let right = got == row.expect && by && says && sees;
    if right { Ok(()) } else { Err(format!("{got:?} by {policy:?} ({reason}), sees {seen:?}: {text}")) }
}

/// Days are those of the first week of June 2026, which begins with a Monday.
fn moment(text: &str) -> SystemTime {
    let whole = match text.split_once(' ') {
        Some((day, time)) => {
            let day = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].iter().position(|d| *d == day);
            let day = day.unwrap_or_else(|| panic!("`{text}` has no day"));
            format!("2026-06-0{}T{time}:00Z", day + 1)
        }
        None => text.to_owned(),
    };
    whole.parse::<jiff::Timestamp>().unwrap_or_else(|e| panic!("`{text}`: {e}")).into()
}

fn identity(from: &str) -> Option<Identity> {
    let whole = match from.matches('/').count() {
        0 if from == "none" => return None,
        1 => format!("spiffe://cluster.local/ns/{}", from.replace('/', "/sa/")),
        _ => format!("spiffe://{from}"),
    };
    Some(whole.parse().unwrap_or_else(|e| panic!("`{from}`: {e}")))
}
