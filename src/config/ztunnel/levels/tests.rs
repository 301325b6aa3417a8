use super::*;

#[test]
fn modules_get_our_names() {
    let check = |text: &str, expected: &str| assert_eq!(levels(text), expected, "{text}");
    check("info", "info");
    check("warn,ztunnel::proxy=debug", "warn,culvert::proxy=debug");
    check("ztunnel=trace", "culvert=trace");
    check("hickory_server::server=off,access=info", "hickory_server::server=off,access=info");
    check(" info , ztunnel::xds = debug ,", "info,culvert::xds=debug");
    check("loud", "loud");
}

#[test]
fn the_access_log_follows_its_level() {
    let check = |text: &str, expected: bool| assert_eq!(writes_access(text), expected, "{text}");
    check("info", true);
    check("error", false);
    check("debug", true);
    check("off", false);
    check("error,access=info", true);
    check("access=info,error", true);
    check("info,access=off", false);
    check("info,access=warn", false);
    check("culvert::proxy=debug", false);
    check("info,culvert::proxy=error", true);
}
