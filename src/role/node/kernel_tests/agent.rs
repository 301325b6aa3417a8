//! What an agent says, and what becomes of its pods.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::lab::{Lab, Node, PATIENCE, address, connect, run, until, workload};
use crate::enroll::manager::State;
use crate::sys::netns::Netns;
use crate::sys::{plain_tcp, socket};
use crate::telemetry::metrics::table;
use crate::zds::fake_agent::FakeAgent;

const SOCKET: &str = "agent.sock";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_whose_rules_the_agent_laid_speak_hbone_and_apps_see_who_calls() {
    let Some(lab) = Lab::build("announced pods") else { return };
    let directory = tempfile::tempdir().unwrap();
    let agent = FakeAgent::listen(&directory.path().join(SOCKET));
    let mut node = Node::start(&directory.path().join(SOCKET));
    let proxy = agent.accept().await;
    assert_eq!(proxy.add("u0", "shop/cart", lab.pods[0].as_fd()).await, "");
    assert_eq!(proxy.add("u1", "shop/web", lab.pods[1].as_fd()).await, "");
    assert!(!node.readiness.is_ready());
    assert_eq!(proxy.snapshot_sent().await, "");
    assert!(node.readiness.is_ready(), "the mesh is not waited for");
    let both = |pod| [address(pod, false), address(pod, true)];
    node.mesh(vec![workload("cart", &both(0)), workload("web", &both(1))]);
    assert_eq!(*node.proxy("web").unwrap().addresses(), both(1));
    for v6 in [false, true] {
        let to = SocketAddr::new(address(1, v6), 80);
        let app = plain_tcp::listen(&lab.pods[1], to).await.unwrap();
        let (_client, _server, from) = connect(&lab.pods[0], to, &app).await;
        assert_eq!(from, address(0, v6), "by a tunnel");
        assert_eq!(node.proxy("cart").unwrap().tunnels(), 1 + usize::from(v6), "each family has one");
        let router: std::net::IpAddr = if v6 { "fd78:1::1" } else { "10.78.1.1" }.parse().unwrap();
        let (_client, _server, from) = connect(&lab.router, to, &app).await;
        assert_eq!(from, router, "in plaintext");
        let (_client, _server, from) = connect(&lab.pods[1], to, &app).await;
        assert_eq!(from, address(1, v6), "a pod that calls itself");
    }
    // The agent says that a pod is gone: what it had ends at once, and nobody listens for it.
    let to = SocketAddr::new(address(1, false), 81);
    let app = plain_tcp::listen(&lab.pods[1], to).await.unwrap();
    let (mut client, _server, _) = connect(&lab.pods[0], to, &app).await;
    assert_eq!(proxy.del("u1").await, "");
    let ended = tokio::time::timeout(PATIENCE, client.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)));
    assert!(until(|| node.state("u1").is_none()).await);
    let hbone = SocketAddr::new(address(1, false), 15008);
    let socket = plain_tcp::unconnected(&lab.router, hbone).await.unwrap();
    assert_eq!(socket.connect(hbone).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(node.proxy("cart").is_some());
    assert_eq!(node.metrics.counter(table::WORKLOAD_PROXIES_STARTED, []).value(), 2);
    assert_eq!(node.metrics.counter(table::WORKLOAD_PROXIES_STOPPED, []).value(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_not_the_pods_is_refused_or_withdrawn() {
    let Some(lab) = Lab::build("wrong pairings") else { return };
    let directory = tempfile::tempdir().unwrap();
    let agent = FakeAgent::listen(&directory.path().join(SOCKET));
    let mut node = Node::start(&directory.path().join(SOCKET));
    let proxy = agent.accept().await;
    let answer = proxy.add("u9", "shop/own", Netns::own().unwrap().as_fd()).await;
    assert!(answer.contains("is never redirected") || answer.contains("which is never"), "{answer}");
    assert_eq!(node.state("u9"), None);
    let refused = ["host", "own"].map(|reason| node.metrics.counter(table::POD_REFUSALS, [reason]).value());
    assert_eq!(refused.iter().sum::<u64>(), 1);
    assert_eq!(proxy.add("u0", "shop/cart", lab.pods[0].as_fd()).await, "");
    let answer = proxy.add("u1", "shop/web", lab.pods[0].as_fd()).await;
    assert!(answer.contains("belongs to pod u0 already"), "{answer}");
    assert_eq!(proxy.del("u1").await, "");
    assert_eq!(proxy.snapshot_sent().await, "");
    assert!(until(|| node.readiness.is_ready()).await);

    // The agent took one pod's namespace for another's. The mesh tells, later.
    assert_eq!(proxy.add("u1", "shop/web", lab.pods[1].as_fd()).await, "");
    let cart = workload("cart", &[address(0, false)]);
    node.mesh(vec![cart.clone(), workload("web", &["10.78.9.9".parse().unwrap()])]);
    assert!(until(|| node.proxy("web").is_none()).await, "withdrawn");
    assert!(until(|| matches!(node.state("u1"), Some(State::Failed(error)) if error.contains("10.78.9.9"))).await);
    assert!(node.metrics.counter(table::POD_REFUSALS, ["address"]).value() > 0);
    assert_eq!(node.metrics.counter(table::POD_REFUSALS, ["claimed"]).value(), 1);
    let answer = proxy.add("u1", "shop/web", lab.pods[1].as_fd()).await;
    assert!(answer.contains("10.78.9.9"), "known to be wrong: {answer}");
    assert!(node.proxy("cart").is_some());
    // The right record heals it without a word from the agent.
    node.mesh(vec![cart, workload("web", &[address(1, true)])]);
    assert!(until(|| node.proxy("web").is_some()).await);

    // Its network is taken down, and an address more: neither makes it another pod.
    run(&lab.pods[1], "ip addr add 10.78.1.3/24 dev eth0");
    let has = |node: &Node, count: usize| node.proxy("web").is_some_and(|proxy| proxy.addresses().len() == count);
    assert!(until(|| has(&node, 3)).await);
    run(&lab.pods[1], "ip addr flush dev eth0");
    let held = node.proxy("web").unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(Arc::ptr_eq(&held, &node.proxy("web").unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_told_and_the_pod_served_when_it_is_free() {
    let Some(lab) = Lab::build("taken ports") else { return };
    let directory = tempfile::tempdir().unwrap();
    let agent = FakeAgent::listen(&directory.path().join(SOCKET));
    let old = Node::start(&directory.path().join(SOCKET));
    let to_old = agent.accept().await;
    assert_eq!(to_old.add("u0", "shop/cart", lab.pods[0].as_fd()).await, "");
    assert_eq!(to_old.snapshot_sent().await, "");
    // An upgrade: the new process gets everything, the old one nothing but deletions.
    let new = Node::start(&directory.path().join(SOCKET));
    let to_new = agent.accept().await;
    let answer = to_new.add("u0", "shop/cart", lab.pods[0].as_fd()).await;
    assert!(answer.contains("15001") && answer.contains("another node proxy"), "{answer}");
    assert_eq!(to_new.add("u1", "shop/web", lab.pods[1].as_fd()).await, "");
    assert_eq!(to_new.snapshot_sent().await, "");
    assert!(until(|| matches!(new.state("u0"), Some(State::Failed(_)))).await, "it is pending");
    assert_eq!((to_old.del("u7").await, to_new.del("u7").await), (String::new(), String::new()));
    assert!(old.proxy("cart").is_some());
    old.end().await;
    assert!(until(|| new.state("u0") == Some(State::Enrolled)).await);
    assert_eq!(to_old.answer().await, None, "the old process has hung up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_restarts_or_breaks_the_protocol_costs_no_pod() {
    let Some(lab) = Lab::build("an agent's restart") else { return };
    let directory = tempfile::tempdir().unwrap();
    let agent = FakeAgent::listen(&directory.path().join(SOCKET));
    let node = Node::start(&directory.path().join(SOCKET));
    let proxy = agent.accept().await;
    for (uid, pod, netns) in [("u0", "shop/cart", &lab.pods[0]), ("u1", "shop/web", &lab.pods[1])] {
        assert_eq!(proxy.add(uid, pod, netns.as_fd()).await, "");
    }
    assert_eq!(proxy.snapshot_sent().await, "");
    let held = node.proxy("cart").unwrap();
    proxy.tell(&[0xff], &[]);
    assert!(!proxy.answer().await.unwrap().is_empty());
    assert_eq!(proxy.answer().await, None);
    let proxy = agent.accept().await;
    assert!(!node.readiness.is_ready());
    drop((proxy, agent));
    let agent = FakeAgent::listen(&directory.path().join(SOCKET));
    let proxy = agent.accept().await;
    assert!(node.proxy("web").is_some());
    // It has lost the namespace of one, and the other is gone.
    assert_eq!(proxy.keep("u0").await, "");
    assert_eq!(proxy.snapshot_sent().await, "");
    assert!(until(|| node.state("u1").is_none()).await);
    assert!(node.readiness.is_ready());
    assert!(Arc::ptr_eq(&held, &node.proxy("cart").unwrap()));
    assert_eq!(proxy.add("u0", "shop/cart", lab.pods[0].as_fd()).await, "", "the same once more");
    assert!(Arc::ptr_eq(&held, &node.proxy("cart").unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_another_proxy_a_pod_is_served_once_it_can_be() {
    let Some(lab) = Lab::build("beside another proxy") else { return };
    let directory = tempfile::tempdir().unwrap();
    let agent = FakeAgent::listen(&directory.path().join(SOCKET));
    // Another proxy's listeners, which nobody serves.
    let foreign = |port: u16| move || socket::listen_beside(([0, 0, 0, 0], port).into(), 0).unwrap();
    let of_foreign: Vec<_> =
        [15001, 15006, 15008].map(|port| lab.pods[1].run(foreign(port)).unwrap()).into_iter().collect();
    let mut node = Node::start_as(&directory.path().join(SOCKET), true);
    let proxy = agent.accept().await;
    let answer = proxy.add("u1", "shop/web", lab.pods[1].as_fd()).await;
    assert!(answer.contains("the mesh's record of it is not here yet"), "{answer}");
    assert!(node.proxy("web").is_none(), "nothing is bound before");
    node.mesh(vec![workload("web", &[address(1, false), address(1, true)])]);
    assert_eq!(proxy.add("u1", "shop/web", lab.pods[1].as_fd()).await, "");
    assert_eq!(proxy.snapshot_sent().await, "");
    drop(of_foreign);
    // The other proxy is gone: everything comes here.
    let to = SocketAddr::new(address(1, false), 80);
    let app = plain_tcp::listen(&lab.pods[1], to).await.unwrap();
    for _ in 0..5 {
        connect(&lab.router, to, &app).await;
    }
    node.end().await;
}
