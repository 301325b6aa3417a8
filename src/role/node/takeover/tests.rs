//! The two sides against each other and against noise, with paused time.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::giver::Giver;
use super::message::{Answer, Ask, VERSION, decode, encode};
use super::*;
use crate::sys::handover::Meeting;
use crate::sys::netns::NetnsId;
use crate::sys::seqpacket::SeqPacket;

const NOWHERE: NetnsId = NetnsId { device: 1, inode: 2 };

fn node(name: &str) -> Node {
    Node { name: name.into(), cluster: "c".into() }
}

struct Bed {
    path: PathBuf,
    meeting: Meeting,
    giver: Giver,
    _directory: tempfile::TempDir,
}

fn bed() -> Bed {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.sock");
    let meeting = Meeting::hold(&path).unwrap();
    let giver = Giver { node: node("a"), stands: Arc::default(), pages: CancellationToken::new() };
    Bed { path, meeting, giver, _directory: directory }
}

/// What the process says how far it is, as the test sets it.
fn stage(of: &Arc<AtomicU8>) -> impl Fn() -> Progress + Send + use<> {
    let of = Arc::clone(of);
    move || [Progress::Unable, Progress::Partly, Progress::Able][usize::from(of.load(Ordering::Relaxed))]
}

#[tokio::test(start_paused = true)]
async fn the_new_process_takes_over_when_it_is_able_and_not_before() {
    for (pages, last) in [(true, 2), (false, 1)] {
        let Bed { path, meeting, giver, _directory } = bed();
        let (stands, released, at) = (Arc::clone(&giver.stands), giver.pages.clone(), Arc::new(AtomicU8::new(0)));
        let stop = CancellationToken::new();
        let (given, ()) = tokio::join!(giver.run(meeting, stop), async {
            let new = Predecessor::find(&path, node("a")).await.unwrap().unwrap();
            let taker = new.taker();
            let wait = async {
                assert!(taker.sockets(&"u".into(), NOWHERE).await.is_empty(), "a pod that nobody serves");
                // It cannot serve a pod for longer than anybody may be silent.
                tokio::time::sleep(Duration::from_secs(300)).await;
                assert!(!taker.begin().is_cancelled() && !stands.retired().is_cancelled());
                at.store(last, Ordering::Relaxed);
            };
            let (unsure, ()) = tokio::join!(new.run(stage(&at), pages), wait);
            assert!(unsure.is_none());
            assert!(taker.begin().is_cancelled() && stands.retired().is_cancelled());
            assert_eq!(released.is_cancelled(), pages);
            assert!(taker.sockets(&"u".into(), NOWHERE).await.is_empty(), "at once, when there is nobody to ask");
        });
        assert!(given);
    }
}

#[tokio::test(start_paused = true)]
async fn one_pod_that_cannot_be_served_does_not_hold_it_up_for_ever() {
    let Bed { path, meeting, giver, _directory } = bed();
    let stop = CancellationToken::new();
    let started = Instant::now();
    let (given, ()) = tokio::join!(giver.run(meeting, stop), async {
        let new = Predecessor::find(&path, node("a")).await.unwrap().unwrap();
        assert!(new.run(|| Progress::Partly, false).await.is_none());
    });
    assert!(given && started.elapsed() >= taker::GRACE && started.elapsed() < 2 * taker::GRACE);
}

#[tokio::test(start_paused = true)]
async fn another_node_is_turned_away_and_nobody_is_nobody() {
    let Bed { path, meeting, giver, _directory } = bed();
    let (stop, stands) = (CancellationToken::new(), Arc::clone(&giver.stands));
    let (given, ()) = tokio::join!(giver.run(meeting, stop.clone()), async {
        let error = Predecessor::find(&path, node("b")).await.map(drop).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("node a") && error.contains("end this process first"), "{error}");
        stop.cancel();
    });
    assert!(!given && !stands.retired().is_cancelled());
    assert!(Predecessor::find(&path, node("a")).await.unwrap().is_none(), "its file is still there");
    assert!(Predecessor::find(&path.with_extension("not"), node("a")).await.unwrap().is_none());
}

/// Whoever ends in the middle, or says nothing, or says nonsense, the other goes on.
#[tokio::test(start_paused = true)]
async fn the_old_process_goes_on_when_the_new_one_breaks() {
    let Bed { path, meeting, giver, _directory } = bed();
    let (stop, stands) = (CancellationToken::new(), Arc::clone(&giver.stands));
    let hello = encode(&Ask::Hello { version: VERSION, node: node("a") }).unwrap();
    let (given, ()) = tokio::join!(giver.run(meeting, stop), async {
        for said in [&b"nonsense"[..], &encode(&Ask::Wait).unwrap()] {
            let line = Meeting::join(&path).unwrap();
            line.send(said).await.unwrap();
            assert!(line.receive().await.unwrap().is_none(), "hung up on");
        }
        // Silent from the first; after hello; and gone.
        let silent = Meeting::join(&path).unwrap();
        assert!(silent.receive().await.unwrap().is_none());
        let line = Meeting::join(&path).unwrap();
        line.send(&hello).await.unwrap();
        assert_eq!(heard(&line).await, Answer::Welcome);
        assert!(line.receive().await.unwrap().is_none());
        drop(Meeting::join(&path).unwrap());
        assert!(!stands.retired().is_cancelled());
        let new = Predecessor::find(&path, node("a")).await.unwrap().unwrap();
        assert!(new.run(|| Progress::Able, false).await.is_none());
    });
    assert!(given);
}

async fn heard(line: &SeqPacket) -> Answer {
    decode(&line.receive().await.unwrap().unwrap().bytes).unwrap()
}

/// Whoever is gone serves nobody; one that broke off may, so what is shared is left to it by a process that cannot serve.
#[tokio::test(start_paused = true)]
async fn the_new_process_serves_when_the_old_one_is_gone_and_else_when_it_can() {
    // It ends, says something unasked, is silent when it is asked, or answers something else.
    for way in 0..5 {
        let Bed { path, meeting, giver: _, _directory } = bed();
        let old = async {
            let line = meeting.next().await.unwrap();
            line.receive().await.unwrap();
            line.send(&encode(&Answer::Welcome).unwrap()).await.unwrap();
            match way {
                0 => {}
                1 => line.send(&encode(&Answer::Retired).unwrap()).await.unwrap(),
                2 => tokio::time::sleep(Duration::from_secs(100)).await,
                3 => {
                    line.receive().await.unwrap();
                    line.send(b"{}").await.unwrap();
                    line.receive().await.ok();
                }
                _ => {
                    line.receive().await.unwrap();
                    line.send(&encode(&Answer::Sockets { count: 3 }).unwrap()).await.unwrap();
                    line.receive().await.ok();
                }
            }
        };
        let new = async {
            let new = Predecessor::find(&path, node("a")).await.unwrap().unwrap();
            let (taker, at, pages) = (new.taker(), Arc::new(AtomicU8::new(0)), way % 2 == 0);
            let (handed, unsure) = tokio::join!(
                async { if way < 2 { None } else { Some(taker.sockets(&"u".into(), NOWHERE).await) } },
                new.run(stage(&at), pages)
            );
            assert!(handed.is_none_or(|handed| handed.is_empty()));
            assert_eq!(taker.begin().is_cancelled(), way == 0, "{way}");
            let Some(unsure) = unsure else { return assert_eq!(way, 0) };
            let (broke, able) = (Instant::now(), if way < 3 { 2 } else { 1 });
            let later = async {
                tokio::time::sleep(Duration::from_secs(300)).await;
                assert!(!taker.begin().is_cancelled(), "{way}: it could refuse only");
                at.store(able, Ordering::Relaxed);
            };
            tokio::join!(unsure.wait(), later);
            assert!(taker.begin().is_cancelled(), "{way}: it serves what it has");
            assert!(broke.elapsed() < Duration::from_secs(310));
        };
        tokio::join!(old, new);
    }
}

/// Its ports are bound when they are free; the others' sockets are taken over.
#[tokio::test(start_paused = true)]
async fn a_socket_that_is_unfit_costs_its_own_pod_alone() {
    let Bed { path, meeting, giver: _, _directory } = bed();
    let (unfit, _) = std::os::unix::net::UnixStream::pair().unwrap();
    let old = async {
        let line = meeting.next().await.unwrap();
        line.receive().await.unwrap();
        line.send(&encode(&Answer::Welcome).unwrap()).await.unwrap();
        line.receive().await.unwrap();
        line.send_with(&encode(&Answer::Sockets { count: 1 }).unwrap(), &[unfit.as_fd()]).await.unwrap();
        line.receive().await.unwrap();
        line.send(&encode(&Answer::Sockets { count: 0 }).unwrap()).await.unwrap();
        let asked: Ask = decode(&line.receive().await.unwrap().unwrap().bytes).unwrap();
        assert_eq!(asked, Ask::Serve { pages: false });
        line.send(&encode(&Answer::Retired).unwrap()).await.unwrap();
    };
    let new = async {
        let new = Predecessor::find(&path, node("a")).await.unwrap().unwrap();
        let (taker, at) = (new.taker(), Arc::new(AtomicU8::new(0)));
        let pods = async {
            for uid in ["unfit", "fit"] {
                assert!(taker.sockets(&uid.into(), NOWHERE).await.is_empty());
                assert!(!taker.begin().is_cancelled(), "{uid}");
            }
            at.store(2, Ordering::Relaxed);
        };
        let (unsure, ()) = tokio::join!(new.run(stage(&at), false), pods);
        assert!(unsure.is_none() && taker.begin().is_cancelled());
    };
    tokio::join!(old, new);
}
