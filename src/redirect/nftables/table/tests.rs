use proptest::prelude::*;

use super::*;
use crate::redirect::nftables::render;
use crate::redirect::plan::{PlanInput, plan};

fn planned() -> Content {
    render(&plan(&PlanInput::default()))
}

fn check(change: impl FnOnce(&mut Content)) -> Vec<String> {
    let mut found = planned();
    change(&mut found);
    differences(&planned(), Some(&found)).iter().map(ToString::to_string).collect()
}

#[test]
fn differences_name_the_place() {
    assert!(check(|_| ()).is_empty());
    let counted = |found: &mut Content| {
        for rule in found.chains.iter_mut().flat_map(|chain| &mut chain.rules) {
            for expression in &mut rule.expressions {
                if let Expression::Counter { packets, .. } = expression {
                    *packets = 7;
                }
            }
        }
    };
    assert!(check(counted).is_empty(), "counts are no difference");
    assert_eq!(differences(&planned(), None), [Difference::TableMissing]);
    assert_eq!(check(|found| found.flags = 1), ["the table has flags 0x1"]);
    assert_eq!(
        check(|found| found.chains[0].priority = 5),
        ["chain prerouting has another type, hook, priority or policy"]
    );
    assert_eq!(check(|found| drop(found.chains.remove(1))), ["chain output is missing"]);
    let mut extra = planned().chains.remove(0);
    extra.name = "evil".into();
    assert_eq!(check(|found| found.chains.push(extra)), ["chain evil is not of the plan"]);
    assert_eq!(check(|found| drop(found.chains[1].rules.pop())), ["chain output has 2 rules instead of 3"]);
    assert_eq!(check(|found| found.chains[1].rules.swap(0, 1)), ["chain output, rule 1 (accept-daemon) has changed"]);
    assert_eq!(
        check(|found| found.chains[2].rules[1].comment.clear()),
        ["chain mark_output, rule 2 (mark-reply) has changed"]
    );
}

#[test]
fn every_message_of_the_transaction_has_a_name_and_a_feature() {
    let plan = plan(&PlanInput::default());
    let rules: usize = plan.chains.iter().map(|chain| chain.rules.len()).sum();
    let total = (3 + plan.chains.len() + rules) as u32;
    assert!((1..=total).all(|index| message(&plan, index).is_some()));
    assert_eq!(message(&plan, 0), None);
    assert_eq!(message(&plan, total + 1), None);
    let first = message(&plan, 10).unwrap();
    assert_eq!(first, ("the rule redirect-inbound".to_owned(), "CONFIG_NFT_REDIR"));
}

#[test]
fn comments_are_written_as_nft_does() {
    assert_eq!(comment("hello"), b"\x00\x06hello\x00");
    assert_eq!(read_comment(&comment("hello")).as_deref(), Some("hello"));
    for bad in [&b""[..], b"\x00", b"\x00\x09hello\x00", b"\x01\x06hello\x00"] {
        assert_eq!(read_comment(bad), None);
    }
}

#[test]
fn counters_go_on_where_they_were() {
    let mut counts = HashMap::new();
    counts.insert("count-udp-in".to_owned(), Count { bytes: 90, packets: 3 });
    let content = planned();
    let rule = content.chains[3].rules.iter().find(|rule| rule.comment == "count-udp-in").unwrap();
    assert!(seeded(rule, &counts).contains(&Expression::Counter { bytes: 90, packets: 3 }));
}

proptest! {
    #[test]
    fn any_dump_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let rule = read_rule(&bytes);
        prop_assert!(rule.expressions.len() <= bytes.len());
        prop_assert!(read_chain(&bytes).is_none_or(|chain| chain.rules.is_empty()));
    }
}
