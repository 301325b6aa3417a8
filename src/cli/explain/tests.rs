use super::*;
use crate::authz::inquiry::{Destination, Fact, Report, Source};

fn fact(asks: &str, found: &str, holds: bool) -> Fact {
    Fact { clause: 0, holds, asks: asks.into(), found: found.into() }
}

fn considered(policy: &str, action: &str, standing: Standing, rule: Option<u32>, facts: Vec<Fact>) -> Considered {
    Considered {
        policy: policy.into(),
        action: action.into(),
        scope: "workload".into(),
        standing,
        rules: usize::from(rule.is_some()),
        rule,
        facts,
    }
}

fn answer() -> Answer {
    Answer {
        source: Source { pod: Some("demo/near".into()), identity: None, address: "10.0.0.1".into() },
        destination: Destination { pod: None, address: "10.0.0.2:80".into(), in_mesh: true },
        report: Report {
            allowed: false,
            reason: "none_allowed".into(),
            policy: Some("demo/only".into()),
            rule: Some(0),
            detail: "no ALLOW\u{1b}[2J policy admits it".into(),
            missing: vec!["demo/late".into()],
            unsent: vec!["demo/never".into()],
            policies: vec![
                considered("demo/no", "DENY", Standing::Silent, None, vec![]),
                considered(
                    "demo/only",
                    "ALLOW",
                    Standing::Nearest,
                    Some(0),
                    vec![fact("wants port 81", "the port is 80", false), fact("never matches", "", false)],
                ),
                considered("demo/all", "ALLOW", Standing::Fires, Some(0), vec![]),
            ],
        },
        notes: vec!["demo/near is outside".into()],
    }
}

#[test]
fn an_answer_for_a_person() {
    let text = anstream::adapter::strip_str(&text(&answer())).to_string();
    let expected = "\
demo/near (10.0.0.1, no identity: plaintext) → 10.0.0.2:80
DENIED: no ALLOW?[2J policy admits it

policy      action  scope     standing   rule  clause  why
demo/late   ?       workload  missing    ?     ?       it has not arrived
demo/never  ?       workload  unsent     ?     ?       it never came: no peer without identity
demo/no     DENY    workload  no match   -     -       it has no rule, so it never fires
demo/only   ALLOW   workload  nearest    0     0       wants port 81: the port is 80
                                               0       never matches
demo/all    ALLOW   workload  fires too  0     -       it covers every connection
note: demo/near is outside
";
    assert_eq!(text, expected);
}

#[test]
fn colour_is_red_for_no_and_green_for_yes() {
    let denied = answer();
    let mut allowed = denied.clone();
    allowed.report.allowed = true;
    assert!(text(&denied).contains(&format!("{BAD}DENIED")) && text(&allowed).contains(&format!("{GOOD}ALLOWED")));
}
