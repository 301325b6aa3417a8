//! The two sides against each other and against noise, with paused time.

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
            tokio::join!(new.run(stage(&at), pages), wait);
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
        new.run(|| Progress::Partly, false).await;
    });
    assert!(given && started.elapsed() >= taker::GRACE && started.elapsed() < 2 * taker::GRACE);
}

#[tokio::test(start_paused = true)]
async fn another_node_is_turned_away_and_nobody_is_nobody() {
    let Bed { path, meeting, giver, _directory } = bed();
    let (stop, stands) = (CancellationToken::new(), Arc::clone(&giver.stands));
    let (given, ()) = tokio::join!(giver.run(meeting, stop.clone()), async {
        let error = Predecessor::find(&path, node("b")).await.map(drop).unwrap_err();
        assert!(error.to_string().contains("node a"), "{error}");
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
        new.run(|| Progress::Able, false).await;
    });
    assert!(given);
}

async fn heard(line: &SeqPacket) -> Answer {
    decode(&line.receive().await.unwrap().unwrap().bytes).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_new_process_serves_when_the_old_one_breaks() {
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
            let taker = new.taker();
            let (handed, ()) = tokio::join!(
                async { if way < 2 { None } else { Some(taker.sockets(&"u".into(), NOWHERE).await) } },
                new.run(|| Progress::Unable, false)
            );
            assert!(handed.is_none_or(|handed| handed.is_empty()));
            assert!(taker.begin().is_cancelled(), "{way}: it serves what it has");
        };
        tokio::join!(old, new);
    }
}
