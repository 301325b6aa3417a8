use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use socket2::{Domain, Socket, Type};

use super::*;
use crate::redirect::DAEMON_MARK;
use crate::sys::exec::Program;
use crate::sys::kernel_tests;

/// The namespace has both, and neither is loopback's.
const ENDS: [&str; 2] = ["10.1.0.1", "10.1.0.2"];

fn namespace() -> Netns {
    let netns = Netns::fresh().unwrap();
    for words in [vec!["link", "set", "lo", "up"], vec!["addr", "add", ENDS[0], "dev", "lo"]]
        .into_iter()
        .chain([vec!["addr", "add", ENDS[1], "dev", "lo"]])
    {
        let program = Program::new("ip", &words);
        netns.run(move || program.run()).unwrap().unwrap();
    }
    netns
}

fn connected(netns: &Netns, port: u16, mark: u32) -> (TcpStream, TcpStream) {
    let made = netns.run(move || {
        let listener = TcpListener::bind((ENDS[1], port)).unwrap();
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if mark != 0 {
            client.set_mark(mark).unwrap();
        }
        client.bind(&SocketAddr::new(ENDS[0].parse().unwrap(), 0).into()).unwrap();
        client.connect(&listener.local_addr().unwrap().into()).unwrap();
        (client.into(), listener.accept().unwrap().0)
    });
    made.unwrap()
}

#[test]
fn what_a_process_of_ours_carries_is_known_by_its_mark_and_its_ports() {
    if !kernel_tests::may_run("connections of another process of ours") {
        return;
    }
    for (port, mark, carried) in
        [(80, 0, false), (80, 7, false), (80, DAEMON_MARK, true), (15001, 0, true), (15006, 0, true), (15008, 0, true)]
    {
        let netns = namespace();
        assert!(!is_carried(&netns, DAEMON_MARK).unwrap());
        let _ends = connected(&netns, port, mark);
        assert_eq!(is_carried(&netns, DAEMON_MARK).unwrap(), carried, "{port} {mark:#x}");
        assert!(!is_carried(&netns, 0).unwrap() || port != 80, "no mark is nobody's");
    }
}

/// Redirects from before and a process that carries: only then nobody knows which connections are older.
#[test]
fn nothing_is_older_beside_a_process_that_carries() {
    if !kernel_tests::may_run("connections older than an enrolment") {
        return;
    }
    let (netns, pod) = (namespace(), NamespacedName::new("demo", "client"));
    let (mut client, mut server) = connected(&netns, 80, 0);
    let settle = |carried, is_first, reset| {
        Older::list(&netns, carried).unwrap().settle(&netns, &pod, is_first, reset).unwrap().len()
    };
    let both = 2;
    for (carried, is_first, listed) in [(true, false, 0), (true, true, both), (false, false, both), (false, true, both)]
    {
        assert_eq!(settle(carried, is_first, false), listed, "{carried} {is_first}");
    }
    assert_eq!(settle(true, false, true), 0);
    client.write_all(b"on").unwrap();
    server.read_exact(&mut [0; 2]).unwrap();
    assert_eq!(settle(false, false, true), 0);
    // Whichever end was first: the other one has its RST.
    let kind = server.read(&mut [0; 2]).unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset), "{kind}");
}
