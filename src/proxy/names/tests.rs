use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A name server that knows a few names, and how many questions it was asked.
async fn server() -> (Names, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = socket.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            count.fetch_add(1, Ordering::Relaxed);
            drop(socket.send_to(&answer(&buffer[..length]), from).await);
        }
    });
    let names = Names::new(Netns::own().unwrap(), 0);
    names.follow(Box::new(move || Some(address)));
    (names, asked)
}

/// RFC 1035, section 4: the question again, with the records of its name.
fn answer(question: &[u8]) -> Vec<u8> {
    let mut at = 12;
    let mut name = String::new();
    while question[at] != 0 {
        let length = usize::from(question[at]);
        name += &String::from_utf8_lossy(&question[at + 1..=at + length]).to_ascii_lowercase();
        name.push('.');
        at += length + 1;
    }
    let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    let end = at + 5;
    let v4 = |ips: &[[u8; 4]]| ips.iter().map(|ip| ip.to_vec()).collect::<Vec<_>>();
    let v6 = vec![std::net::Ipv6Addr::LOCALHOST.octets().map(|b| b | 0xfd).to_vec()];
    let records = match (name.as_str(), kind) {
        ("db.test.", 1) => v4(&[[10, 9, 9, 1], [10, 9, 9, 2]]),
        ("db.test.", 28) => v6,
        ("four.test.", 1) => v4(&[[10, 9, 9, 4]]),
        ("self.test.", 1) => v4(&[[127, 0, 0, 1], [0, 0, 0, 0], [224, 0, 0, 1]]),
        _ => Vec::new(),
    };
    let known = ["db.test.", "four.test.", "self.test."].contains(&name.as_str());
    let mut out = question[..2].to_vec();
    out.extend([0x81, if known { 0x80 } else { 0x83 }, 0, 1, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0]);
    out.extend(&question[12..end]);
    for record in records {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        // Internet, one second.
        out.extend([0, 1, 0, 0, 0, 1, 0, u8::try_from(record.len()).unwrap()]);
        out.extend(record);
    }
    out
}

#[tokio::test]
async fn a_name_is_looked_up_in_the_callers_family_and_for_as_long_as_it_says() {
    let (names, asked) = server().await;
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    assert_eq!(names.lookup("db.test", true, 0).await.unwrap(), ip("10.9.9.1"));
    let first = asked.load(Ordering::Relaxed);
    assert_eq!(names.lookup("db.test.", true, 1).await.unwrap(), ip("10.9.9.2"), "chance chooses");
    assert!(names.lookup("db.test", false, 0).await.unwrap().is_ipv6());
    assert_eq!(asked.load(Ordering::Relaxed), first, "answered from memory");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    names.lookup("db.test", true, 0).await.unwrap();
    assert!(asked.load(Ordering::Relaxed) > first, "its second is over");
    // The other family is better than none.
    assert_eq!(names.lookup("four.test", false, 7).await.unwrap(), ip("10.9.9.4"));
    assert!(matches!(names.lookup("self.test", true, 0).await, Err(NameError::None { .. })));
    assert!(matches!(names.lookup("gone.test", true, 0).await, Err(NameError::Lookup { .. })));
}

#[tokio::test]
async fn a_pod_that_asks_another_server_hears_what_that_one_says() {
    let ((one, _), (two, asked)) = (server().await, server().await);
    let second = two.asked.get().unwrap()().unwrap();
    let moved = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (first, has_moved) = (one.asked.get().unwrap()().unwrap(), Arc::clone(&moved));
    let names = Names::new(Netns::own().unwrap(), 0);
    names.follow(Box::new(move || Some(if has_moved.load(Ordering::Relaxed) { second } else { first })));
    names.lookup("db.test", true, 0).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    moved.store(true, Ordering::Relaxed);
    names.lookup("db.test", true, 0).await.unwrap();
    assert!(asked.load(Ordering::Relaxed) > 0, "not what the other one has said");
}
