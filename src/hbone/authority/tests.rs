use super::*;
use proptest::prelude::*;

fn check(text: &str, expected: Result<&str, AuthorityError>) {
    let parsed = text.parse::<Authority>().map(|authority| authority.to_string());
    assert_eq!(parsed, expected.map(str::to_owned), "{text:?}");
}

#[test]
fn three_forms_and_nothing_else() {
    use AuthorityError::{Host, Port, Shape};
    check("10.0.0.1:80", Ok("10.0.0.1:80"));
    check("[fd00::1]:8080", Ok("[fd00::1]:8080"));
    check("[::ffff:10.0.0.1]:80", Ok("10.0.0.1:80"));
    check("Server.default.svc.cluster.local:80", Ok("server.default.svc.cluster.local:80"));
    check("server.default.svc.:80", Ok("server.default.svc:80"));
    check("a_b-c:65535", Ok("a_b-c:65535"));
    for (text, why) in [
        ("", Shape),
        ("10.0.0.1", Shape),
        ("fd00::1:80", Shape),
        ("[fd00::1:80", Shape),
        ("[10.0.0.1]:80", Host),
        ("[fd00::1%eth0]:80", Host),
        ("[fe80::1]x:80", Shape),
        (":80", Host),
        ("user@host:80", Host),
        ("host:80/path", Port),
        ("host:0", Port),
        ("host:080", Port),
        ("host:+80", Port),
        ("host:65536", Port),
        ("host:", Port),
        ("ho st:80", Host),
        ("a..b:80", Host),
        (".:80", Host),
        ("127.1:80", Host),
        ("2130706433:80", Host),
        ("10.0.0.256:80", Host),
        ("010.0.0.1:80", Host),
        ("h\u{f6}st:80", Host),
        ("host\0:80", Host),
    ] {
        check(text, Err(why));
    }
    check(&format!("{}:80", "a".repeat(64)), Err(Host));
    check(&format!("{}:80", ["abcdefg"; 40].join(".")), Err(Host));
}

proptest! {
    #[test]
    fn addresses_survive(ip in any::<IpAddr>(), port in 1u16..) {
        let authority = Authority::from(SocketAddr::new(ip, port));
        prop_assert_eq!(authority.to_string().parse(), Ok(authority));
    }

    #[test]
    fn what_parses_is_one_value(text in "[a-zA-Z0-9.:_@%/\\[\\]-]{0,30}") {
        if let Ok(authority) = text.parse::<Authority>() {
            prop_assert_eq!(authority.to_string().parse(), Ok(authority));
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,60}") {
        drop(text.parse::<Authority>());
    }
}
