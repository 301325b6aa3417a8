//! What a pod sends to the DNS proxy. An answer that is written here is one that another reader of DNS understands, is
//! the question's, and is no larger than the asker takes.

use std::sync::OnceLock;

use culvert::dns::fuzzing::{Outcome, ask};
use culvert::mesh::{Reader, State, channel};
use culvert::model::service::{Service, VirtualAddress};
use hickory_proto::op::Message;

/// What `ask` is told.
const NAMESPACE: &str = "shop";

pub fn feed(data: &[u8]) -> bool {
    static WORLD: OnceLock<Reader> = OnceLock::new();
    let view = WORLD.get_or_init(world).view();
    let (bytes, answers) = match ask(data, &view) {
        Outcome::Nothing => {
            assert!(data.len() < 12);
            return false;
        }
        Outcome::Elsewhere => return false,
        Outcome::FormErr(bytes) => {
            assert!(bytes.len() <= data.len() && bytes[3] & 0x0f == 1, "no larger than what came");
            (bytes, false)
        }
        Outcome::Answer { bytes, limit } => {
            assert!(bytes.len() <= limit, "{} of {limit}", bytes.len());
            (bytes, true)
        }
    };
    assert!(bytes[..2] == data[..2] && bytes[2] & 0x80 != 0);
    if answers {
        let read = Message::from_vec(&bytes).expect("another reader understands it");
        assert_eq!(read.queries.len(), 1);
        assert!(read.answers.iter().all(|record| record.ttl > 0));
    }
    answers
}

/// Services of one address, of both families, of many, and of a name with a wildcard.
fn world() -> Reader {
    let service = |hostname: &str, addresses: Vec<VirtualAddress>| Service {
        name: hostname.split('.').next().unwrap_or_default().into(),
        namespace: NAMESPACE.into(),
        hostname: hostname.into(),
        addresses,
        ..Service::default()
    };
    let at = |ip: &str| VirtualAddress::single("".into(), ip.parse().expect("an address"));
    let many = (1..=200).map(|last| at(&format!("10.97.0.{last}"))).collect();
    let services = vec![
        service("web.shop.svc.cluster.local", vec![at("10.96.0.1"), at("fd00:96::1")]),
        service("many.shop.svc.cluster.local", many),
        service("none.shop.svc.cluster.local", Vec::new()),
        service("*.example.com", vec![at("240.240.0.1")]),
    ];
    let (mut writer, reader) = channel();
    writer.replace(State { services, ..State::default() });
    reader
}
