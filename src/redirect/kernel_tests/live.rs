//! Connections through the rules: what is captured, what is left alone, what lives on.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol as IpProtocol, Socket, Type};

use super::lab::{
    CLIENT, FAR, POD, accept, dial, dial_spoofed, families, lab, listen, original, pod_addresses, redirectors, talk, to,
};
use crate::redirect::plan::{DAEMON_MARK, Plan, PlanInput, plan};
use crate::sys::netlink::{NetlinkSocket, Protocol, conntrack};
use crate::sys::netns::Netns;
use crate::sys::sock_diag;

fn default_plan() -> Plan {
    plan(&PlanInput::default())
}

#[test]
fn new_connections_are_captured_both_ways_and_older_ones_live_on() {
    for redirector in redirectors() {
        let Some(lab) = lab() else { return };
        for (pod, far, _) in families() {
            let app = listen(&lab.pod, pod, 80);
            let server = listen(&lab.far, far, 81);
            let old_in = dial(&lab.far, to(pod, 80)).unwrap();
            let (old_in_app, _) = accept(&app);
            let old_out = dial(&lab.pod, to(far, 81)).unwrap();
            let (old_out_server, _) = accept(&server);
            talk(&old_in, &old_in_app);

            let inbound = listen(&lab.pod, if pod == POD[0] { "0.0.0.0" } else { "::" }, 15006);
            let outbound = listen(&lab.pod, if pod == POD[0] { "127.0.0.1" } else { "::1" }, 15001);
            let addresses = pod_addresses();
            let laid = redirector.lay(lab.target(&addresses), &default_plan()).unwrap();
            assert_eq!(laid.namespace(), lab.pod.id());

            // The first mid-stream packet is new to connection tracking, and is no SYN.
            talk(&old_in, &old_in_app);
            talk(&old_out, &old_out_server);

            let client = dial(&lab.far, to(pod, 80)).unwrap();
            let (captured, from) = accept(&inbound);
            assert_eq!(original(&captured), to(pod, 80), "{} {pod}", redirector.backend());
            assert_eq!(from, client.local_addr().unwrap());
            talk(&client, &captured);

            let dialled = dial(&lab.pod, to(far, 81)).unwrap();
            let (outgoing, _) = accept(&outbound);
            assert_eq!(original(&outgoing), to(far, 81), "{} {far}", redirector.backend());
            talk(&dialled, &outgoing);

            // HBONE speaks for itself, and a pod that calls itself is left alone.
            let hbone = listen(&lab.pod, pod, 15008);
            let peer = dial(&lab.far, to(pod, 15008)).unwrap();
            talk(&peer, &accept(&hbone).0);
            let own = dial(&lab.pod, to(pod, 80)).unwrap();
            talk(&own, &accept(&app).0);

            // Withdrawn: captured ones live on, new ones pass.
            redirector.withdraw_redirects(&lab.pod).unwrap();
            assert!(redirector.verify(&lab.pod, &default_plan().withdrawn()).unwrap().is_same());
            talk(&client, &captured);
            talk(&dialled, &outgoing);
            let direct = dial(&lab.far, to(pod, 80)).unwrap();
            let (direct_app, _) = accept(&app);
            assert!(redirector.remove(&lab.pod).unwrap());
            talk(&direct, &direct_app);
            talk(&old_in, &old_in_app);
        }
    }
}

#[test]
fn a_dial_with_the_clients_address_reaches_the_app_and_its_answers_come_back() {
    for redirector in redirectors() {
        let Some(lab) = lab() else { return };
        let addresses = pod_addresses();
        redirector.lay(lab.target(&addresses), &default_plan()).map(drop).unwrap();
        for (pod, _, client) in families() {
            let app = listen(&lab.pod, pod, 80);
            let foreign: IpAddr = client.parse().unwrap();
            let daemon = dial_spoofed(&lab.pod, (foreign, 0).into(), to(pod, 80))
                .unwrap_or_else(|error| panic!("{} {pod}: {error}", redirector.backend()));
            let (accepted, from) = accept(&app);
            assert_eq!(from.ip(), foreign, "the app sees the client");
            talk(&daemon, &accepted);
            // Leaving the mesh cuts no such connection either.
            redirector.withdraw_redirects(&lab.pod).unwrap();
            talk(&daemon, &accepted);
            redirector.lay(lab.target(&addresses), &default_plan()).map(drop).unwrap();
            talk(&daemon, &accepted);
        }
    }
}

#[test]
fn without_the_rules_such_a_dial_gets_no_answer() {
    // What the test above proves is the rules' doing.
    let Some(lab) = lab() else { return };
    let _app = listen(&lab.pod, POD[0], 80);
    let error = dial_spoofed(&lab.pod, to(CLIENT[0], 0), to(POD[0], 80)).unwrap_err();
    assert!(matches!(error.kind(), std::io::ErrorKind::TimedOut | std::io::ErrorKind::HostUnreachable), "{error}");
}

#[test]
fn a_marked_dial_leaves_the_pod_uncaptured() {
    for redirector in redirectors() {
        let Some(lab) = lab() else { return };
        let addresses = pod_addresses();
        redirector.lay(lab.target(&addresses), &default_plan()).map(drop).unwrap();
        for (pod, far, _) in families() {
            let server = listen(&lab.far, far, 81);
            let daemon = dial_spoofed(&lab.pod, to(pod, 0), to(far, 81)).unwrap();
            talk(&daemon, &accept(&server).0);
        }
    }
}

#[test]
fn a_healed_table_keeps_live_captured_connections() {
    for redirector in redirectors() {
        let Some(lab) = lab() else { return };
        let addresses = pod_addresses();
        redirector.lay(lab.target(&addresses), &default_plan()).map(drop).unwrap();
        let outbound = listen(&lab.pod, "127.0.0.1", 15001);
        let app = dial(&lab.pod, to(FAR[0], 81)).unwrap();
        let (captured, _) = accept(&outbound);
        let other = plan(&PlanInput { capture_inbound: false, ..PlanInput::default() });
        redirector.lay(lab.target(&addresses), &other).map(drop).unwrap();
        talk(&app, &captured);
    }
}

#[test]
fn what_is_not_carried_is_counted_and_the_counts_survive() {
    for redirector in redirectors() {
        let Some(lab) = lab() else { return };
        let addresses = pod_addresses();
        redirector.lay(lab.target(&addresses), &default_plan()).map(drop).unwrap();
        for (from, address, near) in [(&lab.pod, FAR, POD), (&lab.far, POD, FAR)] {
            for (address, near) in address.into_iter().zip(near) {
                let (udp, near) = (to(address, 9), to(near, 0));
                let send = move || {
                    let socket = UdpSocket::bind(near).unwrap();
                    socket.send_to(b"x", udp).unwrap();
                    for (protocol, times) in [(132, 2), (99, 3)] {
                        let domain = Domain::for_address(udp);
                        let raw = Socket::new(domain, Type::RAW, Some(IpProtocol::from(protocol))).unwrap();
                        for _ in 0..times {
                            raw.send_to(&[0; 12], &to(address, 0).into()).unwrap();
                        }
                    }
                };
                from.run(send).unwrap();
            }
        }
        // UDP within the pod is its own business.
        let own = || UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", "127.0.0.1:9").unwrap();
        lab.pod.run(own).unwrap();
        let counted = redirector.uncarried(&lab.pod).unwrap();
        let packets =
            [counted.udp_in, counted.sctp_in, counted.other_in, counted.udp_out, counted.sctp_out, counted.other_out];
        assert_eq!(packets.map(|count| count.packets), [2, 4, 6, 2, 4, 6], "{} {counted:?}", redirector.backend());
        assert!(packets.iter().all(|count| count.bytes > count.packets * 12));
        let other = plan(&PlanInput { capture_inbound: false, ..PlanInput::default() });
        redirector.lay(lab.target(&addresses), &other).map(drop).unwrap();
        assert_eq!(redirector.uncarried(&lab.pod).unwrap(), counted, "{}", redirector.backend());
    }
}

#[test]
fn older_connections_are_listed_and_reset_by_order() {
    let Some(lab) = lab() else { return };
    let mut socket = NetlinkSocket::open_in(&lab.pod, Protocol::SockDiag).unwrap();
    for (pod, far, _) in families() {
        let app = listen(&lab.pod, pod, 80);
        let client = dial(&lab.far, to(pod, 80)).unwrap();
        let (accepted, from) = accept(&app);
        let own = dial(&lab.pod, to(pod, 80)).unwrap();
        let found = sock_diag::connections(&mut socket).unwrap();
        assert_eq!(found.iter().map(|one| (one.local, one.remote)).collect::<Vec<_>>(), [(to(pod, 80), from)]);
        assert!(sock_diag::destroy(&mut socket, &found[0]).unwrap());
        let ended = (&client).read(&mut [0; 1]).unwrap_err();
        assert_eq!(ended.kind(), std::io::ErrorKind::ConnectionReset);
        assert!(!sock_diag::destroy(&mut socket, &found[0]).unwrap(), "it has ended");
        drop((accepted, own, far));
    }
}

/// The kernel may choose, for the dial to the app, the port that the captured connection has: no
/// socket of the daemon has that pair of addresses, but connection tracking knows it.
#[test]
fn a_dial_with_the_clients_address_and_port_is_another_connection() {
    for redirector in redirectors() {
        let Some(lab) = lab() else { return };
        let addresses = pod_addresses();
        redirector.lay(lab.target(&addresses), &default_plan()).map(drop).unwrap();
        for (pod, far, _) in families() {
            let app = listen(&lab.pod, pod, 80);
            let inbound = listen(&lab.pod, if pod == POD[0] { "0.0.0.0" } else { "::" }, 15006);
            let client = dial(&lab.far, to(pod, 80)).unwrap();
            let (captured, from) = accept(&inbound);
            assert_eq!(from.ip(), far.parse::<IpAddr>().unwrap());
            let daemon = dial_spoofed(&lab.pod, from, to(pod, 80))
                .unwrap_or_else(|error| panic!("{} {pod}: {error}", redirector.backend()));
            let (accepted, seen) = accept(&app);
            assert_eq!(seen, from);
            talk(&daemon, &accepted);
            talk(&client, &captured);
        }
    }
}

/// Connection tracking knows the pod's port from the redirected question, and would send the daemon's own to the daemon.
#[test]
fn a_question_from_a_port_that_the_pod_asked_from_reaches_the_server() {
    for redirector in redirectors() {
        let Some(lab) = lab() else { return };
        let addresses = pod_addresses();
        let plan = plan(&PlanInput { dns: Some(15053), ..PlanInput::default() });
        redirector.lay(lab.target(&addresses), &plan).map(drop).unwrap();
        for (pod, far, _) in families() {
            let name = redirector.backend();
            let loopback = if pod == POD[0] { "127.0.0.1" } else { "::1" };
            let server = datagrams(&lab.far, far, 53, 0);
            let proxy = datagrams(&lab.pod, loopback, 15053, 0);
            let app = datagrams(&lab.pod, pod, 4053, 0);
            app.send_to(b"asked", to(far, 53)).unwrap();
            let (word, from) = receive(&proxy);
            assert_eq!((word.as_slice(), from), (&b"asked"[..], to(pod, 4053)), "{name} {pod}");
            proxy.send_to(b"heard", from).unwrap();
            assert_eq!(receive(&app), (b"heard".to_vec(), to(far, 53)), "{name} {pod}: as from the server");
            let mut netlink = NetlinkSocket::open_in(&lab.pod, Protocol::Netfilter).unwrap();
            let mut find = |client| conntrack::datagram_destination(&mut netlink, to(loopback, 15053), client).unwrap();
            assert_eq!(find(from), Some(to(far, 53)), "{name} {pod}");
            assert_eq!(find(to(pod, 4054)), None);
            drop(app);
            let daemon = datagrams(&lab.pod, pod, 4053, DAEMON_MARK);
            daemon.send_to(b"again", to(far, 53)).unwrap();
            assert_eq!(receive(&server), (b"again".to_vec(), to(pod, 4053)), "{name} {pod}");
            server.send_to(b"told", to(pod, 4053)).unwrap();
            assert_eq!(receive(&daemon), (b"told".to_vec(), to(far, 53)), "{name} {pod}");
            // What the pod asks itself for stays its own.
            let own = datagrams(&lab.pod, pod, 53, 0);
            datagrams(&lab.pod, pod, 4055, 0).send_to(b"mine", to(pod, 53)).unwrap();
            assert_eq!(receive(&own).0, b"mine");
        }
    }
}

fn datagrams(netns: &Netns, ip: &str, port: u16, mark: u32) -> UdpSocket {
    let address = to(ip, port);
    let made = move || {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None).unwrap();
        if mark != 0 {
            socket.set_mark(mark).unwrap();
        }
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.bind(&address.into()).unwrap();
        UdpSocket::from(socket)
    };
    netns.run(made).unwrap()
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = [0; 64];
    let (length, from) = loop {
        match socket.recv_from(&mut bytes) {
            // The profiler's test sends signals to the whole process.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            received => break received.expect("a datagram"),
        }
    };
    (bytes[..length].to_vec(), from)
}

/// Sends `TRANSFER` bytes through a connection on threads of their own; `join` gives how many came.
fn transfer(from: &TcpStream, to: &TcpStream) -> JoinHandle<usize> {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    std::thread::spawn(move || {
        let chunk = vec![7; 64 * 1024];
        (0..TRANSFER / chunk.len()).for_each(|_| from.write_all(&chunk).unwrap());
    });
    std::thread::spawn(move || {
        let (mut got, mut buffer) = (0, vec![0; 64 * 1024]);
        while got < TRANSFER {
            match to.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(read) => got += read,
            }
        }
        got
    })
}

const TRANSFER: usize = 32 << 20;

#[test]
fn live_transfers_both_ways_survive_every_change() {
    for redirector in redirectors() {
        let Some(lab) = lab() else { return };
        let addresses = pod_addresses();
        let narrow = plan(&PlanInput { capture_inbound: false, ..PlanInput::default() });
        for (pod, far, client) in families() {
            let app = listen(&lab.pod, pod, 80);
            let inbound = listen(&lab.pod, if pod == POD[0] { "0.0.0.0" } else { "::" }, 15006);
            let outbound = listen(&lab.pod, if pod == POD[0] { "127.0.0.1" } else { "::1" }, 15001);
            let old = dial(&lab.far, to(pod, 80)).unwrap();
            let (old_app, _) = accept(&app);
            redirector.lay(lab.target(&addresses), &default_plan()).map(drop).unwrap();
            let peer = dial(&lab.far, to(pod, 80)).unwrap();
            let (captured, _) = accept(&inbound);
            let dialled = dial(&lab.pod, to(far, 81)).unwrap();
            let (outgoing, _) = accept(&outbound);
            let spoofed = dial_spoofed(&lab.pod, to(client, 0), to(pod, 80)).unwrap();
            let (spoofed_app, _) = accept(&app);
            let pairs = [(&old, &old_app), (&peer, &captured), (&dialled, &outgoing), (&spoofed, &spoofed_app)];
            let transfers: Vec<_> =
                pairs.into_iter().flat_map(|(one, other)| [transfer(one, other), transfer(other, one)]).collect();
            // At least one whole round while bytes flow, and rounds until all have arrived.
            loop {
                redirector.withdraw_redirects(&lab.pod).unwrap();
                redirector.lay(lab.target(&addresses), &narrow).map(drop).unwrap();
                redirector.lay(lab.target(&addresses), &default_plan()).map(drop).unwrap();
                if transfers.iter().all(JoinHandle::is_finished) {
                    break;
                }
            }
            for (at, one) in transfers.into_iter().enumerate() {
                assert_eq!(one.join().unwrap(), TRANSFER, "{} {pod} {at}", redirector.backend());
            }
            redirector.remove(&lab.pod).map(drop).unwrap();
            talk(&old, &old_app);
        }
    }
}
