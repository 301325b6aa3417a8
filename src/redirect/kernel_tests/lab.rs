//! Two namespaces and a wire between them: `pod`, where rules are laid, and `far`, its peer.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::model::ports::is_ours;
use crate::redirect::guard::{Claim, Claims};
use crate::redirect::plan::DAEMON_MARK;
use crate::redirect::{Backend, Iptables, Nftables, Redirector, Target};
use crate::sys::exec::Program;
use crate::sys::netns::Netns;

pub(super) const POD: [&str; 2] = ["10.77.0.2", "fd77::2"];
pub(super) const FAR: [&str; 2] = ["10.77.0.1", "fd77::1"];
/// An address behind `far`, that nobody in the pod's subnet has.
pub(super) const CLIENT: [&str; 2] = ["192.0.2.9", "2001:db8::9"];
/// No answer within this is a failure; answers take microseconds.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Lab {
    pub claim: Claim,
    pub far: Netns,
    pub pod: Netns,
}

/// False, with a word about it, where namespaces cannot be made. Under CI that is a failure.
#[expect(clippy::disallowed_methods, reason = "a test reads the environment")]
pub(super) fn can_run() -> bool {
    match Netns::fresh() {
        Ok(_) => true,
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "CI runs kernel tests: {error}");
            eprintln!("skipped: needs CAP_SYS_ADMIN and CAP_NET_ADMIN");
            false
        }
    }
}

pub(super) fn lab() -> Option<Lab> {
    can_run().then(|| {
        let (pod, far) = (Netns::fresh().unwrap(), Netns::fresh().unwrap());
        let other = format!("/proc/{}/fd/{}", std::process::id(), far.as_fd().as_raw_fd());
        run(&pod, &format!("ip link add eth0 type veth peer name eth0 netns {other}"));
        for (netns, own, peer) in [(&pod, POD, FAR), (&far, FAR, POD)] {
            run(netns, &format!("ip addr add {}/24 dev eth0", own[0]));
            run(netns, &format!("ip addr add {}/64 dev eth0 nodad", own[1]));
            run(netns, "ip link set eth0 up");
            run(netns, &format!("ip route add default via {}", peer[0]));
            run(netns, &format!("ip -6 route add default via {}", peer[1]));
        }
        let claim = Claims::new().claim(pod.id(), "pod").unwrap();
        Lab { claim, far, pod }
    })
}

impl Lab {
    pub(super) fn target<'a>(&'a self, addresses: &'a [IpAddr]) -> Target<'a> {
        Target { claim: &self.claim, netns: &self.pod, pod: addresses }
    }
}

/// Every back end that this machine has, the default first.
pub(super) fn redirectors() -> Vec<Redirector> {
    let mut all: Vec<Arc<dyn Backend>> = vec![Arc::new(Nftables)];
    all.extend(Iptables::installed().into_iter().map(|one| Arc::new(one) as Arc<dyn Backend>));
    all.into_iter().map(|backend| Redirector::new(backend).unwrap()).collect()
}

pub(super) fn pod_addresses() -> Vec<IpAddr> {
    POD.iter().map(|address| address.parse().unwrap()).collect()
}

/// Runs a line, split at blanks, in the namespace, and gives what it printed.
pub(super) fn run(netns: &Netns, line: &str) -> String {
    let words: Vec<_> = line.split(' ').collect();
    let program = Program::new(words[0], &words[1..]);
    netns.run(move || program.run()).unwrap().unwrap_or_else(|error| panic!("{line}: {error}")).stdout
}

/// As [`run`], with a text for its standard input.
pub(super) fn feed(netns: &Netns, name: &str, arguments: &[&str], text: &str) {
    let program = Program::new(name, arguments).stdin(text);
    netns.run(move || program.run()).unwrap().unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// All that rules and routes of a namespace are, for before and after.
pub(super) fn state(netns: &Netns) -> String {
    let lines =
        ["nft -nn list ruleset", "ip rule", "ip -6 rule", "ip route show table all", "ip -6 route show table all"];
    lines.iter().map(|line| format!("# {line}\n{}", run(netns, line))).collect()
}

pub(super) fn listen(netns: &Netns, address: &str, port: u16) -> TcpListener {
    let address = SocketAddr::new(address.parse().unwrap(), port);
    netns
        .run(move || {
            let socket = socket(address);
            if is_ours(port) {
                // As the daemon's: what it accepts inherits the mark.
                socket.set_mark(DAEMON_MARK).unwrap();
            }
            // It bounds accept as well: a connection that does not come fails the test.
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.bind(&address.into()).unwrap();
            socket.listen(8).unwrap();
            TcpListener::from(socket)
        })
        .unwrap()
}

/// A connection, or the error that ended the attempt.
pub(super) fn dial(netns: &Netns, to: SocketAddr) -> std::io::Result<TcpStream> {
    netns.run(move || TcpStream::connect_timeout(&to, PATIENCE)).unwrap().inspect(patient)
}

/// As the daemon dials the app: marked, and bound to an address that is not the pod's.
pub(super) fn dial_spoofed(netns: &Netns, from: SocketAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let dial = move || -> std::io::Result<TcpStream> {
        let socket = socket(to);
        socket.set_mark(DAEMON_MARK)?;
        if to.is_ipv4() {
            socket.set_ip_transparent_v4(true)?
        } else {
            socket.set_ip_transparent_v6(true)?
        }
        socket.bind(&from.into())?;
        socket.connect_timeout(&to.into(), PATIENCE)?;
        Ok(socket.into())
    };
    netns.run(dial).unwrap().inspect(patient)
}

pub(super) fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let (stream, from) = listener.accept().expect("the connection reaches this listener");
    patient(&stream);
    (stream, from)
}

/// Where the connection was going before it was redirected (`SO_ORIGINAL_DST`).
pub(super) fn original(stream: &TcpStream) -> SocketAddr {
    let socket = socket2::SockRef::from(stream);
    let v4 = stream.local_addr().unwrap().is_ipv4();
    let address = if v4 { socket.original_dst_v4() } else { socket.original_dst_v6() };
    address.unwrap().as_socket().unwrap()
}

/// Bytes in both directions.
pub(super) fn talk(one: &TcpStream, other: &TcpStream) {
    for (mut from, mut to, word) in [(one, other, b"ping"), (other, one, b"pong")] {
        from.write_all(word).unwrap();
        let mut read = [0; 4];
        to.read_exact(&mut read).unwrap();
        assert_eq!(&read, word);
    }
}

/// Both families: address in the pod, address of the far side, foreign address.
pub(super) fn families() -> [(&'static str, &'static str, &'static str); 2] {
    [(POD[0], FAR[0], CLIENT[0]), (POD[1], FAR[1], CLIENT[1])]
}

pub(super) fn to(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

fn socket(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    if address.is_ipv6() {
        socket.set_only_v6(true).unwrap();
    }
    socket
}

fn patient(stream: &TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
}
