//! A response of incremental xDS, twice in a row: what is held, told and answered stays within what came, and the second
//! time changes nothing of what is held. The first byte says whether addresses are asked for one by one.

use culvert::proto::discovery::DeltaDiscoveryResponse;
use culvert::xds::client::fuzzing::Machine;
use prost::Message;
use tokio::time::Instant;

pub fn feed(data: &[u8]) -> bool {
    let Some((first, response)) = data.split_first() else { return false };
    let now = Instant::now();
    let mut machine = Machine::new(first & 1 == 1);
    let mut held = None;
    for _ in 0..2 {
        let Some((update, requests)) = machine.take(response.to_vec().into(), now) else { return false };
        // Each resource has a tag and a length of its own.
        let most = response.len() / 2;
        assert!(update.workloads.len() + update.services.len() + update.policies.len() <= most);
        assert!(update.removed.len() <= most && machine.held() <= most);
        for request in &requests {
            assert!(request.response_nonce.len() <= 1024 && request.type_url.len() <= 1024);
            let detail = request.error_detail.as_ref();
            assert!(detail.is_none_or(|status| status.message.len() < 8192), "a refusal is short");
        }
        if let Ok(whole) = DeltaDiscoveryResponse::decode(response) {
            let answers = requests.iter().filter(|request| !request.response_nonce.is_empty());
            assert!(answers.into_iter().all(|answer| answer.response_nonce == whole.nonce));
        }
        let before = held.replace(machine.held());
        assert!(before.is_none_or(|before| before == machine.held()), "the same again is the same");
    }
    let versions: usize = machine.open().iter().map(|request| request.initial_resource_versions.len()).sum();
    assert_eq!(versions, machine.held(), "everything that is held is told of after a reconnection");
    versions > 0
}
