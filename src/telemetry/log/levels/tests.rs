use proptest::prelude::*;

use super::*;

/// Levels, and the filters that were put in force.
fn levels(start: &str) -> (Levels, Arc<Mutex<Vec<String>>>) {
    let set = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&set);
    let (levels, _) = Levels::new(start, move |filter| {
        seen.lock().unwrap().push(filter.to_string());
        true
    })
    .unwrap();
    (levels, set)
}

#[test]
fn levels_are_added_and_reset() {
    let (levels, set) = levels("info,access=info");
    assert_eq!(levels.current(), "access=info,info");
    let check = |reset, more: Option<&str>, expected: &str| {
        levels.change(reset, more).unwrap();
        assert_eq!(levels.current(), expected);
    };
    check(false, Some("debug"), "access=info,debug");
    check(false, Some("culvert::proxy=trace,access=off"), "culvert::proxy=trace,access=off,debug");
    check(false, Some("ztunnel::xds:warning,critical"), "culvert::proxy=trace,access=off,culvert::xds=warn,error");
    check(false, None, "culvert::proxy=trace,access=off,culvert::xds=warn,error");
    check(true, Some("hyper=off"), "access=info,hyper=off,info");
    check(true, None, "access=info,info");
    assert_eq!(set.lock().unwrap().len(), 6);
}

#[test]
fn what_is_no_level_changes_nothing() {
    let (levels, set) = levels("info");
    for bad in ["", "loud", "hyper", "culvert::proxy", "a=b", "debug,", "=debug", "a b=info", "a[x]=info", "info,hyper"]
    {
        let error = levels.change(true, Some(bad)).unwrap_err();
        assert!(error.to_string().contains("is not a level"), "{bad}: {error}");
    }
    let many = (0..200).map(|n| format!("m{n}=info")).collect::<Vec<_>>().join(",");
    assert_eq!(levels.change(false, Some(&many)), Err(LevelError::Many));
    assert_eq!((levels.current().as_str(), set.lock().unwrap().len()), ("info", 0));
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>(), ascii in "[a-z=:,\\[\\]{} ]{0,40}") {
        let (levels, _) = levels("info");
        drop(levels.change(false, Some(&text)));
        drop(levels.change(false, Some(&ascii)));
    }
}
