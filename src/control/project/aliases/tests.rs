use super::*;
use crate::model::policy::{Clause, Match};

fn expanded(principals: &[StringMatch], not: &[StringMatch], aliases: &[&str]) -> Match {
    let m = Match { principals: principals.to_vec(), not_principals: not.to_vec(), ..Match::default() };
    let mut groups = vec![Group { rule: 0, clauses: vec![Clause { matches: vec![m] }] }];
    let trust_domain_aliases = aliases.iter().map(|alias| (*alias).into()).collect();
    expand(&mut groups, &Settings { trust_domain_aliases, ..Settings::default() });
    groups.remove(0).clauses.remove(0).matches.remove(0)
}

fn exact(text: &str) -> StringMatch {
    StringMatch::Exact(text.into())
}

#[test]
fn a_principal_of_one_name_is_meant_for_all() {
    let all = [exact("cluster.local/ns/shop/sa/cart"), exact("old.example/ns/shop/sa/cart")];
    for written in &all {
        let m = expanded(std::slice::from_ref(written), std::slice::from_ref(written), &["old.example"]);
        assert_eq!((&m.principals[..], &m.not_principals[..]), (&all[..], &all[..]));
    }
    assert_eq!(expanded(&all, &[], &["old.example"]).principals, all, "none is there twice");
    let prefix = expanded(&[StringMatch::Prefix("old.example/ns/shop/".into())], &[], &["old.example"]);
    let prefixes = ["cluster.local/ns/shop/", "old.example/ns/shop/"].map(|text| StringMatch::Prefix(text.into()));
    assert_eq!(prefix.principals, prefixes);
}

#[test]
fn what_names_another_domain_or_none_stays_as_it_is() {
    let kept = [
        exact("partner.example/ns/shop/sa/cart"),
        exact("spiffe://cluster.local/ns/shop/sa/cart"),
        exact("cluster.local"),
        StringMatch::Prefix("cluster.loc".into()),
        StringMatch::Presence,
        StringMatch::Suffix("/ns/shop/sa/cart".into()),
    ];
    assert_eq!(expanded(&kept, &kept, &["old.example"]).principals, kept);
    let one = [exact("cluster.local/ns/shop/sa/cart")];
    assert_eq!(expanded(&one, &[], &[]).principals, one);
}
