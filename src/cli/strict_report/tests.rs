use super::*;
use crate::role::strict_report::Flow;

fn judged(client: Option<&str>, identity: Option<&str>, today: Option<Verdict>, tried: Option<Verdict>) -> JudgedFlow {
    JudgedFlow {
        flow: Flow {
            pod: "demo/server".into(),
            destination: "10.0.0.5:80".parse().unwrap(),
            plaintext_client: client.map(str::to_owned),
            identity: identity.map(str::to_owned),
            source: "192.0.2.1".parse().unwrap(),
            connections: 12,
            refused: 1,
            last_seen_seconds: 3_725,
        },
        strict_refuses: identity.is_none(),
        today,
        tried,
    }
}

fn refuse() -> Option<Verdict> {
    Some(Verdict::Refuse { policy: Some("demo/new".into()), rule: Some(1), detail: String::new() })
}

fn plain(judged: &Judged) -> String {
    anstream::adapter::strip_str(&text(judged)).to_string()
}

#[test]
fn who_still_comes_in_plaintext() {
    let flows =
        vec![judged(Some("outside/a"), None, None, None), judged(None, Some("spiffe://td/ns/b/sa/c"), None, None)];
    let mut report = Judged { window_seconds: 86_400, watched_seconds: 7200, flows, others: Others::default() };
    let expected = "\
2 clients of ports in the last 1day, of which the node has seen 2h; STRICT would refuse 1

destination  port  client                 connections  refused  last seen  STRICT
demo/server  80    outside/a (plaintext)  12           1        1h 2m ago  refuse
demo/server  80    spiffe://td/ns/b/sa/c  12           1        1h 2m ago  allow
";
    assert_eq!(plain(&report), expected);
    report.flows.clear();
    report.watched_seconds = 86_400;
    report.others = Others { plaintext: 3, with_identity: 4 };
    let expected = "\
0 clients of ports in the last 1day; STRICT would refuse 0
note: not told apart, because the table is full (setting flow-limit): 3 plaintext connections and 4 with an identity
";
    assert_eq!(plain(&report), expected);
}

#[test]
fn what_a_policy_would_change() {
    let allow = || Some(Verdict::Allow);
    let of = |today, tried| judged(Some("a/b"), None, today, tried);
    let flows = vec![
        of(allow(), refuse()),
        of(refuse(), refuse()),
        of(refuse(), allow()),
        of(allow(), allow()),
        of(Some(Verdict::Gone), Some(Verdict::Gone)),
    ];
    let report = Judged { window_seconds: 60, watched_seconds: 60, flows, others: Others::default() };
    let text = plain(&report);
    assert!(
        text.starts_with("5 clients of ports in the last 1m; STRICT would refuse 5; the file would newly refuse 1\n"),
        "{text}"
    );
    let last: Vec<_> = text.lines().skip(3).map(|line| line.rsplit("refuse  ").next().unwrap()).collect();
    assert_eq!(
        last,
        [
            "refuse: demo/new rule 1",
            "refuse as today: demo/new rule 1",
            "allow, unlike today",
            "allow",
            "the pod is gone",
        ]
    );
}
