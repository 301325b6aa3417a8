use std::fs::File;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::*;

fn pair() -> (SeqPacket, SeqPacket) {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
    (SeqPacket::new(a).unwrap(), SeqPacket::new(b).unwrap())
}

/// How many of this process's descriptors are the file with this content's inode.
fn open_of(file: &File) -> usize {
    use std::os::unix::fs::MetadataExt;
    let of = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    let wanted = of(file.metadata().unwrap());
    let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    all.filter(|entry| std::fs::metadata(entry.path()).is_ok_and(|meta| of(meta) == wanted)).count()
}

#[tokio::test]
async fn a_packet_comes_whole_with_its_descriptors_closed_on_exec() {
    let (peer, socket) = pair();
    let file = tempfile::tempfile().unwrap();
    peer.tell(b"one", &[]);
    peer.tell(&vec![7; LONGEST], &[file.as_raw_fd(), file.as_raw_fd()]);
    let one = socket.receive().await.unwrap().unwrap();
    assert_eq!((&*one.bytes, one.descriptors.len()), (&b"one"[..], 0));
    let two = socket.receive().await.unwrap().unwrap();
    assert_eq!((two.bytes, two.descriptors.len()), (vec![7; LONGEST], 2));
    for descriptor in &two.descriptors {
        let flags = FdFlag::from_bits_truncate(fcntl(descriptor, FcntlArg::F_GETFD).unwrap());
        assert!(flags.contains(FdFlag::FD_CLOEXEC));
    }
    assert_eq!(open_of(&file), 3);
    drop(two.descriptors);
    assert_eq!(open_of(&file), 1);
    socket.send(b"answer").await.unwrap();
    drop(peer);
    assert!(matches!(socket.receive().await, Ok(None) | Err(PacketError::System(_))), "the end");
}

#[tokio::test]
async fn what_is_too_long_or_too_many_is_an_error_and_nothing_stays_open() {
    let (peer, socket) = pair();
    let file = tempfile::tempfile().unwrap();
    peer.tell(&vec![7; LONGEST + 1], &[file.as_raw_fd()]);
    assert!(matches!(socket.receive().await, Err(PacketError::Long)));
    peer.tell(b"x", &[file.as_raw_fd(); MOST_DESCRIPTORS + 1]);
    assert!(
        matches!(socket.receive().await, Err(PacketError::ManyDescriptors { found, .. }) if found == MOST_DESCRIPTORS + 1)
    );
    peer.tell(b"x", &[file.as_raw_fd(); SCM_MAX_FD]);
    assert!(matches!(socket.receive().await, Err(PacketError::ManyDescriptors { found: SCM_MAX_FD, .. })));
    assert_eq!(open_of(&file), 1);
    peer.tell(b"still", &[]);
    assert_eq!(socket.receive().await.unwrap().unwrap().bytes, b"still");
}

#[tokio::test]
async fn nobody_there_is_an_error_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let error = SeqPacket::connect(&directory.path().join("none.sock")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}
