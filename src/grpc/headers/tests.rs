use super::*;
use proptest::prelude::*;

fn token() -> Option<HeaderValue> {
    Some(HeaderValue::from_static("Bearer t"))
}

fn headers(cluster: Option<&str>, extra: &[(&str, &str)]) -> Result<Headers, HeaderError> {
    let extra: Vec<_> = extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Headers::new(cluster, &extra)
}

fn sent(headers: &Headers, token: Option<HeaderValue>) -> Vec<(String, String)> {
    let map = headers.of(token);
    let mut all: Vec<_> =
        map.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    all.sort();
    all
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_cluster_id_comes_with_a_token_only() {
    let of = headers(Some("Kubernetes"), &[("X_Tenant", "blue")]).unwrap();
    assert_eq!(
        sent(&of, token()),
        pairs(&[("authorization", "Bearer t"), ("clusterid", "Kubernetes"), ("x_tenant", "blue")])
    );
    assert_eq!(sent(&of, None), pairs(&[("x_tenant", "blue")]));
}

#[test]
fn what_an_operator_writes_stands_in_place_of_ours() {
    let of = headers(Some("a"), &[("AUTHORIZATION", "Basic x"), ("ClusterId", "b")]).unwrap();
    assert_eq!(sent(&of, token()), pairs(&[("authorization", "Basic x"), ("clusterid", "b")]));
    let twice = headers(None, &[("A", "1"), ("a", "2")]).unwrap();
    assert_eq!(sent(&twice, None), pairs(&[("a", "1"), ("a", "2")]));
}

#[test]
fn a_header_that_cannot_be_sent_is_named_and_its_value_is_not() {
    for (name, value, reserved) in [
        ("", "s3cret", false),
        ("a b", "s3cret", false),
        ("x", "s3cret\r\ny: z", false),
        ("TE", "s3cret", true),
        ("content-type", "s3cret", true),
        ("grpc-timeout", "s3cret", true),
    ] {
        let error = headers(None, &[(name, value)]).err().unwrap();
        assert_eq!(matches!(error, HeaderError::Reserved { .. }), reserved, "{error}");
        assert!(error.to_string().contains(&format!("{name:?}")) && !format!("{error:?}").contains("s3cret"));
    }
    assert!(headers(Some("a\nb"), &[]).is_err());
    let good = headers(None, &[("x-key", "s3cret")]).unwrap();
    assert!(!format!("{:?}", good.of(None)).contains("s3cret"));
    assert_eq!(good.names().collect::<Vec<_>>(), ["x-key"]);
}

proptest! {
    #[test]
    fn no_header_breaks_the_reader(name in "\\PC{0,12}", value in "\\PC{0,12}") {
        if let Ok(of) = headers(None, &[(&name, &value)]) {
            prop_assert!(of.names().all(|name| !name.bytes().any(|byte| byte.is_ascii_uppercase())));
        }
    }
}
