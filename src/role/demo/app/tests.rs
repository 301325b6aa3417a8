use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::*;
use crate::role::demo::lab::{LabPod, Topology};
use crate::sys::child::{Child, Output};
use crate::sys::kernel_tests;
use crate::sys::named_netns;
use crate::sys::netns::Netns;
use crate::sys::plain_tcp;

const PATIENCE: Duration = Duration::from_secs(5);

/// A namespace with nothing but a loopback, taken away at the end.
struct Alone {
    name: String,
    netns: Netns,
}

impl Alone {
    fn new(test: &str) -> Self {
        let name = format!("culvert-app-{test}-{}", std::process::id());
        let netns = named_netns::create(&name).unwrap();
        Self { name, netns }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        drop(named_netns::delete(&self.name));
    }
}

fn home(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn run(test: impl AsyncFnOnce()) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test());
}

/// Runs `test` beside a server in a namespace of its own.
fn served(name: &str, test: impl AsyncFnOnce(&Netns)) {
    if !kernel_tests::may_run("the programs of a lab") {
        return;
    }
    let alone = Alone::new(name);
    run(async || {
        let server = Server::bind(&alone.netns, "pod", &[HTTP_PORT, 9090]).await.unwrap();
        tokio::select! {
            () = server.run() => panic!("the server ended"),
            () = test(&alone.netns) => {}
        }
    });
}

#[test]
fn an_answer_repeats_the_marker_and_both_addresses() {
    served("answer", async |netns| {
        await_listening(netns, home(HTTP_PORT), PATIENCE).await.unwrap();
        for to in [home(HTTP_PORT), home(9090), SocketAddr::new("::1".parse().unwrap(), HTTP_PORT)] {
            let answer = get_path(netns, to, "/any?x=1", "a marker", PATIENCE).await.unwrap().answer;
            assert_eq!((answer.local, answer.source.ip()), (to, to.ip()));
            assert_eq!((answer.marker.as_deref(), answer.path.as_str()), (Some("a marker"), "/any"));
            assert_eq!((answer.received, answer.verified), (0, true));
        }
    });
}

/// Sends `request` and gives all that comes back until the server closes.
async fn raw(netns: &Netns, request: &[u8]) -> String {
    let mut stream = client::connect(netns, home(HTTP_PORT)).await.unwrap();
    stream.write_all(request).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn an_upload_is_counted_and_checked() {
    served("upload", async |netns| {
        let mut body = Pattern::default().take(70_000);
        for verified in [true, false] {
            let mut request = b"POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 70000\r\n\r\n".to_vec();
            request.extend(&body);
            let answer = raw(netns, &request).await;
            assert!(answer.contains(&format!("\"received\":70000,\"verified\":{verified}")), "{answer}");
            body[69_999] ^= 1;
        }
    });
}

#[test]
fn downloads_are_the_pattern_and_as_long_as_asked() {
    served("download", async |netns| {
        let answer = raw(netns, b"GET /bytes?n=100 HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(answer.contains("content-length: 100\r\n"), "{answer}");
        let answer = raw(netns, b"GET /slow?seconds=0 HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(answer.contains("content-length: 0\r\n"), "{answer}");
        let mut stream = client::connect(netns, home(HTTP_PORT)).await.unwrap();
        stream.write_all(b"GET /slow?seconds=1 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut got = Vec::new();
        while !got.windows(4).any(|end| end == b"\r\n\r\n") {
            got.push(stream.read_u8().await.unwrap());
        }
        let text = String::from_utf8(got).unwrap();
        assert!(text.contains("content-length: 51200\r\n"), "{text}");
        let mut bytes = vec![0; 2000];
        stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(Pattern::default().verify(&bytes), Ok(()));
    });
}

#[test]
fn transfers_each_way_go_on_and_end_in_order() {
    served("trickle", async |netns| {
        for way in [Way::Download, Way::Echo, Way::Upload] {
            let mut trickle = Trickle::start(netns, home(STREAM_PORT), way, PATIENCE).await.unwrap();
            let before = trickle.verified();
            let total = trickle.advance(3000, PATIENCE).await.unwrap();
            assert!(total >= before + 3000, "{way:?}");
            assert!(trickle.finish(PATIENCE).await.unwrap() >= total, "{way:?}");
        }
    });
}

/// Starts a transfer against a far end that does `misdeed` with its connection.
fn cut(name: &str, way: Way, misdeed: impl AsyncFnOnce(tokio::net::TcpStream), expected: Refusal) {
    if !kernel_tests::may_run("transfers that are cut") {
        return;
    }
    let alone = Alone::new(name);
    run(async || {
        let listener = plain_tcp::listen(&alone.netns, home(STREAM_PORT)).await.unwrap();
        let far = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut letter = [0; 1];
            stream.read_exact(&mut letter).await.unwrap();
            misdeed(stream).await;
            std::future::pending::<()>().await;
        };
        let near = async {
            match Trickle::start(&alone.netns, home(STREAM_PORT), way, PATIENCE).await {
                Ok(mut trickle) => trickle.advance(1 << 30, Duration::from_secs(2)).await.unwrap_err().refusal,
                Err(refused) => refused.refusal,
            }
        };
        tokio::select! {
            () = far => {}
            refusal = near => assert_eq!(refusal, expected, "{way:?}"),
        }
    });
}

#[test]
fn a_transfer_notices_an_end_a_reset_a_foreign_byte_and_silence() {
    cut("end", Way::Download, async |stream| drop(stream), Refusal::Closed);
    cut("end-up", Way::Upload, async |mut stream| stream.shutdown().await.unwrap(), Refusal::Closed);
    cut("reset", Way::Echo, async |stream| plain_tcp::reset_on_close(&stream).unwrap(), Refusal::Reset);
    cut(
        "foreign",
        Way::Download,
        async |mut stream| {
            let mut bytes = Pattern::default().take(1000);
            bytes[700] ^= 0x20;
            stream.write_all(&bytes).await.unwrap();
            std::future::pending::<()>().await;
        },
        Refusal::Garbled,
    );
    cut(
        "silence",
        Way::Download,
        async |mut stream| {
            stream.write_all(&Pattern::default().take(10)).await.unwrap();
            std::future::pending::<()>().await;
        },
        Refusal::Timeout,
    );
}

#[test]
fn each_kind_of_refusal_has_its_name() {
    if !kernel_tests::may_run("refusals") {
        return;
    }
    let alone = Alone::new("refusal");
    run(async || {
        let ask = async |to| get(&alone.netns, to, "", PATIENCE).await.unwrap_err();
        let refused = ask(home(9)).await;
        assert_eq!((refused.refusal, refused.stage), (Refusal::Refused, Stage::Connecting));
        let refused = ask("10.0.0.1:80".parse().unwrap()).await;
        assert_eq!((refused.refusal, refused.stage), (Refusal::Unreachable, Stage::Connecting));
        let told = await_listening(&alone.netns, home(9), Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(told.refusal, Refusal::Refused);

        let listener = plain_tcp::listen(&alone.netns, home(80)).await.unwrap();
        // A connection that the far end leaves lying in its backlog.
        let refused = get(&alone.netns, home(80), "", Duration::from_secs(1)).await.unwrap_err();
        assert_eq!((refused.refusal, refused.stage), (Refusal::Timeout, Stage::Waiting));
        drop(listener.accept().await.unwrap());
        for (answer, expected) in [
            ("", Refusal::Closed),
            ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", Refusal::Closed),
            ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhtml", Refusal::Garbled),
            ("SSH-2.0-else\r\n", Refusal::Garbled),
            ("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", Refusal::Status(503)),
            ("reset", Refusal::Reset),
        ] {
            let far = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let _length = stream.read(&mut request).await.unwrap();
                if answer == "reset" {
                    plain_tcp::reset_on_close(&stream).unwrap();
                } else {
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            };
            let (refused, ()) = tokio::join!(get(&alone.netns, home(80), "", PATIENCE), far);
            let refused = refused.unwrap_err();
            assert_eq!((refused.refusal, refused.stage), (expected, Stage::Waiting), "{answer:?}: {refused:?}");
        }
    });
}

#[test]
fn a_flood_is_counted_and_held_connections_are_alive() {
    served("flood", async |netns| {
        let report = flood(netns, home(HTTP_PORT), 50, 4, PATIENCE).await;
        assert_eq!((report.answered, report.refused.len()), (200, 0), "{report:?}");
        let report = flood(netns, home(9), 3, 1, PATIENCE).await;
        assert_eq!((report.answered, report.refused.get(&Refusal::Refused)), (0, Some(&3)), "{report:?}");
        let mut held = hold(netns, home(ECHO_PORT), 150, PATIENCE).await.unwrap();
        assert_eq!((held.len(), held.alive(PATIENCE).await), (150, 150));
        assert_eq!(hold(netns, home(9), 3, PATIENCE).await.err(), Some(Refusal::Refused));
    });
}

#[derive(clap::Parser)]
#[command(name = "culvert", no_binary_name = true)]
enum Line {
    DemoApp(Args),
}

/// Only does something when the next test starts it as a process of its own.
#[test]
#[expect(clippy::disallowed_methods, reason = "how a test tells a process of its own what to run")]
fn program_of_a_pod() {
    let Ok(words) = std::env::var("APP_ARGUMENTS") else { return };
    let Line::DemoApp(arguments) = clap::Parser::parse_from(words.split(' '));
    super::run(arguments).unwrap();
}

#[test]
fn the_program_of_a_pod_runs_as_a_process_in_its_namespace() {
    if !kernel_tests::may_run("the program of a pod") {
        return;
    }
    let alone = Alone::new("process");
    let plan = Topology::demo().plan("lab").unwrap().pods.remove(0);
    let pod = LabPod { plan, netns: alone.netns.clone() };
    let mut program = program(&std::env::current_exe().unwrap(), &["demo-app"], &pod, Output::Nothing);
    assert_eq!(program.arguments, ["demo-app", "serve", "--name", "client"]);
    program.environment = vec![("APP_ARGUMENTS".into(), program.arguments.join(" "))];
    program.arguments = ["--exact", "role::demo::app::tests::program_of_a_pod"].map(Into::into).into();
    let mut child = Child::start(&program).unwrap();
    run(async || {
        await_listening(&alone.netns, home(HTTP_PORT), PATIENCE).await.unwrap();
        let answer = get(&alone.netns, home(HTTP_PORT), "m", PATIENCE).await.unwrap().answer;
        assert_eq!((answer.pod.as_str(), answer.marker.as_deref()), ("client", Some("m")));
    });
    child.stop(PATIENCE).unwrap();
}

#[test]
fn an_echo_closes_after_its_client_and_loses_nothing() {
    served("echo", async |netns| {
        let stream = client::connect(netns, home(ECHO_PORT)).await.unwrap();
        let (mut read, mut write) = stream.into_split();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            write.write_all(&Pattern::default().take(300_000)).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let mut all = Vec::new();
        read.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), 300_000);
        assert_eq!(Pattern::default().verify(&all), Ok(()));
    });
}
