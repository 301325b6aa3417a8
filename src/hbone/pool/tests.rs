use super::*;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::hbone::server::Connection;
use crate::hbone::settings;
use crate::hbone::simulated::{address, pipe, plenty, request, spawn};
use crate::model::spiffe::Identity;
use crate::tls::fixture::id;

/// What happens to one dial; [`Act::Serve`] when nothing was planned.
#[derive(Clone, Debug)]
enum Act {
    Fail(Duration),
    Hang,
    Panic,
    Serve,
    /// Accepts and never says a word of HTTP/2.
    Silent,
    Slow(Duration),
    /// Accepts and takes not one byte.
    Stuck,
}

#[derive(Debug, thiserror::Error)]
#[error("dial {0} failed, as planned")]
struct DialError(usize);

#[derive(Default)]
struct Peers {
    dials: AtomicUsize,
    limit: Option<u32>,
    open: Arc<AtomicUsize>,
    drain: Mutex<CancellationToken>,
    plan: Mutex<VecDeque<Act>>,
    silent: Mutex<Vec<DuplexStream>>,
    /// Cancelled to cut, and to retire, the connections that were dialled with them.
    watch: Mutex<(CancellationToken, CancellationToken)>,
}

struct Dialler(Arc<Peers>);

impl Dial for Dialler {
    type Stream = DuplexStream;
    type Error = DialError;

    async fn dial(&self, _: &Key) -> Result<DuplexStream, DialError> {
        let peers = &self.0;
        let number = peers.dials.fetch_add(1, Ordering::Relaxed);
        let act = peers.plan.lock().unwrap().pop_front().unwrap_or(Act::Serve);
        match act {
            Act::Fail(wait) => {
                sleep(wait).await;
                return Err(DialError(number));
            }
            Act::Hang => std::future::pending().await,
            Act::Panic => panic!("a dialler that panics, as planned"),
            Act::Serve | Act::Silent | Act::Stuck => {}
            Act::Slow(wait) => sleep(wait).await,
        }
        let (near, far) = if matches!(act, Act::Stuck) { tokio::io::duplex(1) } else { pipe() };
        if matches!(act, Act::Silent | Act::Stuck) {
            peers.silent.lock().unwrap().push(far);
            return Ok(near);
        }
        let (limit, open, drain) = (peers.limit, Arc::clone(&peers.open), peers.drain.lock().unwrap().clone());
        spawn(async move {
            open.fetch_add(1, Ordering::Relaxed);
            let mut builder = settings::server(settings::Sizes::default());
            builder.max_concurrent_streams(limit.unwrap_or(settings::SERVER_STREAMS));
            if let Ok(connection) = builder.handshake(far).await {
                let echo = |incoming: crate::hbone::server::Incoming| {
                    spawn(async move {
                        let Ok(mut stream) = incoming.accept(None) else { return };
                        while let Ok(mut bytes) = stream.recv.recv().await {
                            stream.recv.release(bytes.len());
                            if stream.send.send(&mut bytes).await.is_err() {
                                return;
                            }
                        }
                        stream.send.finish().ok();
                    });
                };
                drop(Connection::new(connection, &plenty()).run(drain, echo).await);
            }
            open.fetch_sub(1, Ordering::Relaxed);
        });
        Ok(near)
    }

    fn peer(_: &DuplexStream) -> Option<Identity> {
        Some(id("server"))
    }

    fn watch(&self, _: &DuplexStream) -> Watch {
        let (cut, retire) = self.0.watch.lock().unwrap().clone();
        Watch { cut: Box::pin(cut.cancelled_owned()), retire: Box::pin(retire.cancelled_owned()) }
    }
}

struct Lab {
    peers: Arc<Peers>,
    pool: Pool<DialError>,
    shutdown: CancellationToken,
}

fn lab_with(peers: Peers, config: Config) -> Lab {
    let peers = Arc::new(peers);
    let (pool, task) = Pool::build(config, plenty(), Dialler(Arc::clone(&peers)));
    let shutdown = CancellationToken::new();
    spawn(task.run(shutdown.clone()));
    Lab { peers, pool, shutdown }
}

fn lab(acts: &[Act]) -> Lab {
    lab_with(Peers { plan: Mutex::new(acts.iter().cloned().collect()), ..Peers::default() }, Config::default())
}

fn limited(limit: u32) -> Lab {
    lab_with(Peers { limit: Some(limit), ..Peers::default() }, Config::default())
}

fn key_from(source_ip: &str) -> Arc<Key> {
    Arc::new(Key::new(id("client"), [id("server")], address(), source_ip.parse().unwrap(), "server".into()))
}

fn key() -> Arc<Key> {
    key_from("10.0.0.1")
}

type Connecting = JoinHandle<Result<TunnelStream, PoolError<DialError>>>;

impl Lab {
    fn start(&self, key: &Arc<Key>) -> Connecting {
        let (pool, key) = (self.pool.clone(), Arc::clone(key));
        spawn(async move { pool.connect(&key, &request()).await.map(|(stream, _)| stream) })
    }

    async fn many(&self, key: &Arc<Key>, count: usize) -> Vec<TunnelStream> {
        let started: Vec<_> = (0..count).map(|_| self.start(key)).collect();
        let mut streams = Vec::new();
        for connecting in started {
            streams.push(connecting.await.unwrap().unwrap());
        }
        streams
    }

    fn dials(&self) -> usize {
        self.peers.dials.load(Ordering::Relaxed)
    }

    fn open(&self) -> usize {
        self.peers.open.load(Ordering::Relaxed)
    }
}

async fn settle() {
    sleep(Duration::from_millis(10)).await;
}

async fn echoes(stream: &mut TunnelStream) {
    stream.send.send(&mut bytes::Bytes::from_static(b"ping")).await.unwrap();
    assert_eq!(&stream.recv.recv().await.unwrap()[..], b"ping");
    stream.recv.release(4);
}

#[test]
fn a_key_s_identities_are_a_set() {
    let key =
        |expected: Vec<Identity>| Key::new(id("a"), expected, address(), "10.0.0.1".parse().unwrap(), "server".into());
    assert_eq!(key(vec![id("x"), id("y"), id("x")]), key(vec![id("y"), id("x")]));
    assert_ne!(key(vec![id("x")]), key(vec![id("x"), id("y")]));
}

#[tokio::test(start_paused = true)]
async fn another_workload_at_the_address_is_another_key() {
    let lab = lab(&[]);
    // Both may prove the same identities: those that their service names.
    let of = |holder: &str| {
        let expected = [id("server"), id("other")];
        Arc::new(Key::new(id("client"), expected, address(), "10.0.0.1".parse().unwrap(), holder.into()))
    };
    let (mut first, answer) = lab.pool.connect(&of("before"), &request()).await.unwrap();
    assert_eq!(answer.peer, Some(id("server")), "who was proven, of those that were expected");
    echoes(&mut first).await;
    drop(first);
    settle().await;
    let _again = lab.pool.connect(&of("before"), &request()).await.unwrap();
    assert_eq!(lab.dials(), 1, "the same workload has the idle tunnel");
    let _second = lab.pool.connect(&of("after"), &request()).await.unwrap();
    assert_eq!((lab.dials(), lab.pool.connections()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn callers_at_once_share_one_connection_and_later_ones_use_it_again() {
    let lab = lab(&[]);
    let mut streams = lab.many(&key(), 100).await;
    assert_eq!((lab.dials(), lab.pool.connections()), (1, 1));
    for stream in &mut streams {
        echoes(stream).await;
    }
    drop(streams);
    settle().await;
    drop(lab.many(&key(), 2).await);
    assert_eq!(lab.dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn source_addresses_do_not_share() {
    let lab = lab(&[]);
    let mut held = Vec::new();
    for ip in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
        held.push(lab.many(&key_from(ip), 100).await);
    }
    assert_eq!((lab.dials(), lab.open()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn the_peer_s_limit_is_obeyed_and_a_full_connection_is_used_again() {
    let lab = limited(2);
    let mut streams = lab.many(&key(), 4).await;
    assert_eq!(lab.open(), 2);
    for stream in &mut streams {
        echoes(stream).await;
    }
    drop(streams.split_off(3));
    settle().await;
    streams.extend(lab.many(&key(), 1).await);
    assert_eq!(lab.dials(), 2, "its room was used again");
    streams.extend(lab.many(&key(), 1).await);
    assert_eq!(lab.dials(), 3);
    let one = limited(1);
    assert_eq!(one.many(&key(), 3).await.len(), 3);
    assert_eq!(one.open(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_failed_dial_is_told_to_all_who_waited_and_the_next_starts_anew() {
    let wait = Duration::from_secs(3);
    let lab = lab(&[Act::Fail(wait)]);
    let begun = Instant::now();
    let started: Vec<_> = (0..50).map(|_| lab.start(&key())).collect();
    for connecting in started {
        let error = connecting.await.unwrap().unwrap_err();
        assert!(matches!(&error, PoolError::Dial { source, .. } if source.0 == 0), "{error:?}");
    }
    assert_eq!((begun.elapsed(), lab.dials()), (wait, 1), "one dial, and nobody waited for another");
    assert_eq!(lab.many(&key(), 1).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_hangs_or_panics_ends_too() {
    let lab = lab(&[Act::Hang, Act::Panic]);
    let begun = Instant::now();
    let error = lab.start(&key()).await.unwrap().unwrap_err();
    assert!(matches!(error, PoolError::DialTimeout { .. }), "{error:?}");
    assert_eq!(begun.elapsed(), Config::default().dial);
    assert!(matches!(lab.start(&key()).await.unwrap(), Err(PoolError::Closed)));
    assert_eq!(lab.many(&key(), 1).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_takes_nothing_from_the_others() {
    let lab = lab(&[Act::Slow(Duration::from_secs(1))]);
    let first = lab.start(&key());
    settle().await;
    let others: Vec<_> = (0..5).map(|_| lab.start(&key())).collect();
    settle().await;
    first.abort();
    others[0].abort();
    for connecting in others.into_iter().skip(1) {
        echoes(&mut connecting.await.unwrap().unwrap()).await;
    }
    assert_eq!(lab.dials(), 1);

    // All go away: the connection is there for the next.
    let other = key_from("10.0.0.9");
    lab.peers.plan.lock().unwrap().push_back(Act::Slow(Duration::from_secs(1)));
    let only = lab.start(&other);
    settle().await;
    only.abort();
    sleep(Duration::from_secs(2)).await;
    lab.many(&other, 1).await;
    assert_eq!(lab.dials(), 2);
}

#[tokio::test(start_paused = true)]
async fn goaway_sends_new_streams_elsewhere_and_lets_the_old_go_on() {
    let lab = lab(&[]);
    let mut old = lab.many(&key(), 1).await.swap_remove(0);
    let drain = std::mem::take(&mut *lab.peers.drain.lock().unwrap());
    drain.cancel();
    // At once, in the race with GOAWAY: refused by the old one unseen, tried again on another.
    let mut new = lab.many(&key(), 1).await.swap_remove(0);
    assert_eq!(lab.dials(), 2);
    echoes(&mut new).await;
    echoes(&mut old).await;
    drop(old);
    settle().await;
    assert_eq!(lab.open(), 1, "the old one ended with its last stream");
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_given_back_and_busy_ones_never() {
    let lab = lab(&[]);
    let idle = Config::default().idle;
    let held = lab.many(&key(), 1).await;
    drop(lab.many(&key_from("10.0.0.2"), 1).await);
    settle().await;
    sleep(idle - Duration::from_secs(1)).await;
    assert_eq!(lab.open(), 2);
    // Used again: its time starts anew.
    drop(lab.many(&key_from("10.0.0.2"), 1).await);
    sleep(idle - Duration::from_secs(1)).await;
    assert_eq!(lab.open(), 2);
    sleep(Duration::from_secs(2)).await;
    assert_eq!((lab.open(), lab.pool.connections()), (1, 1));
    sleep(idle * 10).await;
    assert_eq!(lab.open(), 1);
    drop(held);
    sleep(idle + Duration::from_secs(1)).await;
    assert_eq!((lab.open(), lab.pool.connections()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn of_what_a_burst_leaves_behind_one_stays_for_long() {
    let lab = lab(&[]);
    let idle = Config::default().idle;
    drop(lab.many(&key(), CLIENT_STREAMS * 3).await);
    settle().await;
    let left = lab.open();
    assert!(left >= 3, "{left}");
    sleep(Duration::from_secs(19)).await;
    assert_eq!(lab.open(), left);
    sleep(Duration::from_secs(2)).await;
    assert_eq!((lab.open(), lab.pool.connections()), (1, 1));
    sleep(idle - Duration::from_secs(25)).await;
    assert_eq!(lab.open(), 1, "the last one has its whole time");
    sleep(Duration::from_secs(25)).await;
    assert_eq!(lab.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn connections_and_waiters_are_bounded_and_the_longest_idle_makes_room() {
    let config = Config { max_connections: 2, max_waiters: 3, ..Config::default() };
    let lab = lab_with(Peers::default(), config);
    let held = lab.many(&key_from("10.0.0.1"), 1).await;
    drop(lab.many(&key_from("10.0.0.2"), 1).await);
    settle().await;
    let other = lab.many(&key_from("10.0.0.3"), 1).await;
    settle().await;
    assert_eq!((lab.pool.connections(), lab.open()), (2, 2));
    let error = lab.start(&key_from("10.0.0.4")).await.unwrap().unwrap_err();
    assert!(matches!(error, PoolError::Full { limit: 2 }), "{error:?}");
    drop((held, other));
    settle().await;
    lab.peers.plan.lock().unwrap().push_back(Act::Hang);
    let waiting: Vec<_> = (0..4).map(|_| lab.start(&key_from("10.0.0.5"))).collect();
    settle().await;
    let done = waiting.iter().filter(|connecting| connecting.is_finished()).count();
    assert_eq!(done, 1, "the fourth is turned away at once");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_speaks_http_2_is_given_up_by_all_who_wait() {
    let lab = lab(&[Act::Silent]);
    let begun = Instant::now();
    let started: Vec<_> = (0..5).map(|_| lab.start(&key())).collect();
    for connecting in started {
        let error = connecting.await.unwrap().unwrap_err();
        assert!(matches!(error, PoolError::Open { .. } | PoolError::Tunnel { .. }), "{error:?}");
    }
    assert_eq!((begun.elapsed(), lab.dials()), (settings::SETTINGS, 1));
    assert_eq!(lab.many(&key(), 1).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_no_bytes_is_given_up_as_a_dial_is() {
    let lab = lab(&[Act::Stuck]);
    let begun = Instant::now();
    let error =
        timeout(Duration::from_secs(60), lab.start(&key())).await.expect("it has a limit").unwrap().unwrap_err();
    assert!(matches!(error, PoolError::DialTimeout { .. }), "{error:?}");
    assert_eq!(begun.elapsed(), Config::default().dial);
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_connections_and_answers_waiters() {
    let lab = lab(&[Act::Serve, Act::Hang]);
    let mut stream = lab.many(&key(), 1).await.swap_remove(0);
    let waiting = lab.start(&key_from("10.0.0.2"));
    settle().await;
    lab.shutdown.cancel();
    assert!(matches!(waiting.await.unwrap(), Err(PoolError::Closed)));
    assert!(stream.recv.recv().await.is_err());
    assert!(matches!(lab.start(&key()).await.unwrap(), Err(PoolError::Closed)));
    settle().await;
    assert_eq!(lab.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_takes_so_many_streams_for_so_long() {
    let config = Config { max_streams: 2, fresh: Some(Duration::from_secs(10)), ..Config::default() };
    let lab = lab_with(Peers::default(), config);
    let mut held = lab.many(&key(), 2).await;
    assert_eq!(lab.open(), 1, "two of two places on one connection");
    let third = lab.many(&key(), 1).await;
    assert_eq!(lab.open(), 2);
    sleep(Duration::from_secs(9)).await;
    let fourth = lab.many(&key(), 1).await;
    assert_eq!(lab.open(), 2);
    drop((third, fourth));
    sleep(Duration::from_secs(2)).await;
    // The one that is idle by now has served for long enough, too.
    held.extend(lab.many(&key(), 1).await);
    assert_eq!((lab.dials(), lab.pool.connections()), (3, 1));
    for stream in &mut held {
        echoes(stream).await;
    }
    settle().await;
    assert_eq!(lab.open(), 2, "what was held lives on, what was idle is closed");
}

#[tokio::test(start_paused = true)]
async fn a_retired_connection_keeps_its_streams_and_takes_no_more() {
    let lab = lab(&[]);
    let key = key();
    let mut first = lab.many(&key, 1).await.remove(0);
    let (_, retire) = lab.peers.watch.lock().unwrap().clone();
    *lab.peers.watch.lock().unwrap() = Default::default();
    retire.cancel();
    sleep(Duration::from_millis(10)).await;
    assert_eq!(lab.pool.connections(), 0, "out of the books");
    let second = lab.many(&key, 1).await.remove(0);
    assert_eq!(lab.peers.dials.load(Ordering::Relaxed), 2, "what is new goes elsewhere");
    // The stream lives on, both ways.
    first.send.send(&mut bytes::Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(&first.recv.recv().await.unwrap()[..], b"x");
    assert_eq!(lab.peers.open.load(Ordering::Relaxed), 2);
    drop(first);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(lab.peers.open.load(Ordering::Relaxed), 1, "it ends with its last stream");
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_cut_takes_its_streams_with_it_and_tells_them_first() {
    let lab = lab(&[]);
    let key = key();
    let (mut stream, answer) = lab.pool.connect(&key, &request()).await.unwrap();
    assert!(!answer.cut.is_cancelled());
    let (cut, _) = lab.peers.watch.lock().unwrap().clone();
    *lab.peers.watch.lock().unwrap() = Default::default();
    cut.cancel();
    assert!(stream.recv.recv().await.is_err());
    assert!(answer.cut.is_cancelled(), "its user knows why");
    let (_stream, answer) = lab.pool.connect(&key, &request()).await.unwrap();
    assert!(!answer.cut.is_cancelled());
    assert_eq!(lab.peers.dials.load(Ordering::Relaxed), 2);
}
