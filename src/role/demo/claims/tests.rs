use super::*;

fn row(what: &str, ok: bool) -> Row {
    Row {
        from: "client".into(),
        to: "server".into(),
        what: what.into(),
        expected: "answered".into(),
        happened: if ok { "answered".into() } else { "reset".into() },
        road: Some(Road::Hbone),
        peer: Some("spiffe://cluster.local/ns/demo/sa/client".into()),
        source: Some("10.88.1.10".parse().unwrap()),
        time: Duration::from_micros(4200),
        ok,
    }
}

fn plain(rows: &[Row], width: usize) -> String {
    anstream::adapter::strip_str(&render(rows, width)).to_string()
}

#[test]
fn the_columns_line_up_and_the_words_stand_without_colour() {
    let refused =
        Row { road: Some(Road::Refused), peer: None, source: None, time: Duration::from_secs(2), ..row("b", false) };
    assert_eq!(
        plain(&[row("a longer claim", true), refused], 200),
        "\
claim           from → to        expected  happened  road     peer identity                             source      time
a longer claim  client → server  answered  answered  HBONE    spiffe://cluster.local/ns/demo/sa/client  10.88.1.10  4.2 ms  ✔ ok
b               client → server  answered  reset     refused  -                                         -           2.0 s   ✘ FAILED

1 of 2 claims as expected
"
    );
}

#[test]
fn a_narrow_screen_gets_a_block_a_row() {
    let text = plain(&[row("cross-node", true)], 80);
    assert!(text.starts_with("✔ ok  cross-node\n    from → to     client → server\n"), "{text}");
    assert!(text.lines().all(|line| columns(line) <= 80), "{text}");
}

#[test]
fn colour_is_there_for_those_who_can_see_it() {
    let styled = render(&[row("a", false)], 200);
    assert!(styled.contains("\u{1b}[1m\u{1b}[31m✘ FAILED\u{1b}[0m"), "{styled:?}");
}

#[test]
fn no_rows_prove_nothing() {
    assert!(!all_ok(&[]));
    assert!(all_ok(&[row("a", true)]));
    assert!(!all_ok(&[row("a", true), row("b", false)]));
}

#[test]
fn times_are_short() {
    for (micros, text) in [(0, "0.0 ms"), (940, "0.9 ms"), (12_300, "12 ms"), (999_000, "999 ms"), (1_500_000, "1.5 s")]
    {
        assert_eq!(duration(Duration::from_micros(micros)), text);
    }
}
