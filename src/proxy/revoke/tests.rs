use super::*;
use crate::mesh;
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Clause, Group, Match, Policy, Scope};
use crate::model::schedule::TimeRange;
use crate::model::timezone::Zone;
use crate::model::workload::Workload;

fn at(text: &str) -> SystemTime {
    text.parse::<jiff::Timestamp>().unwrap().into()
}

fn window(zone: &str) -> Policy {
    let times = vec![TimeRange::new(8 * 60, 18 * 60).unwrap()];
    let clause = Clause { matches: vec![Match { times, ..Match::default() }] };
    let groups = vec![Group { rule: 0, clauses: vec![clause] }];
    let key = NamespacedName::new("demo", "a");
    Policy { zone: Zone::named(zone), ..Policy::new(key, Scope::Namespace, Action::Allow, groups) }
}

#[track_caller]
fn check_pause(policies: Vec<Policy>, now: &str, wanted: Option<u64>) {
    let (mut writer, reader) = mesh::channel();
    writer.replace(mesh::State { policies, ..mesh::State::default() });
    assert_eq!(pause(&reader.view(), at(now)), wanted.map(Duration::from_millis), "{now}");
}

#[test]
fn the_sleep_ends_with_the_window_and_is_never_long() {
    check_pause(vec![window("UTC")], "2026-06-01T17:59:30Z", Some(30_000));
    check_pause(vec![window("UTC")], "2026-06-01T17:59:59.9Z", Some(100));
    check_pause(vec![window("UTC")], "2026-06-01T18:00:00Z", Some(60_000));
    check_pause(vec![window("Europe/Vienna")], "2026-06-01T05:59:50Z", Some(10_000));
    check_pause(vec![window("Not/Known")], "2026-06-01T17:59:30Z", Some(60_000));
    // Nothing to wait for: no window, or none that decides.
    let always = Policy::new(NamespacedName::new("demo", "b"), Scope::Namespace, Action::Allow, Vec::new());
    check_pause(vec![always], "2026-06-01T17:59:30Z", None);
    check_pause(vec![Policy { dry_run: true, ..window("UTC") }], "2026-06-01T17:59:30Z", None);
    check_pause(vec![Policy { action: Action::Audit, ..window("UTC") }], "2026-06-01T17:59:30Z", None);
}

#[test]
fn only_a_policy_or_the_pods_own_record_makes_it_look_again() {
    let workload = |uid: &str, healthy| Workload { uid: uid.into(), healthy, ..Workload::default() };
    let (mut writer, reader) = mesh::channel();
    let mut check = |changes: mesh::Changes, expect: bool| {
        let before = reader.view();
        writer.apply(changes);
        let now = reader.view();
        let of = |view: &View| view.workload_by_uid("own").cloned();
        assert_eq!(is_as_before(&now, &of(&now).unwrap(), &before, of(&before).as_ref()), expect);
    };
    let with = |workloads| mesh::Changes { workloads, ..mesh::Changes::default() };
    check(with(vec![workload("own", true)]), false);
    check(with(vec![workload("other", true)]), true);
    check(with(vec![workload("own", true), workload("other", false)]), true);
    check(with(vec![workload("own", false)]), false);
    check(mesh::Changes { policies: vec![window("UTC")], ..mesh::Changes::default() }, false);
    check(mesh::Changes { policies: vec![window("UTC")], ..mesh::Changes::default() }, true);
    let removed = vec![mesh::Removed::Policy(NamespacedName::new("demo", "a"))];
    check(mesh::Changes { removed, ..mesh::Changes::default() }, false);
}
