use super::*;

#[track_caller]
fn check(asked: &str, expect: &[&str]) {
    let found = candidates(asked, "ns", "dom.local");
    let words: Vec<_> = found
        .iter()
        .map(|one| match &one.stripped {
            Some(stripped) => format!("{} <{stripped}", one.name),
            None => one.name.clone(),
        })
        .collect();
    assert_eq!(words, expect, "{asked}");
}

#[test]
fn a_name_is_completed_by_its_labels() {
    check("", &[]);
    check("web", &["web", "web.ns.svc.dom.local"]);
    check("web.shop", &["web.shop", "web.shop.svc.dom.local", "web.shop.ns.svc.dom.local"]);
    check("web.shop.svc", &["web.shop.svc", "web.shop.svc.dom.local", "web.shop.svc.svc.dom.local"]);
    check("a.b.c", &["a.b.c", "a.b.c.svc.dom.local"]);
    check("p.web.shop.svc", &["p.web.shop.svc", "p.web.shop.svc.dom.local"]);
    check("a.b.c.d", &["a.b.c.d"]);
    check("a.b.c.d.svc", &["a.b.c.d.svc"]);
}

#[test]
fn search_domains_are_taken_off() {
    check("dom.local", &["dom.local", "dom.local.svc.dom.local", "dom.local.ns.svc.dom.local"]);
    check(
        "web.ns.svc.dom.local",
        &[
            "web.ns.svc.dom.local",
            "web <web",
            "web.ns.svc.dom.local <web",
            "web.ns <web.ns",
            "web.ns.svc.dom.local <web.ns",
            "web.ns.ns.svc.dom.local <web.ns",
            "web.ns.svc <web.ns.svc",
            "web.ns.svc.dom.local <web.ns.svc",
            "web.ns.svc.svc.dom.local <web.ns.svc",
        ],
    );
    check(
        "api.shop.example.com.dom.local",
        &["api.shop.example.com.dom.local", "api.shop.example.com <api.shop.example.com"],
    );
    check("xdom.local", &["xdom.local", "xdom.local.svc.dom.local", "xdom.local.ns.svc.dom.local"]);
}

#[test]
fn wildcards_go_from_the_narrowest() {
    assert_eq!(wildcards("a.b.c").collect::<Vec<_>>(), ["*.b.c", "*.c"]);
    assert_eq!(wildcards("a").count(), 0);
}
