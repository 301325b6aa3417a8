use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::admin::istio::{Dump, Version};
use crate::admin::{Asked, MetricsSite, NoAnswer, Order, Page, Pages, ReadySite, ReadyWords};
use crate::runtime::ready::Readiness;
use crate::runtime::shutdown::{Phase, Shutdown};
use crate::telemetry::metrics::{Config, Metrics};

struct Server {
    address: SocketAddr,
    drain: CancellationToken,
    run: tokio::task::JoinHandle<io::Result<()>>,
}

#[expect(clippy::disallowed_methods, reason = "the test is the owner of its server")]
fn start(site: impl Site) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (drain, force) = (CancellationToken::new(), CancellationToken::new());
    let places = places(Handle::current(), Panics::default(), &drain, &force);
    Server { address, drain, run: tokio::spawn(serve(listener, Arc::new(site), places)) }
}

#[expect(clippy::disallowed_methods, reason = "a client of the test, in the test's own namespace")]
async fn dial(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// A request by a real client: status, content type, body.
#[expect(clippy::disallowed_methods, reason = "the client's connection ends with the test")]
async fn fetch(server: &Server, method: Method, path: &str, accept: &str) -> (u16, String, String) {
    let io = TokioIo::new(dial(server.address).await);
    let (mut send, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::builder().method(method).uri(path).header("host", "x").header("accept", accept);
    let response = send.send_request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let kind = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, kind, String::from_utf8(body.to_vec()).unwrap())
}

async fn get(server: &Server, path: &str) -> (u16, String) {
    let (status, _, body) = fetch(server, Method::GET, path, "*/*").await;
    (status, body)
}

fn pages() -> Pages {
    let pods = Page::new("pods", "pods of this node", || serde_json::json!([{"name": "web/a"}]));
    let policies = Page::new("policies", "policies & scopes", || serde_json::json!({}));
    let echo = Asked::new("echo", "what was asked", |query| match query {
        "" => Err(NoAnswer { status: StatusCode::BAD_REQUEST, message: "ask <something>".into() }),
        query => Ok(query.into()),
    });
    Pages::new("1.2.3", vec![pods, policies], vec![echo])
}

#[tokio::test]
async fn the_admin_page_and_its_dumps() {
    let server = start(pages());
    let (status, kind, index) = fetch(&server, Method::GET, "/", "*/*").await;
    assert_eq!((status, kind.as_str()), (200, "text/html; charset=utf-8"));
    assert!(index.contains("<a href=\"/pods\">/pods</a> pods of this node"), "{index}");
    assert!(index.contains("policies &amp; scopes"), "{index}");
    let (status, kind, pods) = fetch(&server, Method::GET, "/pods", "*/*").await;
    assert_eq!((status, kind.as_str()), (200, "application/json"));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&pods).unwrap()[0]["name"], "web/a");
    let (_, dump) = get(&server, "/config_dump?pretty").await;
    let dump: serde_json::Value = serde_json::from_str(&dump).unwrap();
    assert_eq!(dump["pods"][0]["name"], "web/a");
    assert_eq!(dump["version"], "1.2.3");
}

#[tokio::test]
async fn questions_are_answered_from_their_query() {
    let server = start(pages());
    assert_eq!(get(&server, "/echo?a=b/c:1&d=[::1]").await, (200, "\"a=b/c:1&d=[::1]\"\n".into()));
    for path in ["/echo", "/echo?"] {
        let (status, kind, body) = fetch(&server, Method::GET, path, "*/*").await;
        assert_eq!((status, kind.as_str()), (400, "application/json"), "{path}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap()["error"], "ask <something>");
    }
    assert_eq!(fetch(&server, Method::POST, "/echo?a", "*/*").await.0, 405);
    assert!(get(&server, "/").await.1.contains("/echo</a> what was asked"));
    // A dump of everything asks nothing.
    let (_, dump) = get(&server, "/config_dump").await;
    assert!(serde_json::from_str::<serde_json::Value>(&dump).unwrap().get("echo").is_none(), "{dump}");
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let server = start(pages());
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        assert_eq!(fetch(&server, method.clone(), "/pods", "*/*").await.0, 405, "{method}");
    }
    assert_eq!(fetch(&server, Method::POST, "/nothing", "*/*").await.0, 404);
    for path in ["/nothing", "/pods/", "//pods", "/metrics"] {
        assert_eq!(get(&server, path).await.0, 404, "{path}");
    }
    let (status, _, body) = fetch(&server, Method::HEAD, "/pods", "*/*").await;
    assert_eq!((status, body.as_str()), (200, ""));
}

/// As Istio's node proxy: its index and its dump answer whatever the method is. Our own pages are read.
#[tokio::test]
async fn istios_index_and_dump_take_any_method() {
    let dump = || Dump {
        view: crate::mesh::channel().1.view(),
        certificates: Vec::new(),
        pods: Default::default(),
        static_config: serde_json::Value::Null,
        version: Version::of_this_build(None),
        config: serde_json::Value::Null,
        more: Default::default(),
    };
    let server = start(pages().with_dump(dump));
    for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        for path in ["/", "/config_dump"] {
            let (status, _, body) = fetch(&server, method.clone(), path, "*/*").await;
            assert!(status == 200 && !body.is_empty(), "{method} {path}: {status}");
        }
        let read = if method == Method::GET { 200 } else { 405 };
        assert_eq!(fetch(&server, method.clone(), "/dump", "*/*").await.0, read, "{method}");
    }
    let own = start(pages());
    for path in ["/", "/config_dump"] {
        assert_eq!(fetch(&own, Method::POST, path, "*/*").await.0, 405, "{path}");
    }
}

#[tokio::test]
async fn readiness_tells_the_phase_and_what_is_pending() {
    let (readiness, shutdown) = (Readiness::default(), Shutdown::new());
    let server = start(ReadySite { readiness: readiness.clone(), shutdown: shutdown.clone(), words: ReadyWords::Own });
    let manifests = readiness.condition("manifests loaded");
    let check = async |status: u16, body: &str| {
        assert_eq!(get(&server, "/healthz/ready").await, (status, format!("{body}\n")));
    };
    check(503, "not ready: starting, pending: manifests loaded").await;
    manifests.meet();
    check(503, "not ready: starting").await;
    shutdown.advance(Phase::Ready);
    check(200, "ready").await;
    manifests.lose("gone");
    check(503, "not ready: ready, pending: manifests loaded (gone)").await;
    manifests.meet();
    shutdown.advance(Phase::Draining);
    check(503, "not ready: draining").await;
    assert_eq!(fetch(&server, Method::POST, "/healthz/ready", "*/*").await.0, 405);
}

#[tokio::test]
async fn metrics_follow_accept() {
    let server = start(MetricsSite::new(Metrics::new(Config { series_budget: 10 }, "1.2.3")));
    for path in ["/metrics", "/stats/prometheus"] {
        let (status, kind, body) =
            fetch(&server, Method::GET, path, "application/openmetrics-text;version=1.0.0").await;
        assert_eq!(status, 200);
        assert!(kind.starts_with("application/openmetrics-text") && body.ends_with("# EOF\n"), "{kind}");
        let (_, kind, body) = fetch(&server, Method::GET, path, "text/plain").await;
        assert!(kind.starts_with("text/plain") && body.contains("istio_build{"), "{kind}");
    }
    assert_eq!(get(&server, "/pods").await.0, 404);
}

#[tokio::test]
async fn garbage_and_floods_of_headers_end_their_own_connection() {
    let server = start(pages());
    let flood = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(20_000));
    for bytes in ["\u{0}\u{1}nonsense\r\n\r\n", "GET\r\n\r\n", &flood] {
        let mut stream = dial(server.address).await;
        // The server may close before all is written.
        drop(stream.write_all(bytes.as_bytes()).await);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(get(&server, "/").await.0, 200);
}

#[tokio::test]
async fn connections_are_bounded_and_stalled_ones_time_out() {
    let server = start(pages());
    let mut stalled = Vec::new();
    for _ in 0..CONNECTIONS {
        stalled.push(dial(server.address).await);
    }
    // One more is accepted and closed at once; the kernel keeps the order of arrival.
    let mut refused = dial(server.address).await;
    assert!(!matches!(refused.read(&mut [0; 16]).await, Ok(1..)), "an answer came beyond the limit");
    // The stalled ones are closed at the head's deadline, which gives their places back.
    for mut stream in stalled {
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest).await);
    }
    assert_eq!(get(&server, "/").await.0, 200);
}

#[tokio::test]
async fn a_drain_ends_the_server() {
    let server = start(pages());
    assert_eq!(get(&server, "/").await.0, 200);
    server.drain.cancel();
    server.run.await.unwrap().unwrap();
    assert!(std::net::TcpStream::connect(server.address).is_err());
}

#[tokio::test]
async fn readiness_in_istios_words() {
    let (readiness, shutdown) = (Readiness::default(), Shutdown::new());
    let words = ReadyWords::Istio;
    let server = start(ReadySite { readiness: readiness.clone(), shutdown: shutdown.clone(), words });
    let state = readiness.condition("state manager");
    // As the node has them: the agent's snapshot, and the enrolment of what it named.
    let (named, enrolled) = (readiness.condition("workload proxy manager"), readiness.condition("pods enrolled"));
    let check = async |status: u16, body: &str| {
        assert_eq!(get(&server, "/healthz/ready").await, (status, body.to_owned()));
    };
    check(500, "not ready, pending: proxy, state manager, workload proxy manager\n").await;
    shutdown.advance(Phase::Ready);
    check(500, "not ready, pending: state manager, workload proxy manager\n").await;
    state.meet();
    named.meet();
    enrolled.lose("web/a: a reason that stays in the log");
    check(500, "not ready, pending: workload proxy manager\n").await;
    enrolled.meet();
    check(200, "ready\n").await;
    named.lose("the node agent hung up");
    check(500, "not ready, pending: workload proxy manager\n").await;
    named.meet();
    shutdown.advance(Phase::Draining);
    check(500, "not ready, pending: proxy\n").await;
    assert_eq!(fetch(&server, Method::POST, "/healthz/ready", "*/*").await.0, 405);
    assert_eq!(get(&server, "/").await.0, 404);
    assert_eq!(get(&server, "/ready").await.0, 503);
}

#[tokio::test]
async fn the_heap_has_no_profile_and_says_so() {
    use crate::admin::istio::{heap, heap_profiling};
    let server = start(pages().with_orders(vec![heap(), heap_profiling()]));
    for method in [Method::GET, Method::POST] {
        let (status, _, body) = fetch(&server, method.clone(), "/debug/pprof/heap", "*/*").await;
        assert_eq!((status, body.as_str()), (500, "this build has no profile of the heap: its allocator keeps none\n"));
        for query in ["", "?activate=true", "?activate=false", "?activate=perhaps"] {
            let path = format!("/debug/pprof/heap/profiling{query}");
            let (status, _, body) = fetch(&server, method.clone(), &path, "*/*").await;
            assert_eq!((status, body.as_str()), (200, "heap profiling active: false\n"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn orders_take_post_alone_and_not_from_a_browsers_page() {
    let orders = vec![
        Order::new("stop", "stops", Verb::Order, |query| Answer::text(StatusCode::OK, format!("did {query}"))),
        Order::new("debug/x", "any", Verb::Any, |_| Answer::text(StatusCode::OK, "seen")),
    ];
    let server = start(pages().with_orders(orders));
    let (status, _, body) = fetch(&server, Method::POST, "/stop?it", "*/*").await;
    assert_eq!((status, body.as_str()), (200, "did it"));
    assert_eq!(get(&server, "/stop").await.0, 405);
    assert_eq!(fetch(&server, Method::POST, "/debug/x", "*/*").await.2, "seen");
    assert_eq!(get(&server, "/debug/x").await.1, "seen");
    assert!(get(&server, "/").await.1.contains("/stop</a> stops"));
    let mut stream = dial(server.address).await;
    stream.write_all(b"POST /stop HTTP/1.1\r\nhost: x\r\norigin: http://evil.example\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test]
async fn a_written_body_arrives_whole_or_is_cut() {
    let text = || (0..300_000).map(|n| format!("{n}\n")).collect::<String>();
    let orders = vec![
        Order::new("all", "", Verb::Any, move |_| {
            let write = move |out: &mut crate::admin::Sink| io::Write::write_all(out, text().as_bytes());
            Answer::new(StatusCode::OK, "text/plain", Body::written(write))
        }),
        Order::new("half", "", Verb::Any, |_| {
            let write = |out: &mut crate::admin::Sink| {
                io::Write::write_all(out, b"half")?;
                Err(io::Error::other("the rest is not there"))
            };
            Answer::new(StatusCode::OK, "text/plain", Body::written(write))
        }),
    ];
    let server = start(pages().with_orders(orders));
    assert_eq!(get(&server, "/all").await, (200, text()));
    let mut stream = dial(server.address).await;
    stream.write_all(b"GET /half HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    // Without the last chunk, whose length is 0, a client knows that it is not all.
    assert!(!answer.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_scrape_is_packed_for_who_takes_it() {
    let server = start(MetricsSite::new(Metrics::new(Config { series_budget: 10 }, "1.2.3")));
    let ask = async |accepts: &str| {
        let mut stream = dial(server.address).await;
        let head = format!("GET /metrics HTTP/1.1\r\nhost: x\r\naccept-encoding: {accepts}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        (String::from_utf8(answer[..end].to_vec()).unwrap(), answer[end..].to_vec())
    };
    for (accepts, coding) in [("br", "br"), ("deflate;q=0.5, zstd", "zstd"), ("deflate", "deflate")] {
        let (head, body) = ask(accepts).await;
        assert!(head.contains(&format!("content-encoding: {coding}\r\n")), "{accepts}: {head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{accepts}: {head}");
    }
    for accepts in ["gzip", "br;q=0.4, gzip;q=0.5", "br;q=0,*", "GZIP"] {
        let (head, body) = ask(accepts).await;
        assert!(head.contains("content-encoding: gzip\r\n"), "{accepts}: {head}");
        let mut text = String::new();
        io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*body), &mut text).unwrap();
        assert!(text.contains("istio_build{"), "{text}");
    }
    for accepts in ["identity", "gzip;q=0", "compress", ""] {
        let (head, body) = ask(accepts).await;
        assert!(!head.contains("content-encoding"), "{accepts}: {head}");
        assert!(String::from_utf8(body).unwrap().contains("istio_build{"));
    }
}
