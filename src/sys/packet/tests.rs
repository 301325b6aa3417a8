use std::net::UdpSocket;

use super::*;
use crate::sys::kernel_tests;
use crate::sys::named_netns;

/// A namespace with nothing but a loopback, taken away at the end.
struct Alone(String, Netns);

impl Alone {
    fn new(test: &str) -> Self {
        let name = format!("culvert-packet-{test}-{}", std::process::id());
        let netns = named_netns::create(&name).unwrap();
        Self(name, netns)
    }

    /// Sends `count` datagrams of `bytes` to a port of the loopback that nobody reads.
    fn send(&self, count: usize, bytes: &'static [u8]) {
        let sent = self.1.run(move || {
            let sink = UdpSocket::bind("127.0.0.1:0")?;
            let source = UdpSocket::bind("127.0.0.1:0")?;
            (0..count).try_for_each(|_| source.send_to(bytes, sink.local_addr()?).map(drop))
        });
        sent.unwrap().unwrap();
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        drop(named_netns::delete(&self.0));
    }
}

#[test]
fn a_capture_begins_at_its_start_and_ends_at_its_stop() {
    if !kernel_tests::may_run("a capture on a loopback") {
        return;
    }
    let alone = Alone::new("span");
    alone.send(1, b"before");
    let capture = Capture::start(&alone.1, "lo").unwrap();
    alone.send(1, b"during");
    let captured = capture.stop().unwrap();
    alone.send(1, b"after");
    assert_eq!(captured.find(b"during"), Finding::Present);
    assert_eq!(captured.find(b"before"), Finding::Absent);
    assert_eq!(captured.find(b"after"), Finding::Absent);
    // A loopback shows each frame on its way out and on its way in.
    assert_eq!(captured.frames.len(), 2);
}

#[test]
fn what_the_kernel_dropped_is_told() {
    if !kernel_tests::may_run("a capture that is too slow") {
        return;
    }
    let alone = Alone::new("drops");
    let index = Links::open(&alone.1).unwrap().index("lo").unwrap();
    let socket = alone.1.run(|| Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))).unwrap().unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    socket.bind(&all_frames_of(index)).unwrap();
    alone.send(100, &[7; 1000]);
    let dropped = drops(socket.as_raw_fd()).unwrap();
    assert!((150..=200).contains(&dropped), "{dropped} of 200");
    assert_eq!(drops(socket.as_raw_fd()).unwrap(), 0, "told once");
}

#[test]
fn a_link_that_is_not_there_is_named() {
    if !kernel_tests::may_run("a capture on no link") {
        return;
    }
    let error = Capture::start(&Netns::own().unwrap(), "no-such-link").err().unwrap();
    assert!(matches!(&error, CaptureError::Link { link, .. } if link == "no-such-link"), "{error}");
}
