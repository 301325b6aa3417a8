//! Over the loopback, with a service that says who called.

use std::future::ready;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

use super::calling::{ask, channel};
use super::crowd::MOST;
use super::*;
use crate::runtime::Panics;
use crate::runtime::tasks::{Drained, Tasks};
use crate::telemetry::metrics::{self, Metrics, table};
use crate::tls::NamedAcceptor;
use crate::tls::fixture::TestCa;

/// Tokens are the names of nodes.
struct Believing;

impl Authenticate for Believing {
    fn authenticate(&self, token: &str) -> Result<Caller, Unauthenticated> {
        if token == "stranger" { Err(Unauthenticated("a stranger")) } else { Ok(Caller::node(token)) }
    }
}

struct WhoAmI;

impl Service for WhoAmI {
    fn name(&self) -> &'static str {
        "test.WhoAmI"
    }

    fn call(&self, _: &str, request: http::Request<Body>) -> Answering {
        Box::pin(async move { Grpc::new(ProstCodec::default()).unary(Self, request).await })
    }
}

impl UnaryService<String> for WhoAmI {
    type Response = String;
    type Future = std::future::Ready<Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        assert!(request.extensions().get::<Closing>().is_some());
        let caller = request.extensions().get::<Caller>().unwrap().name.to_string();
        ready(Ok(Response::new(caller)))
    }
}

struct Running {
    address: SocketAddr,
    roots: Vec<Vec<u8>>,
    connections: Tasks,
    metrics: Metrics,
}

fn start(limit: usize, age: Duration) -> Running {
    let ca = TestCa::new();
    let issued = ca.named(&["server.example"]);
    let (_, acceptor) = watch::channel(NamedAcceptor::new(&issued).unwrap());
    let metrics = Metrics::new(metrics::Config { series_budget: 100 }, "test");
    let token = CancellationToken::new;
    let tasks = |limit| Tasks::new("test", limit, Handle::current(), Panics::default(), &token(), &token());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = tasks(limit);
    let server = Server {
        listener,
        acceptor,
        router: Arc::new(Router::new(vec![Box::new(WhoAmI)], Arc::new(Believing), metrics.clone())),
        connections: connections.clone(),
        streams: tasks(100),
        config: Config { age },
        metrics: metrics.clone(),
    };
    tasks(1).spawn(async move { server.run().await.unwrap() }).unwrap();
    Running { address, roots: vec![ca.root], connections, metrics }
}

const PATH: &str = "/test.WhoAmI/Ask";
const LONG: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_token_reaches_its_service_and_nothing_else_does() {
    let server = start(10, LONG);
    let channel = channel(server.address, &server.roots, "server.example").await.unwrap();
    let who = |token, path| ask::<String, String>(&channel, token, path, String::new());
    assert_eq!(who(Some("node-1"), PATH).await.unwrap(), "node-1");
    let code = |result: Result<String, Status>| result.unwrap_err().code();
    assert_eq!(code(who(None, PATH).await), Code::Unauthenticated);
    assert_eq!(code(who(Some("stranger"), PATH).await), Code::Unauthenticated);
    assert_eq!(code(who(Some("node-1"), "/test.Other/Ask").await), Code::Unimplemented);
    assert_eq!(code(who(None, "/test.Other/Ask").await), Code::Unauthenticated, "strangers learn nothing");
    assert_eq!(server.metrics.counter(table::GRPC_REFUSALS, ["token"]).value(), 3);
    drop(channel);
    assert_eq!(server.connections.drain(Duration::from_secs(30)).await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_name_or_root_is_not_believed() {
    let server = start(10, LONG);
    assert!(channel(server.address, &server.roots, "other.example").await.is_err());
    assert!(channel(server.address, &[TestCa::new().root], "server.example").await.is_err());
    // Bytes that are no TLS cost their sender its connection.
    let mut plain = TcpStream::connect(server.address).unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).ok();
    let channel = channel(server.address, &server.roots, "server.example").await.unwrap();
    assert!(ask::<String, String>(&channel, Some("a"), PATH, String::new()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_bounded() {
    let server = start(2, LONG);
    let silent: Vec<_> = (0..2).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    while server.connections.len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(channel(server.address, &server.roots, "server.example").await.is_err());
    assert!(server.metrics.counter(table::GRPC_REFUSALS, ["full"]).value() >= 1);
    drop(silent);
    while !server.connections.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let channel = channel(server.address, &server.roots, "server.example").await.unwrap();
    assert!(ask::<String, String>(&channel, Some("a"), PATH, String::new()).await.is_ok());
}

/// One token, stolen or gone wild, and every other node is served all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_one_caller_are_bounded() {
    let server = start(MOST + 8, LONG);
    let dial = || channel(server.address, &server.roots, "server.example");
    let mut open = Vec::new();
    for _ in 0..MOST {
        let channel = dial().await.unwrap();
        // Any path will do, and a second request of one connection is not another one.
        assert_eq!(ask::<String, String>(&channel, Some("a"), PATH, String::new()).await.unwrap(), "a");
        ask::<String, String>(&channel, Some("a"), "/test.Other/Ask", String::new()).await.unwrap_err();
        open.push(channel);
    }
    for _ in 0..20 {
        let more = dial().await.unwrap();
        let refused = ask::<String, String>(&more, Some("a"), PATH, String::new()).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "and its place is given back, or this would be `full`");
        drop(more);
    }
    assert_eq!(server.metrics.counter(table::GRPC_REFUSALS, ["caller"]).value(), 20);
    let other = dial().await.unwrap();
    assert_eq!(ask::<String, String>(&other, Some("b"), PATH, String::new()).await.unwrap(), "b");
    open.pop();
    let again = async {
        loop {
            let channel = dial().await.unwrap();
            if ask::<String, String>(&channel, Some("a"), PATH, String::new()).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_say_nothing_hold_up_nobody() {
    let server = start(300, LONG);
    // Four turns of all.
    let began = tokio::time::Instant::now();
    let silent: Vec<_> = (0..256).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    while server.connections.len() < silent.len() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let channel = channel(server.address, &server.roots, "server.example").await.unwrap();
    assert!(ask::<String, String>(&channel, Some("a"), PATH, String::new()).await.is_ok());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    drop(silent);
}

/// What a client of the server says first.
async fn hello(roots: &[Vec<u8>]) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let record = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut record = vec![0; 5];
        stream.read_exact(&mut record).unwrap();
        let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
        record.resize(5 + length, 0);
        stream.read_exact(&mut record[5..]).unwrap();
        record
    });
    let (dialled, record) = tokio::join!(channel(address, roots, "server.example"), record);
    assert!(dialled.is_err());
    record.unwrap()
}

/// A turn is for computing: neither who sends one byte nor who does not answer the server's part has one for longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_begin_and_stop_hold_up_nobody() {
    let server = start(600, LONG);
    let hello = hello(&server.roots).await;
    let (one, most) = (&hello[..1], &hello[..hello.len() - 1]);
    for said in [one, most, &hello] {
        let stopped: Vec<_> = (0..512).map(|_| TcpStream::connect(server.address).unwrap()).collect();
        for mut stream in &stopped {
            stream.write_all(said).unwrap();
        }
        while server.connections.len() < stopped.len() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // 512 turns of a second each would be eight seconds with 64 of them.
        let began = tokio::time::Instant::now();
        let channel = channel(server.address, &server.roots, "server.example").await.unwrap();
        assert!(ask::<String, String>(&channel, Some("a"), PATH, String::new()).await.is_ok());
        assert!(began.elapsed() < Duration::from_secs(4), "{} bytes: {:?}", said.len(), began.elapsed());
        drop(stopped);
        drop(channel);
        while !server.connections.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_of_age_is_made_anew_without_a_lost_request() {
    let server = start(10, Duration::from_millis(20));
    let channel = channel(server.address, &server.roots, "server.example").await.unwrap();
    let start = tokio::time::Instant::now();
    // The first one may be younger than its proof asks for: whoever has a token is not cut in the middle.
    while start.elapsed() < Duration::from_secs(1) {
        let answer = ask::<String, String>(&channel, Some("a"), PATH, String::new()).await;
        assert_eq!(answer.unwrap(), "a");
    }
}
