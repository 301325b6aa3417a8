mod demands;
mod kept;
mod storms;

use std::pin::Pin;
use std::sync::atomic::Ordering;

use super::super::demand::{Answer, Key};
use super::super::simulated::{
    Counts, Mesh, Plane, Stream, broken, of_policy, of_service, of_workload, policy, response, service, workload,
};
use super::super::{Keep, KeepSettings};
use super::*;

const ADDRESS: Kind = Kind::Address;
const AUTHORIZATION: Kind = Kind::Authorization;

type Streams = mpsc::UnboundedReceiver<Stream>;

/// A client, and what is around it.
struct Scene {
    client: Client<Plane, Mesh>,
    mesh: Mesh,
    plane: Plane,
    streams: Streams,
    counts: Counts,
    status: watch::Receiver<Status>,
}

fn scene(on_demand: bool, keep: Option<Keep>) -> Scene {
    let (plane, streams) = Plane::new();
    let (mesh, counts) = (Mesh::default(), Counts::default());
    let metadata = [("NODE_NAME".to_owned(), serde_json::json!("node-1"))].into();
    let settings =
        Settings { node_id: "ztunnel~10.0.0.1~z.i~i.svc.cluster.local".into(), metadata, on_demand, random: || 0.5 };
    let client = Client::new(settings, plane.clone(), mesh.clone(), counts.clone(), keep);
    let status = client.status();
    Scene { client, mesh, plane, streams, counts, status }
}

/// Runs the client while the test lasts, and waits for its end.
fn play<'a>(
    client: Client<Plane, Mesh>,
    test: impl Future<Output = ()> + 'a,
) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    Box::pin(async move {
        let stop = CancellationToken::new();
        let test = async {
            test.await;
            stop.cancel();
        };
        tokio::join!(client.run(stop.clone()), test);
    })
}

/// Takes the two first requests of a stream and answers them.
async fn greet(streams: &mut Streams) -> (Stream, Vec<Request>) {
    let mut stream = streams.recv().await.unwrap();
    let first = vec![stream.request().await, stream.request().await];
    stream.send(response(ADDRESS, "a1", vec![of_workload(&workload("uid-1", "10.0.0.1"), "1")], &[])).await;
    stream.send(response(AUTHORIZATION, "p1", vec![of_policy(&policy("p"))], &[])).await;
    for nonce in ["a1", "p1"] {
        let reply = stream.request().await;
        assert_eq!((reply.response_nonce.as_str(), &reply.error_detail), (nonce, &None));
    }
    (stream, first)
}

#[tokio::test(start_paused = true)]
async fn a_first_sync() {
    let Scene { client, mesh, mut streams, counts, status, .. } = scene(false, None);
    play(client, async {
        assert!(!status.borrow().ready());
        let mut stream = streams.recv().await.unwrap();
        assert_eq!(stream.metadata.get("authorization").unwrap(), "Bearer token");
        for kind in Kind::ALL {
            let request = stream.request().await;
            assert_eq!(request.type_url, kind.url());
            let node = request.node.unwrap();
            assert_eq!(node.metadata.unwrap().text("NODE_NAME"), Some("node-1"));
        }
        let good = [of_workload(&workload("uid-1", "10.0.0.1"), "1"), of_service(&service("web", "10.9.0.1"), "1")];
        stream.send(response(ADDRESS, "1", [&good[..], &[broken(ADDRESS, "uid-9")]].concat(), &[])).await;
        let reply = stream.request().await;
        assert_eq!(reply.response_nonce, "1");
        assert!(reply.error_detail.unwrap().message.starts_with("uid-9: "));
        assert_eq!(mesh.names(), ["uid-1", "shop/web"]);
        assert!(!status.borrow().address.synced, "who is at uid-9 would be a stranger");
        stream.send(response(AUTHORIZATION, "2", vec![], &[])).await;
        assert_eq!(stream.request().await.response_nonce, "2");
        assert!(status.borrow().authorization.synced && !status.borrow().ready());
        assert_eq!(status.borrow().address.missing, 1);
        stream.send(response(ADDRESS, "2b", vec![], &["uid-9"])).await;
        assert_eq!(stream.request().await.response_nonce, "2b");
        let now = status.borrow().clone();
        assert!(now.ready() && now.synced() && !now.restored && now.connected_since.is_some());
        assert_eq!((now.address.held, now.authorization.held), (2, 0));
        stream.send(response(ADDRESS, "3", vec![], &["shop/web"])).await;
        stream.request().await;
        assert_eq!(mesh.names(), ["uid-1"]);
    })
    .await;
    let counts = counts.0.lock().unwrap().join(" ");
    assert!(counts.starts_with("Address refused 1 Authorization Address Address"), "{counts}");
}

#[tokio::test(start_paused = true)]
async fn nobody_sees_half_of_a_response() {
    let Scene { client, mesh, mut streams, .. } = scene(false, None);
    play(client, async {
        let mut stream = streams.recv().await.unwrap();
        stream.request().await;
        stream.request().await;
        let many = (0..2 * PART).map(|n| of_workload(&workload(&format!("uid-{n}"), "10.0.0.1"), "1"));
        // The last part is empty: nothing of it can be taken.
        let resources = many.chain([broken(ADDRESS, "bad")]).collect();
        stream.send(response(ADDRESS, "1", resources, &[])).await;
        let look = async {
            loop {
                let seen = mesh.names().len();
                assert!(seen == 0 || seen == 2 * PART, "{seen}");
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            reply = stream.request() => assert_eq!(reply.response_nonce, "1"),
            () = look => {}
        }
        assert_eq!(mesh.names().len(), 2 * PART);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_told_on_the_next_stream() {
    let Scene { client, mesh, mut streams, counts, status, .. } = scene(false, None);
    play(client, async {
        let (stream, first) = greet(&mut streams).await;
        assert!(first.iter().all(|request| request.initial_resource_versions.is_empty()));
        tokio::time::sleep(Duration::from_secs(1800)).await;
        let closed = Instant::now();
        drop(stream);
        let mut stream = streams.recv().await.unwrap();
        assert_eq!(closed.elapsed(), Duration::ZERO, "at once");
        let versions: Vec<_> = [stream.request().await, stream.request().await].into_iter().collect();
        assert_eq!(versions[0].initial_resource_versions["uid-1"], "1");
        assert_eq!(versions[1].initial_resource_versions["shop/p"], "");
        assert!(versions.iter().all(|request| request.node.is_some() && request.response_nonce.is_empty()));
        assert!(status.borrow().ready() && status.borrow().connected_since.is_none());
        // It was removed meanwhile.
        stream.send(response(ADDRESS, "n", vec![], &["uid-1"])).await;
        assert_eq!(stream.request().await.response_nonce, "n");
        assert_eq!(mesh.names(), ["shop/p"]);
        assert!(status.borrow().connected_since.is_some());
    })
    .await;
    assert!(counts.0.lock().unwrap().contains(&"Complete".to_owned()));
}

/// The same conversation, with the stream cut before each message in turn, in either direction.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_cut_at_every_message() {
    let script = || {
        let first =
            vec![of_workload(&workload("uid-1", "10.0.0.1"), "1"), of_workload(&workload("uid-2", "10.0.0.2"), "1")];
        [
            response(ADDRESS, "1", first, &[]),
            response(AUTHORIZATION, "2", vec![of_policy(&policy("p"))], &[]),
            response(ADDRESS, "3", vec![of_service(&service("web", "10.9.0.1"), "1")], &["uid-2"]),
        ]
    };
    // Two first requests, then a response and its answer three times.
    for cut in 0..=8 {
        let Scene { client, mesh, mut streams, status, .. } = scene(false, None);
        play(client, async {
            let mut stream = streams.recv().await.unwrap();
            for _ in 0..cut.min(2) {
                stream.request().await;
            }
            for (at, response) in (2..).step_by(2).zip(script()) {
                if cut > at {
                    stream.send(response).await;
                }
                if cut > at + 1 {
                    stream.request().await;
                }
            }
            drop(stream);
            let mut stream = streams.recv().await.unwrap();
            let held = stream.request().await.initial_resource_versions;
            stream.request().await;
            // A server that answers what it is told: the difference.
            let gone: Vec<_> = held.keys().filter(|name| *name == "uid-2").map(String::as_str).collect();
            let all = [of_workload(&workload("uid-1", "10.0.0.1"), "1"), of_service(&service("web", "10.9.0.1"), "1")];
            let new = all.into_iter().filter(|resource| held.get(&resource.name) != Some(&resource.version)).collect();
            stream.send(response(ADDRESS, "4", new, &gone)).await;
            stream.send(response(AUTHORIZATION, "5", vec![of_policy(&policy("p"))], &[])).await;
            assert_eq!(stream.request().await.response_nonce, "4", "nothing of the old stream");
            assert_eq!(stream.request().await.response_nonce, "5");
            assert_eq!(mesh.names(), ["uid-1", "shop/web", "shop/p"], "cut before message {cut}");
            assert!(status.borrow().synced());
        })
        .await;
    }
}

#[tokio::test]
async fn over_a_real_server() {
    use tonic::transport::Endpoint;
    use tower::Service;
    /// Connects through a pair of pipes to a server that is made for it.
    struct Piped(Plane, tokio::task::JoinSet<()>);
    impl Connect for Piped {
        type Service = tonic::transport::Channel;
        async fn connect(&mut self) -> Result<super::super::Dialled<Self::Service>, ConnectError> {
            let (near, far) = tokio::io::duplex(1 << 16);
            let plane = self.0.clone();
            self.1.spawn(async move {
                let answer = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| {
                    plane.clone().call(request.map(tonic::body::Body::new))
                });
                let server = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
                // Its end is the test's.
                drop(server.serve_connection(hyper_util::rt::TokioIo::new(far), answer).await);
            });
            let mut near = Some(near);
            let connector = tower::service_fn(move |_| {
                let near = near.take().ok_or_else(|| std::io::Error::other("one connection"));
                async move { near.map(hyper_util::rt::TokioIo::new) }
            });
            let service = Endpoint::from_static("http://plane").connect_with_connector(connector).await?;
            Ok(super::super::Dialled { service, metadata: tonic::metadata::MetadataMap::new() })
        }
    }
    let Scene { mut streams, plane, .. } = scene(false, None);
    let (mesh, stop) = (Mesh::default(), CancellationToken::new());
    let settings = Settings { node_id: "z".into(), metadata: BTreeMap::new(), on_demand: false, random: || 0.5 };
    let piped = Piped(plane, tokio::task::JoinSet::new());
    let client = Client::new(settings, piped, mesh.clone(), Counts::default(), None);
    let test = async {
        let (stream, _) = greet(&mut streams).await;
        // Larger than what is taken by default, 4 MiB.
        let mut stream = stream;
        let many = (0..20_000).map(|n| of_workload(&workload(&format!("{n:0>200}"), "10.0.0.1"), "1")).collect();
        stream.send(response(ADDRESS, "many", many, &[])).await;
        assert_eq!(stream.request().await.response_nonce, "many");
        assert_eq!(mesh.names().len(), 20_002);
        stream.fail(GrpcStatus::unavailable("going away")).await;
        let mut stream = streams.recv().await.unwrap();
        // As many names of 200 bytes as have room in 3 MiB.
        let told = stream.request().await.initial_resource_versions.len();
        assert!((14_000..15_000).contains(&told), "{told}");
        stop.cancel();
    };
    let both = async { tokio::join!(client.run(stop.clone()), test) };
    timeout(Duration::from_secs(120), Box::pin(both)).await.unwrap();
}
