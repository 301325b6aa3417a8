use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use super::*;
use crate::sys::{kernel_tests, socket};

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// One process's two ends of a meeting.
async fn met(path: &Path) -> (SeqPacket, SeqPacket) {
    let meeting = Meeting::hold(path).unwrap();
    let line = Meeting::join(path).unwrap();
    (meeting.next().await.unwrap(), line)
}

#[tokio::test]
async fn a_meeting_is_private_and_the_next_one_takes_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made").join("t.sock");
    Meeting::join(&path).unwrap_err();
    let first = Meeting::hold(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    let second = Meeting::hold(&path).unwrap();
    let line = Meeting::join(&path).unwrap();
    let answered = second.next().await.unwrap();
    drop((first, second));
    line.send(b"ask").await.unwrap();
    assert_eq!(answered.receive().await.unwrap().unwrap().bytes, b"ask");
    Meeting::join(&path).expect_err("a file that nobody listens on");
    Meeting::hold(&path).expect("and that is replaced");
    let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "nothing else stays: {left:?}");
}

#[tokio::test]
async fn a_file_of_another_kind_and_a_missing_directory_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes");
    std::fs::write(&path, "mine").unwrap();
    Meeting::hold(&path).expect_err("it is not taken away");
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    let far = directory.path().join("no").join("such").join("t.sock");
    let error = Meeting::hold(&far).unwrap_err();
    assert!(error.to_string().contains("name a directory that can be written"), "{error}");
}

#[tokio::test]
async fn what_is_queued_outlives_the_first_holder() {
    if !kernel_tests::may_run("handing over listeners") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = met(&directory.path().join("t.sock")).await;
    let listener = Arc::new(tokio::net::TcpListener::from_std(socket::listen(any()).unwrap()).unwrap());
    let datagrams = tokio::net::UdpSocket::from_std(socket::listen_datagrams(any()).unwrap()).unwrap();
    let datagrams = Arc::new(datagrams);
    let (at, asked_at) = (listener.local_addr().unwrap(), datagrams.local_addr().unwrap());
    let doors = [Door::Stream(Arc::downgrade(&listener)), Door::Datagrams(Arc::downgrade(&datagrams))];
    let mut clients: Vec<_> = (0..20).map(|_| TcpStream::connect(at).unwrap()).collect();
    let asking = UdpSocket::bind(any()).unwrap();
    asking.send_to(b"question", asked_at).unwrap();
    let held: Vec<_> = doors.iter().filter_map(Door::duplicate).collect();
    old.send_with(b"two", &held.iter().map(AsFd::as_fd).collect::<Vec<_>>()).await.unwrap();
    drop(held);
    drop((listener, datagrams));
    assert!(doors.iter().all(|door| door.duplicate().is_none()), "what is not served is not handed on");
    clients.push(TcpStream::connect(at).unwrap());

    let packet = new.receive_with(MOST_SOCKETS).await.unwrap().unwrap();
    let mut handed = Handed::new(packet.descriptors, Netns::own().unwrap().id()).unwrap();
    assert!(handed.stream(asked_at, 0).is_none() && handed.datagrams(at).is_none(), "by kind and address");
    let (listener, datagrams) = (handed.stream(at, 0).unwrap(), handed.datagrams(asked_at).unwrap());
    assert!(handed.is_empty());
    for mut client in clients {
        let (mut served, _) = listener.accept().unwrap();
        client.write_all(b"x").unwrap();
        served.set_nonblocking(false).unwrap();
        served.read_exact(&mut [0]).unwrap();
    }
    assert_eq!(datagrams.recv_from(&mut [0; 64]).unwrap().0, b"question".len());
}

#[tokio::test]
async fn sockets_of_another_namespace_or_kind_are_refused() {
    if !kernel_tests::may_run("refusing sockets that were handed over") {
        return;
    }
    let own = Netns::own().unwrap().id();
    let listener = || OwnedFd::from(socket::listen(any()).unwrap());
    assert!(matches!(Handed::new(vec![listener()], NetnsId { inode: 1, ..own }), Err(Unfit::Elsewhere)));
    let elsewhere = Netns::fresh().unwrap().run(|| socket::listen(any()).unwrap()).unwrap();
    assert!(matches!(Handed::new(vec![listener(), elsewhere.into()], own), Err(Unfit::Elsewhere)));
    let connected = TcpStream::connect(socket::listen(any()).unwrap().local_addr().unwrap()).unwrap();
    assert!(matches!(Handed::new(vec![connected.into()], own), Err(Unfit::Kind)));
    assert!(Handed::new(vec![tempfile::tempfile().unwrap().into()], own).is_err());
    Handed::new(vec![listener(), listener()], own).unwrap();
}

#[test]
fn beside_another_listener_what_comes_is_shared_and_plain_listeners_share_with_nobody() {
    let first = socket::listen_beside(any(), 0).unwrap();
    let at = first.local_addr().unwrap();
    let second = socket::listen_beside(at, 0).unwrap();
    assert!(socket::is_beside(&first) && socket::is_beside(&second));
    socket::listen(at).expect_err("a plain one does not join");
    let plain = socket::listen(any()).unwrap();
    assert!(!socket::is_beside(&plain));
    socket::listen_beside(plain.local_addr().unwrap(), 0).expect_err("nor is joined");
}
