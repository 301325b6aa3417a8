use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::super::kind::Kind;
use super::super::outcome::Record;
use super::frame::Writer;
use super::journal::{Journal, KeepError};
use super::keeper::WAITING;
use super::load::{FILE, Loaded};
use super::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn settings(directory: &Path) -> KeepSettings {
    KeepSettings {
        directory: directory.to_owned(),
        greatest_age: Duration::from_secs(3600),
        source: "https://plane:15012".to_owned(),
        interval: Keep::INTERVAL,
    }
}

fn open(directory: &Path, seconds: u64) -> Option<Loaded> {
    Keep::open(settings(directory), at(seconds)).loaded
}

/// `name=version:value` of all live records, sorted.
fn records(loaded: &Loaded) -> Vec<String> {
    let mut found = Vec::new();
    let each = |record: Record<'_>| {
        let kind = if record.kind == Kind::Address { "" } else { "policy " };
        let value = String::from_utf8_lossy(record.value.unwrap()).into_owned();
        found.push(format!("{kind}{}={}:{value}", record.name, record.version));
    };
    loaded.each(each).unwrap();
    found.sort();
    found
}

fn some(records: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut writer = Writer::new();
    for (name, value) in records {
        let value = value.map(str::as_bytes);
        assert!(writer.record(Record { kind: Kind::Address, name, version: "7", value }));
        if *name == "b" {
            assert!(writer.record(Record { kind: Kind::Authorization, name, version: "", value }));
        }
    }
    writer.take()
}

fn begin(directory: &Path) -> Journal {
    Journal::begin(directory, "https://plane:15012", None, at(0)).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_was_written_is_read() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("state/culvert");
    assert!(open(&directory, 0).is_none(), "nothing is there");
    let mut journal = begin(&directory);
    journal.append(&some(&[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]), Some(at(1))).unwrap();
    journal.append(&some(&[("a", Some("4")), ("c", None)]), Some(at(2))).unwrap();
    assert_eq!((mode(&directory), mode(&directory.join(FILE))), (0o700, 0o600));
    let loaded = open(&directory, 5).unwrap();
    assert_eq!(records(&loaded), ["a=7:4", "b=7:2", "policy b=:2"]);
    assert_eq!(loaded.as_of, Some(at(2)));
    // The next process begins with it, and goes on.
    let mut next = Journal::begin(&directory, "https://plane:15012", Some(&loaded), at(9)).unwrap();
    assert_eq!(open(&directory, 9).unwrap().as_of, Some(at(2)), "it is no newer than it was");
    next.append(&some(&[("d", Some("5"))]), Some(at(10))).unwrap();
    assert_eq!(records(&open(&directory, 10).unwrap()), ["a=7:4", "b=7:2", "d=7:5", "policy b=:2"]);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    // The one before finds that it was taken over, and leaves the file alone.
    assert!(matches!(journal.append(&[], Some(at(11))), Err(KeepError::TakenOver)));
    journal.remove();
    assert!(open(&directory, 12).is_some());
    next.remove();
    assert!(open(&directory, 12).is_none());
}

#[test]
fn a_file_that_has_grown_is_written_anew() {
    let root = tempfile::tempdir().unwrap();
    let mut journal = begin(root.path());
    journal.dead = 4096;
    let value = "v".repeat(100);
    for n in 0..1000 {
        let name = format!("name-{}", n % 7);
        journal.append(&some(&[(&name, Some(&value)), ("gone", None)]), Some(at(n))).unwrap();
        assert!(fs::metadata(root.path().join(FILE)).unwrap().len() < 16_384);
    }
    let loaded = open(root.path(), 1000).unwrap();
    assert_eq!((records(&loaded).len(), loaded.as_of), (7, Some(at(999))));
}

#[test]
fn what_is_live_is_bounded_and_not_what_is_dead() {
    let root = tempfile::tempdir().unwrap();
    let mut journal = begin(root.path());
    journal.largest = 10_000;
    let value = "v".repeat(100);
    // Changes of one record: more than is kept, and none of it live.
    for n in 0..1000 {
        journal.append(&some(&[("a", Some(&value))]), Some(at(n))).unwrap();
        assert!(fs::metadata(root.path().join(FILE)).unwrap().len() <= 7_500);
    }
    let mut kept = 0;
    let error = loop {
        match journal.append(&some(&[(&format!("name-{kept}"), Some(&value))]), Some(at(kept))) {
            Ok(()) => kept += 1,
            Err(error) => break error.to_string(),
        }
    };
    assert!((30..80).contains(&kept), "{kept} of some 130 bytes");
    assert!(
        error.contains("a restart will wait for the control plane: it has more than 5000 bytes; ask for"),
        "{error}"
    );
}

#[test]
fn a_state_is_used_only_when_it_is_whole_ours_and_young() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path();
    let mut journal = begin(directory);
    journal.append(&some(&[("a", Some("1"))]), None).unwrap();
    assert!(open(directory, 1).is_none(), "policies may be missing");
    journal.append(&[], Some(at(0))).unwrap();
    assert!(open(directory, 3600).is_some());
    assert!(open(directory, 3601).is_none(), "too old");
    let earlier = at(0) - Duration::from_secs(99);
    assert!(Keep::open(settings(directory), earlier).loaded.is_some(), "the clock went back");
    let other = KeepSettings { source: "https://other:15012".into(), ..settings(directory) };
    assert!(Keep::open(other, at(1)).loaded.is_none(), "another mesh");
    let path = directory.join(FILE);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
    assert!(open(directory, 1).is_none(), "others may write it");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(open(directory, 1).is_some());
    let elsewhere = directory.join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert!(open(directory, 1).is_none(), "a link");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(open(directory, 1).is_none(), "a directory");
    // In the place of which nothing can be put.
    assert!(matches!(Journal::begin(directory, "s", None, at(1)), Err(KeepError::Io { .. })));
    assert_eq!(fs::read_dir(directory).unwrap().count(), 2, "and nothing is left behind");
}

/// A file cut at every length is used up to its last whole record, or not at all; with any byte changed it never says
/// anything that was not written.
#[test]
fn a_broken_file() {
    let root = tempfile::tempdir().unwrap();
    let mut journal = begin(root.path());
    journal.append(&some(&[("a", Some("1"))]), Some(at(1))).unwrap();
    journal.append(&some(&[("b", Some("2")), ("a", None)]), Some(at(2))).unwrap();
    let path = root.path().join(FILE);
    let whole = fs::read(&path).unwrap();
    let mut seen = Vec::new();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        if let Some(loaded) = open(root.path(), 2) {
            let found = (loaded.as_of, records(&loaded));
            if seen.last() != Some(&found) {
                seen.push(found);
            }
        }
    }
    let a = "a=7:1".to_owned();
    let b = ["b=7:2", "policy b=:2"].map(str::to_owned);
    let expected = [
        (Some(at(1)), vec![a.clone()]),
        (Some(at(1)), vec![a.clone(), b[0].clone()]),
        (Some(at(1)), vec![a, b[0].clone(), b[1].clone()]),
        (Some(at(1)), b.to_vec()),
    ];
    assert_eq!(seen, expected);
    // Zeros are what some file systems leave of an end that was not written.
    fs::write(&path, [&whole[..], &[0; 100]].concat()).unwrap();
    assert_eq!(records(&open(root.path(), 2).unwrap()), b);
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        if let Some(loaded) = open(root.path(), 2) {
            // Only a length can look like an end, and then all is there that was before it.
            assert_eq!(loaded.as_of, Some(at(1)), "{place}");
        }
    }
    fs::write(&path, b"something else").unwrap();
    assert!(open(root.path(), 2).is_none());
}

#[test]
fn what_a_dead_process_left_is_removed() {
    let root = tempfile::tempdir().unwrap();
    let (old, young) = (root.path().join("xds-state.new.7.1"), root.path().join("xds-state.new.7.2"));
    fs::write(&old, b"").unwrap();
    fs::write(&young, b"").unwrap();
    let now = SystemTime::now();
    fs::File::options().write(true).open(&old).unwrap().set_modified(now - Duration::from_secs(3600)).unwrap();
    Journal::begin(root.path(), "s", None, now).unwrap();
    assert!(!old.exists() && young.exists());
}

#[tokio::test(start_paused = true)]
async fn changes_are_collected_and_the_last_ones_are_not_lost() {
    let root = tempfile::tempdir().unwrap();
    let (mut pieces, keeper) = Keeper::new(Keep::open(settings(root.path()), at(0)));
    let record = |name| Record { kind: Kind::Address, name, version: "7", value: Some(b"1") };
    let file = root.path().join(FILE);
    let body = async {
        pieces.record(record("a"));
        pieces.mark(at(1));
        tokio::time::sleep(Keep::INTERVAL - Duration::from_secs(1)).await;
        assert!(!file.exists());
        pieces.record(record("b"));
        pieces.mark(at(2));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(records(&open(root.path(), 2).unwrap()), ["a=7:1", "b=7:1"]);
        pieces.record(record("c"));
        pieces.mark(at(3));
        drop(pieces);
    };
    tokio::join!(keeper.run(), body);
    let loaded = open(root.path(), 3).unwrap();
    assert_eq!((records(&loaded).len(), loaded.as_of), (3, Some(at(3))));
}

#[tokio::test(start_paused = true)]
async fn without_a_directory_that_can_be_written_nothing_fails() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("a file");
    fs::write(&file, b"").unwrap();
    // Its parent is no directory: as little can be written as on a read-only root, whoever the test runs as.
    let (mut pieces, keeper) = Keeper::new(Keep::open(settings(&file.join("state")), at(0)));
    pieces.mark(at(1));
    keeper.run().await;
    pieces.mark(at(2));
    assert!(!pieces.is_on());
}

#[tokio::test(start_paused = true)]
async fn a_hole_ends_the_keeping() {
    let root = tempfile::tempdir().unwrap();
    let (mut pieces, keeper) = Keeper::new(Keep::open(settings(root.path()), at(0)));
    let large = vec![0; frame::LONGEST];
    pieces.record(Record { kind: Kind::Authorization, name: "p", version: "", value: Some(&large) });
    pieces.mark(at(1));
    assert!(!pieces.is_on());
    keeper.run().await;
    assert!(open(root.path(), 1).is_none());
    // A disk that stands still: nobody takes the pieces.
    let (mut pieces, _keeper) = Keeper::new(Keep::open(settings(root.path()), at(0)));
    let megabytes = WAITING >> 20;
    for n in 0..2 * megabytes {
        assert_eq!(pieces.is_on(), n < megabytes, "{n} MiB");
        pieces.record(of_bytes("a", &vec![0; 1 << 20]));
        assert!(pieces.on_their_way() <= WAITING);
    }
}

fn of_bytes<'a>(name: &'a str, value: &'a [u8]) -> Record<'a> {
    Record { kind: Kind::Address, name, version: "", value: Some(value) }
}

/// What is on the disk makes room.
#[tokio::test(start_paused = true)]
async fn more_than_may_wait_is_kept_by_a_disk_that_keeps_up() {
    let root = tempfile::tempdir().unwrap();
    let (mut pieces, keeper) = Keeper::new(Keep::open(settings(root.path()), at(0)));
    let value = vec![0; 1 << 20];
    let body = async {
        for n in 0..(WAITING >> 20) + 10 {
            pieces.record(of_bytes(&format!("name-{}", n % 5), &value));
            while pieces.on_their_way() > WAITING / 4 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        assert!(pieces.is_on());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(pieces.on_their_way(), 0);
        pieces.mark(at(1));
        drop(pieces);
    };
    tokio::join!(keeper.run(), body);
    assert_eq!(records(&open(root.path(), 1).unwrap()).len(), 5);
}

/// Each of a thousand responses brings a record and a mark, before the disk has taken one.
#[tokio::test(start_paused = true)]
async fn a_burst_does_not_end_the_keeping() {
    let root = tempfile::tempdir().unwrap();
    let (mut pieces, keeper) = Keeper::new(Keep::open(settings(root.path()), at(0)));
    for n in 0..1000 {
        let name = format!("name-{n}");
        pieces.record(Record { kind: Kind::Address, name: &name, version: "7", value: Some(b"1") });
        pieces.flush();
        pieces.mark(at(n));
    }
    assert!(pieces.is_on());
    let later = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let marked = open(root.path(), 1000).unwrap();
        assert!(marked.as_of < Some(at(999)), "not before the records that waited");
        pieces.mark(at(1060));
        drop(pieces);
    };
    tokio::join!(keeper.run(), later);
    let loaded = open(root.path(), 1100).unwrap();
    assert_eq!((records(&loaded).len(), loaded.as_of), (1000, Some(at(1060))));
}
