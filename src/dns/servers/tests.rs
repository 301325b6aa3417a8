use super::*;

#[test]
fn name_servers_are_read_as_a_resolver_reads_them() {
    let text = "# comment\nsearch a.b\nnameserver 10.96.0.10\n  nameserver\tfd00::a  # the second\nnameserver fe80::1%eth0\n\
                nameserver\nnameservers 1.1.1.1\n;nameserver 2.2.2.2\nnameserver 8.8.8.8\nnameserver 9.9.9.9\noptions ndots:5\n";
    let expect: Vec<SocketAddr> =
        ["10.96.0.10:53", "[fd00::a]:53", "8.8.8.8:53"].iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(parse(text), expect);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_seen_and_a_file_that_is_gone_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resolv.conf");
    let servers = Servers::new(&path);
    assert!(servers.current().await.is_empty());
    std::fs::write(&path, "nameserver 10.0.0.1\n").unwrap();
    assert!(servers.current().await.is_empty(), "it was looked at a moment ago");
    tokio::time::advance(EVERY).await;
    assert_eq!(&*servers.current().await, &["10.0.0.1:53".parse().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    tokio::time::advance(EVERY).await;
    assert_eq!(servers.current().await.len(), 1);
}
