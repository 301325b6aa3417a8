//! Addresses of Services that come, go and change: one address twice, endpoints that are not ready, and more Services
//! than metrics have room for.

use culvert::role::demo::app::{self, Reply};

use crate::bed::{Bed, PATIENCE, run, series, until};
use crate::services::{service, to, topology};

/// Series that one metric may have, here.
const ROOM: usize = 20;
const MANY: usize = 40;
/// Two Services have it.
const TWICE: &str = "10.96.0.20";

async fn ask(bed: &Bed, ip: &str) -> Option<Reply> {
    app::get(bed.netns("client"), to(ip, 80), "-", PATIENCE).await.ok()
}

/// The Service that takes a request to [`TWICE`], once one does.
async fn owner(bed: &Bed) -> Option<String> {
    let marks = bed.marks();
    let reply = ask(bed, TWICE).await?;
    let line = bed.access(marks, "outbound", "client", &reply.answer.pod).await;
    Some(line["dst.service"].as_str()?.split('.').next()?.to_owned())
}

/// The one that answers goes, the other one does: either way round.
async fn one_address_of_two(bed: &Bed) {
    let file = |name: &str| format!("{name}.yaml");
    let put = |name: &str| bed.put(&file(name), &service("demo", name, &[TWICE], "web", &[(80, "8080")]));
    put("one");
    put("two");
    until("its address is known", async || ask(bed, TWICE).await.is_some()).await;
    for _ in 0..2 {
        let first = owner(bed).await.expect("one of the two answers");
        let other = if first == "one" { "two" } else { "one" };
        bed.remove(&file(&first));
        until("the other one answers", async || owner(bed).await.as_deref() == Some(other)).await;
        put(&first);
    }
    for name in ["one", "two"] {
        bed.remove(&file(name));
    }
}

/// Endpoints that are not ready are called as long as the Service wants it, and whenever it does again.
async fn not_ready_and_wanted(bed: &Bed) {
    for pod in ["near", "far"] {
        let file = format!("pod-demo-{pod}.yaml");
        let text = std::fs::read_to_string(bed.manifests().directory().join(&file)).unwrap();
        bed.put(&file, &text.replace("status: \"True\"", "status: \"False\""));
    }
    let plain = service("demo", "web", &["10.96.0.10"], "web", &[(80, "8080")]);
    let anyway = plain.replace("spec:\n", "spec:\n  publishNotReadyAddresses: true\n");
    assert_ne!(plain, anyway);
    for (text, answers) in [(&plain, false), (&anyway, true), (&plain, false), (&anyway, true)] {
        bed.put("web.yaml", text);
        let what = if answers { "pods that are not ready answer" } else { "nobody is ready" };
        until(what, async || ask(bed, "10.96.0.10").await.is_some() == answers).await;
    }
}

#[test]
fn services_that_share_an_address_that_come_again_and_that_are_many() {
    run("vips", &topology(), async |bed| {
        let address = |number: usize| format!("10.96.1.{}", number + 1);
        let many = |number| service("demo", &format!("s{number}"), &[&address(number)], "web", &[(80, "8080")]);
        bed.put("many.yaml", &(0..MANY).map(many).collect::<Vec<_>>().join("---\n"));
        bed.start(&[("metrics-series", &ROOM.to_string())]).await;
        one_address_of_two(bed).await;
        for number in 0..MANY {
            assert!(ask(bed, &address(number)).await.is_some(), "{}", address(number));
        }
        let name = "istio_tcp_connections_opened_total";
        // Lines and metrics come after the answer.
        until("each is counted", async || bed.metric("node-a", name, &[]).await >= MANY as f64).await;
        let text = bed.metrics("node-a").await.unwrap();
        let all = series(&text, name, &[]);
        assert!(all.len() <= ROOM + 1, "{} series", all.len());
        let beyond: f64 = all.iter().filter(|(of, _)| of.contains("overflow")).map(|(_, value)| value).sum();
        assert!(beyond >= (MANY - ROOM) as f64, "{beyond} of {MANY} had no room: {all:?}");
        not_ready_and_wanted(bed).await;
    });
}
