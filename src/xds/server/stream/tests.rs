//! A stream against paused time: every wait has an end, and the end has a reason.

use prost::Message;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::*;
use crate::proto::discovery::{DeltaDiscoveryResponse, Node};
use crate::proto::google::Struct;
use crate::telemetry::metrics;
use crate::xds::server::clients::Clients;
use crate::xds::server::publish::{Inbox, Resources, Store};
use crate::xds::server::simulated::workload;

struct Peer {
    store: Store,
    requests: mpsc::Sender<Result<DeltaDiscoveryRequest, Status>>,
    responses: mpsc::Receiver<Result<Marshalled, Status>>,
    closing: CancellationToken,
    caller: Caller,
    metrics: Metrics,
    first_requests: Arc<Semaphore>,
    /// Something of a request has come.
    progress: watch::Sender<()>,
}

fn peer(store: Store) -> (Peer, impl Future<Output = ()>) {
    peer_with(store, Limits { names: 10, name_bytes: 1000, response: 2 << 20 })
}

fn peer_with(store: Store, limits: Limits) -> (Peer, impl Future<Output = ()>) {
    let (requests, incoming) = mpsc::channel(8);
    let (outgoing, responses) = mpsc::channel(1);
    let metrics = Metrics::new(metrics::Config { series_budget: 100 }, "test");
    let (caller, closing) = (Caller::node("a"), CancellationToken::new());
    let (progress, progresses) = watch::channel(());
    let first_requests = Arc::new(Semaphore::new(1));
    let client = Client {
        place: Clients::new(10, 10).join(&caller).unwrap(),
        caller: caller.clone(),
        limits,
        snapshots: store.reader(),
        first_requests: Arc::clone(&first_requests),
        progress: progresses,
        metrics: metrics.clone(),
        closing: closing.clone(),
    };
    let served = serve(client, Box::pin(ReceiverStream::new(incoming)), outgoing);
    (Peer { store, requests, responses, closing, caller, metrics, first_requests, progress }, served)
}

fn resources(count: u8) -> Resources {
    Resources { workloads: (0..count).map(|n| workload(n, "a")).collect(), ..Resources::default() }
}

fn request(kind: Type) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: kind.url().to_owned(), ..DeltaDiscoveryRequest::default() }
}

impl Peer {
    async fn say(&self, request: DeltaDiscoveryRequest) {
        self.requests.send(Ok(request)).await.unwrap();
    }

    async fn hear(&mut self) -> DeltaDiscoveryResponse {
        DeltaDiscoveryResponse::decode(self.responses.recv().await.unwrap().unwrap()).unwrap()
    }

    async fn acknowledge(&self, response: &DeltaDiscoveryResponse) {
        let nonce = response.nonce.clone();
        self.say(DeltaDiscoveryRequest { response_nonce: nonce, ..request(Type::Address) }).await;
    }

    /// The status that ends the stream; `None` is a clean end.
    async fn end(&mut self) -> Option<Code> {
        self.responses.recv().await.map(|end| end.unwrap_err().code())
    }
}

#[tokio::test(start_paused = true)]
async fn changes_arrive_and_merge_while_an_answer_is_awaited() {
    let (mut peer, served) = peer(Store::new(&resources(1)));
    let story = async {
        peer.say(request(Type::Address)).await;
        let first = peer.hear().await;
        for count in 2..6 {
            peer.store.replace(&resources(count));
            sleep(Duration::from_secs(1)).await;
        }
        peer.acknowledge(&first).await;
        let second = peer.hear().await;
        assert_eq!((first.resources.len(), second.resources.len()), (1, 4));
        let clients = peer.metrics.gauge(table::XDS_CLIENTS, []);
        assert_eq!(clients.value(), 1);
        peer.acknowledge(&second).await;
        drop(peer.requests);
        assert!(peer.responses.recv().await.is_none(), "a clean end");
    };
    tokio::join!(served, story);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_the_stream() {
    let (mut silent, served) = peer(Store::new(&resources(1)));
    let start = Instant::now();
    let (_, end) = tokio::join!(served, silent.end());
    assert_eq!((end, start.elapsed()), (Some(Code::DeadlineExceeded), FIRST));

    let (mut deaf, served) = peer(Store::new(&resources(1)));
    let story = async {
        deaf.say(request(Type::Address)).await;
        deaf.hear().await;
        let start = Instant::now();
        (deaf.end().await, start.elapsed())
    };
    let (_, end) = tokio::join!(served, story);
    assert_eq!(end, (Some(Code::DeadlineExceeded), ANSWER));

    // A client that does not read: one response waits for it, the next one is not taken off our hands.
    let (stuck, served) = peer(Store::new(&resources(1)));
    let start = Instant::now();
    for kind in ["a", "b", "c"] {
        let mut request = request(Type::Address);
        request.resource_names_subscribe = vec![kind.to_owned()];
        stuck.say(request).await;
    }
    served.await;
    assert_eq!(start.elapsed(), WRITE);
    drop(stuck);
}

#[tokio::test(start_paused = true)]
async fn age_and_a_withdrawn_token_end_the_stream() {
    let (mut old, served) = peer(Store::new(&resources(1)));
    let story = async {
        old.say(request(Type::Address)).await;
        old.hear().await;
        old.closing.cancel();
        old.end().await
    };
    assert_eq!(tokio::join!(served, story).1, None);

    let (mut withdrawn, served) = peer(Store::new(&resources(1)));
    let story = async {
        withdrawn.say(request(Type::Address)).await;
        withdrawn.hear().await;
        withdrawn.caller.withdrawn.cancel();
        withdrawn.end().await
    };
    assert_eq!(tokio::join!(served, story).1, Some(Code::Unauthenticated));
}

/// An answer of several responses that its client does not read.
#[tokio::test(start_paused = true)]
async fn a_withdrawn_token_ends_a_stream_in_the_middle_of_an_answer() {
    let (peer, served) = peer(Store::new(&resources(1)));
    let start = Instant::now();
    let story = async {
        for kind in ["a", "b", "c"] {
            let mut request = request(Type::Address);
            request.resource_names_subscribe = vec![kind.to_owned()];
            peer.say(request).await;
        }
        sleep(Duration::from_secs(1)).await;
        peer.caller.withdrawn.cancel();
    };
    tokio::join!(served, story);
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn another_nodes_name_and_too_many_names_are_refused() {
    let named = |name: &str| {
        let fields = [("NODE_NAME".to_owned(), name.to_owned().into())].into();
        let node = Node { id: "ztunnel~1.1.1.1~z.s~s".to_owned(), metadata: Some(Struct { fields }) };
        DeltaDiscoveryRequest { node: Some(node), ..request(Type::Address) }
    };
    for (name, expected) in [("b", Some(Code::PermissionDenied)), ("a", None), ("", None)] {
        let (mut peer, served) = peer(Store::new(&resources(1)));
        let story = async {
            peer.say(named(name)).await;
            match peer.responses.recv().await.unwrap() {
                Ok(_) => {
                    peer.closing.cancel();
                    None
                }
                Err(status) => Some(status.code()),
            }
        };
        assert_eq!(tokio::join!(served, story).1, expected, "{name}");
    }
    let (mut greedy, served) = peer(Store::new(&resources(1)));
    let story = async {
        let names = (0..11).map(|n| n.to_string()).collect();
        greedy.say(DeltaDiscoveryRequest { resource_names_subscribe: names, ..request(Type::Address) }).await;
        greedy.end().await
    };
    assert_eq!(tokio::join!(served, story).1, Some(Code::ResourceExhausted));
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_refusals_is_counted_and_ends_nothing() {
    let (mut peer, served) = peer(Store::new(&resources(1)));
    let story = async {
        peer.say(request(Type::Address)).await;
        let mut response = peer.hear().await;
        for count in 2..250 {
            let refusal = DeltaDiscoveryRequest {
                response_nonce: response.nonce.clone(),
                error_detail: Some(crate::proto::google::Status { code: 3, message: "no".to_owned() }),
                ..request(Type::Address)
            };
            peer.say(refusal).await;
            peer.store.replace(&resources(count));
            response = peer.hear().await;
        }
        assert_eq!(peer.metrics.counter(table::XDS_NACKS, ["address"]).value(), 248);
        drop(peer.requests);
        while peer.responses.recv().await.is_some() {}
    };
    tokio::join!(served, story);
}

#[tokio::test(start_paused = true)]
async fn what_is_put_is_published_when_it_is_quiet() {
    let store = Store::new(&Resources::default());
    let (inbox, stop) = (Inbox::default(), CancellationToken::new());
    let mut changes = store.reader();
    let story = async {
        let start = Instant::now();
        for count in 0..20 {
            inbox.put(resources(count));
            sleep(Duration::from_millis(50)).await;
        }
        changes.changed().await.unwrap();
        assert_eq!(changes.borrow_and_update().len(Type::Address), 19, "the last one, at once");
        assert!(start.elapsed() < Duration::from_millis(1200));
        stop.cancel();
    };
    tokio::join!(store.clone().follow(inbox.clone(), stop.clone()), story);
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_takes_no_room_and_a_slow_request_has_its_time() {
    let (mut silent, served) = peer(Store::new(&resources(1)));
    let room = Arc::clone(&silent.first_requests);
    let story = async {
        sleep(FIRST / 2).await;
        assert_eq!(room.available_permits(), 1);
        silent.end().await
    };
    assert_eq!(tokio::join!(served, story).1, Some(Code::DeadlineExceeded));

    let (mut slow, served) = peer(Store::new(&resources(1)));
    let story = async {
        for _ in 0..6 {
            slow.progress.send_replace(());
            sleep(Duration::from_secs(9)).await;
            assert_eq!(slow.first_requests.available_permits(), 0);
        }
        slow.say(request(Type::Address)).await;
        slow.hear().await;
        assert_eq!(slow.first_requests.available_permits(), 1);
        drop(slow.requests);
    };
    tokio::join!(served, story);

    // A byte each 9 s holds it for a minute and no longer.
    let (mut trickle, served) = peer(Store::new(&resources(1)));
    let start = Instant::now();
    let story = async {
        let progress = async {
            loop {
                trickle.progress.send_replace(());
                sleep(Duration::from_secs(9)).await;
            }
        };
        tokio::select! {
            () = progress => None,
            end = trickle.responses.recv() => end,
        }
    };
    let (_, end) = tokio::join!(served, story);
    assert_eq!((end.unwrap().unwrap_err().code(), start.elapsed()), (Code::DeadlineExceeded, WHOLE_FIRST));
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_room_is_told_so_and_who_finds_it_late_is_served() {
    for (held, expected) in [(ROOM - Duration::from_secs(2), None), (ROOM * 2, Some(Code::ResourceExhausted))] {
        let (mut peer, served) = peer(Store::new(&resources(1)));
        let others = Arc::clone(&peer.first_requests).acquire_owned().await.unwrap();
        let story = async {
            peer.progress.send_replace(());
            sleep(Duration::from_secs(1)).await;
            peer.say(request(Type::Address)).await;
            let release = async {
                sleep(held).await;
                drop(others);
            };
            let (_, answer) = tokio::join!(release, peer.responses.recv());
            drop(peer.requests);
            answer.unwrap().err().map(|status| status.code())
        };
        assert_eq!(tokio::join!(served, story).1, expected);
    }
}

/// One long request on the processor that all streams share.
#[tokio::test(start_paused = true)]
async fn others_have_their_turn_while_a_long_request_is_worked_through() {
    let limits = Limits { names: 100_000, name_bytes: 1 << 20, response: 2 << 20 };
    let (mut peer, served) = peer_with(Store::new(&resources(1)), limits);
    let story = async {
        let names = (0..50_000).map(|n| n.to_string()).collect();
        peer.say(DeltaDiscoveryRequest { resource_names_subscribe: names, ..request(Type::Address) }).await;
        let mut turns = 0;
        while peer.responses.is_empty() {
            turns += 1;
            yield_now().await;
        }
        assert!(turns > 10, "{turns}");
        drop(peer.requests);
        peer.responses.close();
    };
    tokio::join!(served, story);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_asks_without_end_rests() {
    let (mut peer, served) = peer(Store::new(&resources(1)));
    let start = Instant::now();
    let story = async {
        peer.say(request(Type::Address)).await;
        let first = peer.hear().await;
        for _ in 0..4 {
            let resource_names_unsubscribe = vec![String::new(); 400_000];
            peer.say(DeltaDiscoveryRequest { resource_names_unsubscribe, ..request(Type::Address) }).await;
        }
        peer.acknowledge(&first).await;
        let resource_names_subscribe = vec!["a".to_owned()];
        peer.say(DeltaDiscoveryRequest { resource_names_subscribe, ..request(Type::Address) }).await;
        peer.hear().await;
        // 600,000 more than there are at once, 20 µs each.
        assert!(start.elapsed() > Duration::from_secs(12), "{:?}", start.elapsed());
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
        drop(peer.requests);
    };
    tokio::join!(served, story);
}

/// The first policies are not divided, and a line of half a megabit has time for them.
#[tokio::test(start_paused = true)]
async fn a_large_response_has_the_time_of_its_bytes() {
    let large = || {
        let mut resources = resources(1);
        resources.workloads[0].hostname = "x".repeat(8 << 20).into();
        resources
    };
    let (mut slow, served) = peer(Store::new(&large()));
    let story = async {
        slow.say(request(Type::Address)).await;
        let response = slow.hear().await;
        sleep(ANSWER * 2).await;
        // Another word meanwhile does not make it shorter.
        slow.say(DeltaDiscoveryRequest { resource_names_subscribe: vec!["a".into()], ..request(Type::Workload) }).await;
        slow.hear().await;
        sleep(ANSWER + Duration::from_secs(1)).await;
        slow.acknowledge(&response).await;
        drop(slow.requests);
        while let Some(more) = slow.responses.recv().await {
            assert!(more.is_ok(), "a clean end after the node's own workloads: {:?}", more.err());
        }
    };
    tokio::join!(served, story);

    let (mut deaf, served) = peer(Store::new(&large()));
    let story = async {
        deaf.say(request(Type::Address)).await;
        deaf.hear().await;
        let start = Instant::now();
        (deaf.end().await, start.elapsed())
    };
    let (_, end) = tokio::join!(served, story);
    assert_eq!(end, (Some(Code::DeadlineExceeded), ANSWER + Duration::from_secs(128)));
}
