use super::*;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use prost::Message as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::server::UnaryService;

use crate::grpc::simulated::{Door, Plane};
use crate::grpc::{RootSource, TokenSource};
use crate::identity::certs::{self, Certs, FetchError, Manager};
use crate::identity::held::State;
use crate::telemetry::cause::chain;
use crate::tls::fixture::{TestCa, id};
use crate::tls::{Credentials, encode_certificates};

const HOUR: Duration = Duration::from_secs(3600);

/// What the simulated CA does with one request; [`Act::Issue`] when nothing was planned.
#[derive(Clone)]
enum Act {
    For(&'static str),
    Hang,
    Issue,
    Roots(Vec<Vec<u8>>),
    Say(Status),
    Slow(Duration),
    Texts(Vec<String>),
}

struct Ca {
    ca: TestCa,
    log: Mutex<Vec<(IstioCertificateRequest, MetadataMap)>>,
    most: AtomicUsize,
    now: AtomicUsize,
    plan: Mutex<VecDeque<Act>>,
}

#[derive(Clone)]
struct Lab {
    ca: Arc<Ca>,
    plane: Plane,
}

struct Busy<'a>(&'a AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Service(Arc<Ca>);

impl UnaryService<IstioCertificateRequest> for Service {
    type Response = IstioCertificateResponse;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<tonic::Response<Self::Response>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<IstioCertificateRequest>) -> Self::Future {
        let ca = Arc::clone(&self.0);
        Box::pin(async move {
            let (metadata, _, message) = request.into_parts();
            ca.log.lock().unwrap().push((message.clone(), metadata));
            ca.most.fetch_max(ca.now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            let _busy = Busy(&ca.now);
            let act = ca.plan.lock().unwrap().pop_front().unwrap_or(Act::Issue);
            let texts = ca.act(act, &message).await?;
            Ok(tonic::Response::new(IstioCertificateResponse { cert_chain: texts }))
        })
    }
}

impl Ca {
    async fn act(&self, act: Act, message: &IstioCertificateRequest) -> Result<Vec<String>, Status> {
        let asked = message.metadata.as_ref().and_then(|metadata| metadata.text(IMPERSONATED));
        let identity = asked.map_or_else(|| id("node"), |asked| asked.parse().unwrap());
        let leaf = |identity: &Identity| {
            let (_, pem) = x509_parser::pem::parse_x509_pem(message.csr.as_bytes()).unwrap();
            let life = Duration::from_secs(message.validity_duration.unsigned_abs());
            let leaf = self.ca.certify(&pem.contents, identity, SystemTime::now() - Duration::from_secs(120), life);
            encode_certificates([leaf.as_slice()])
        };
        match act {
            Act::For(account) => return Ok(vec![leaf(&id(account)), self.ca.pem()]),
            Act::Hang => std::future::pending().await,
            Act::Issue => {}
            Act::Roots(roots) => {
                return Ok(vec![leaf(&identity), encode_certificates(roots.iter().map(Vec::as_slice))]);
            }
            Act::Say(status) => return Err(status),
            Act::Slow(wait) => sleep(wait).await,
            Act::Texts(texts) => return Ok(texts),
        }
        Ok(vec![leaf(&identity), self.ca.pem()])
    }
}

fn lab() -> Lab {
    let ca = Arc::new(Ca {
        ca: TestCa::new(),
        log: Mutex::default(),
        most: AtomicUsize::new(0),
        now: AtomicUsize::new(0),
        plan: Mutex::default(),
    });
    let service = Arc::clone(&ca);
    let plane = Plane::new(ca.ca.server(&["istiod.test"]), move |request| {
        let service = Service(Arc::clone(&service));
        Box::pin(async move {
            if request.uri().path() != METHOD {
                return Status::unimplemented("").into_http();
            }
            tonic::server::Grpc::new(ProstCodec::default()).unary(service, request).await
        })
    });
    Lab { ca, plane }
}

impl Lab {
    fn settings(&self) -> crate::grpc::Settings {
        Plane::settings(RootSource::Pem(self.ca.ca.pem()))
    }

    fn client(&self) -> Arc<CaClient> {
        self.client_with(&self.settings())
    }

    fn client_with(&self, settings: &crate::grpc::Settings) -> Arc<CaClient> {
        Arc::new(CaClient::new(self.plane.endpoint(settings), Settings::default()))
    }

    fn plan(&self, acts: impl IntoIterator<Item = Act>) {
        self.ca.plan.lock().unwrap().extend(acts);
    }

    fn last(&self) -> (IstioCertificateRequest, MetadataMap) {
        self.ca.log.lock().unwrap().last().unwrap().clone()
    }
}

async fn good(client: &CaClient) {
    let issued = client.fetch(&id("cart")).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    Credentials::build(&issued, &id("cart"), SystemTime::now()).unwrap();
}

async fn failed(client: &CaClient) -> (SourceError, String) {
    let error = client.fetch(&id("cart")).await.unwrap_err();
    let text = chain(&error);
    assert!(text.contains("https://istiod.test:15012"), "{text}");
    (error, text)
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_asked_for_as_istio_does() {
    let lab = lab();
    let settings = crate::grpc::Settings {
        token: TokenSource::Literal("t0ken".into()),
        cluster_id: Some("Kubernetes".into()),
        headers: vec![("X_Tenant".into(), "blue".into())],
        ..lab.settings()
    };
    good(&lab.client_with(&settings)).await;
    let (message, headers) = lab.last();
    assert_eq!(message.validity_duration, 86_400);
    let header = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(
        [header("authorization"), header("clusterid"), header("x_tenant")],
        ["Bearer t0ken", "Kubernetes", "blue"]
    );
    // google.protobuf.Struct, byte for byte: fields = 1 {key = 1, value = 2 {string_value = 3}}.
    let spiffe = "spiffe://cluster.local/ns/shop/sa/cart";
    let mut bytes = vec![0x0a, 65, 0x0a, 20];
    bytes.extend_from_slice(b"ImpersonatedIdentity");
    bytes.extend_from_slice(&[0x12, 41 - 1, 0x1a, 38]);
    bytes.extend_from_slice(spiffe.as_bytes());
    bytes[1] = u8::try_from(bytes.len() - 2).unwrap();
    assert_eq!(message.metadata.unwrap().encode_to_vec(), bytes);

    // A node that asks for itself: its token says who it is.
    let settings = Settings { impersonate: false, ttl: HOUR, ..Settings::default() };
    let own = CaClient::new(lab.plane.endpoint(&lab.settings()), settings);
    let issued = own.fetch(&id("node")).await.unwrap();
    Credentials::build(&issued, &id("node"), SystemTime::now()).unwrap();
    let (message, headers) = lab.last();
    assert_eq!((message.metadata, message.validity_duration), (None, 3600));
    assert!(headers.get("authorization").is_none() && headers.get("clusterid").is_none());
}

#[tokio::test(start_paused = true)]
async fn several_requests_are_in_flight_over_one_connection() {
    let lab = lab();
    lab.plan(vec![Act::Slow(Duration::from_secs(1)); 8]);
    let client = lab.client();
    let begun = Instant::now();
    let mut all = JoinSet::new();
    for _ in 0..8 {
        let client = Arc::clone(&client);
        all.spawn(async move { good(&client).await });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    assert_eq!((lab.plane.dials(), lab.ca.most.load(Ordering::Relaxed)), (1, 8));
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_ca_that_is_away_fails_all_who_wait_at_once_and_is_found_again() {
    let lab = lab();
    let client = lab.client();
    for (door, seconds, text) in [
        (Door::Shut, 0, "is the control plane running"),
        (Door::Dead, 5, "did not answer within 5 s"),
        (Door::Silent, 10, "within 10 s"),
        (Door::Noise, 0, "does not speak TLS"),
    ] {
        lab.plane.door(door);
        let (begun, dials) = (Instant::now(), lab.plane.dials());
        let mut all = JoinSet::new();
        for _ in 0..5 {
            let client = Arc::clone(&client);
            all.spawn(async move { failed(&client).await });
        }
        while let Some(done) = all.join_next().await {
            let (error, said) = done.unwrap();
            assert!(matches!(error, SourceError::Unavailable(_)) && said.contains(text), "{said}");
        }
        assert_eq!((begun.elapsed().as_secs(), lab.plane.dials() - dials), (seconds, 1), "{door:?}: one attempt");
        // The handshake's limit and the request's are the same.
        sleep(Duration::from_secs(1)).await;
    }
    lab.plane.door(Door::Open);
    good(&client).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_ca_meets_the_deadline_and_a_silent_line_is_given_up() {
    let lab = lab();
    lab.plan([Act::Hang, Act::Slow(Duration::from_secs(9))]);
    let client = lab.client();
    let begun = Instant::now();
    let (error, text) = failed(&client).await;
    assert!(matches!(error, SourceError::Unavailable(_)) && text.contains("did not answer within 10 s"), "{text}");
    assert_eq!(begun.elapsed().as_secs(), 10);
    good(&client).await;
    assert_eq!(lab.plane.dials(), 2, "nothing had come over the first");
    // One that is stuck among others that are answered is no reason to dial.
    lab.plan([Act::Hang]);
    let mut stuck = JoinSet::new();
    let other = Arc::clone(&client);
    stuck.spawn(async move { failed(&other).await });
    sleep(Duration::from_secs(1)).await;
    good(&client).await;
    stuck.join_next().await.unwrap().unwrap();
    good(&client).await;
    assert_eq!(lab.plane.dials(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ended_while_idle_is_no_failure() {
    let lab = lab();
    let client = lab.client();
    good(&client).await;
    lab.plane.cut();
    sleep(Duration::from_secs(60)).await;
    good(&client).await;
    assert_eq!(lab.plane.dials(), 2);
    // One that was silent for long is not even tried.
    sleep(HOUR).await;
    good(&client).await;
    assert_eq!(lab.plane.dials(), 3);
    // And the new connection is tried once only.
    lab.plane.cut();
    lab.plane.door(Door::Shut);
    let (error, _) = failed(&client).await;
    assert!(matches!(error, SourceError::Unavailable(_)));
    assert_eq!(lab.plane.dials(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_the_ca_the_status_and_the_mend() {
    let lab = lab();
    let client = lab.client();
    for (status, refused, text) in [
        (Status::unauthenticated("no"), true, "Unauthenticated (no): it does not know us"),
        (Status::permission_denied("no"), true, "PermissionDenied (no): look at the trusted node accounts"),
        (Status::invalid_argument("ttl"), true, "InvalidArgument (ttl): it does not like the request"),
        (Status::unimplemented(""), true, "Unimplemented (without a word): nobody issues certificates there"),
        (Status::failed_precondition("no"), true, "FailedPrecondition"),
        (Status::unavailable("busy"), false, "failed with Unavailable (busy): it is tried again"),
        (Status::internal("a\nb"), false, "Internal (a b)"),
        (Status::resource_exhausted("no"), false, "ResourceExhausted"),
        (Status::unknown("x".repeat(2000)), false, "Unknown (xxx"),
    ] {
        lab.plan([Act::Say(status)]);
        let (error, said) = failed(&client).await;
        assert_eq!(matches!(error, SourceError::Refused(_)), refused, "{said}");
        assert!(said.contains(text) && said.len() < 800, "{said}");
    }
    good(&client).await;
    assert_eq!(lab.plane.dials(), 1, "a CA that answers is not dialled again");
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_shape_is_refused() {
    let lab = lab();
    let client = lab.client();
    let root = lab.ca.ca.pem();
    for (texts, text) in [
        (vec![], "has no certificate"),
        (vec![root.clone()], "no roots"),
        (vec!["garbage".into(), root.clone()], "has no certificate"),
        (vec![root.clone(); 33], "more than 32 texts"),
        (vec![root.repeat(11), root.clone()], "more than 10 certificates"),
        (vec!["x".repeat(2 << 20), root.clone()], "larger than either side takes"),
    ] {
        lab.plan([Act::Texts(texts)]);
        let (error, said) = failed(&client).await;
        assert!(!matches!(error, SourceError::Unavailable(_)) && said.contains(text), "{said}");
    }
    good(&client).await;
}

#[tokio::test(start_paused = true)]
async fn a_root_file_that_changes_makes_a_new_connection_and_a_broken_one_does_not() {
    let (lab, other) = (lab(), TestCa::new());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("root-cert.pem");
    let settings = crate::grpc::Settings { roots: RootSource::File(path.clone()), ..lab.settings() };
    let client = lab.client_with(&settings);
    let (_, text) = failed(&client).await;
    assert!(text.contains("root-cert.pem") && lab.plane.dials() == 0, "{text}");
    std::fs::write(&path, lab.ca.ca.pem()).unwrap();
    good(&client).await;
    for broken in ["", "-----BEGIN CERTIFICATE-----", "no PEM"] {
        std::fs::write(&path, broken).unwrap();
        good(&client).await;
    }
    assert_eq!(lab.plane.dials(), 1, "the old channel is kept");
    std::fs::write(&path, lab.ca.ca.pem()).unwrap();
    good(&client).await;
    assert_eq!(lab.plane.dials(), 1, "nothing has changed");

    // New roots by which the CA is not known yet: the connection that stands is used, the new one is tried each time.
    std::fs::write(&path, other.pem()).unwrap();
    good(&client).await;
    good(&client).await;
    assert_eq!(lab.plane.dials(), 3);
    lab.plane.certificate(other.server(&["istiod.test"]));
    good(&client).await;
    good(&client).await;
    assert_eq!(lab.plane.dials(), 4);
    // The old one is not brought back to life by the old roots' absence.
    std::fs::write(&path, lab.ca.ca.pem()).unwrap();
    good(&client).await;
    lab.plane.cut();
    sleep(Duration::from_secs(1)).await;
    failed(&client).await;
    let (_, text) = failed(&client).await;
    assert!(text.contains("not signed by a root"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_token_file_that_vanishes_keeps_the_last_token_until_it_is_refused() {
    let lab = lab();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("istio-token");
    let settings = crate::grpc::Settings { token: TokenSource::File(path.clone()), ..lab.settings() };
    let client = lab.client_with(&settings);
    let sent = || lab.last().1.get("authorization").unwrap().to_str().unwrap().to_owned();
    let (_, text) = failed(&client).await;
    assert!(text.contains("istio-token") && text.contains("no token"), "{text}");
    assert!(lab.ca.log.lock().unwrap().is_empty(), "nothing is asked without it");
    std::fs::write(&path, "one").unwrap();
    good(&client).await;
    std::fs::write(&path, "two\n").unwrap();
    good(&client).await;
    assert_eq!(sent(), "Bearer two");
    std::fs::remove_file(&path).unwrap();
    good(&client).await;
    assert_eq!(sent(), "Bearer two");
    lab.plan([Act::Say(Status::unauthenticated("expired"))]);
    let (_, text) = failed(&client).await;
    assert!(text.contains("the token") && !text.contains("two"), "{text}");
    let asked = lab.ca.log.lock().unwrap().len();
    failed(&client).await;
    assert_eq!(lab.ca.log.lock().unwrap().len(), asked, "it is not shown again");
    std::fs::write(&path, "three").unwrap();
    good(&client).await;
    assert_eq!((sent(), lab.plane.dials()), ("Bearer three".to_owned(), 1));
}

struct Kept {
    certs: Certs,
    /// Ends the manager when it is dropped.
    _manager: JoinSet<()>,
}

fn kept(lab: &Lab) -> Kept {
    let (begun, wall) = (Instant::now(), SystemTime::now());
    let clock: certs::Clock = Arc::new(move || wall + begun.elapsed());
    let config = certs::Config { clock, jitter: Arc::new(|| 0.5), ..certs::Config::system() };
    let client = CaClient::new(lab.plane.endpoint(&lab.settings()), Settings::default());
    let (certs, manager) = Manager::build(config, client);
    let mut tasks = JoinSet::new();
    tasks.spawn(manager.run(CancellationToken::new()));
    Kept { certs, _manager: tasks }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_for_another_identity_than_asked_is_refused() {
    let lab = lab();
    lab.plan([Act::For("till"), Act::For("till")]);
    let kept = kept(&lab);
    let pod = kept.certs.acquire(&id("cart"));
    assert!(pod.wait(Duration::from_millis(500)).await.is_err());
    let report = kept.certs.report().swap_remove(0);
    let error = report.last_error.unwrap();
    assert!(matches!(&*error, FetchError::Credentials(_)), "{error:?}");
    let State::Unavailable(said) = kept.certs.held().swap_remove(0).state else { panic!() };
    assert!(said.contains("ns/shop/sa/cart, was issued one of spiffe://cluster.local/ns/shop/sa/till"), "{said}");
    // And one of the right identity is taken as soon as there is one.
    pod.wait(HOUR).await.unwrap();
    assert_eq!(kept.certs.held()[0].state, State::Available);
}

#[tokio::test(start_paused = true)]
async fn several_roots_come_in_one_answer_and_the_expired_and_the_broken_are_left_out() {
    let (lab, next) = (lab(), TestCa::new());
    let past = next.root_until(SystemTime::now() - HOUR);
    lab.plan([Act::Roots(vec![past, vec![1, 2, 3], next.root.clone(), lab.ca.ca.root.clone()])]);
    let kept = kept(&lab);
    let pod = kept.certs.acquire(&id("cart"));
    let credentials = pod.wait(HOUR).await.unwrap();
    assert_eq!(credentials.roots().collect::<Vec<_>>(), [next.root.as_slice(), &lab.ca.ca.root]);
    assert_eq!(kept.certs.held()[0].roots.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn while_the_ca_is_away_what_is_valid_is_served() {
    let lab = lab();
    let kept = kept(&lab);
    let pod = kept.certs.acquire(&id("cart"));
    let first = pod.wait(HOUR).await.unwrap();
    lab.plane.cut();
    lab.plane.door(Door::Dead);
    sleep(23 * HOUR).await;
    assert_eq!(pod.certificate().unwrap().not_after(), first.not_after());
    let report = kept.certs.report().swap_remove(0);
    assert!(report.failures > 200, "{report:?}");
    assert!(chain(&*report.last_error.unwrap()).contains("https://istiod.test:15012: the host did not answer"));
    lab.plane.door(Door::Open);
    sleep(Duration::from_secs(200)).await;
    // The simulated CA dates by the machine's clock, so the new one ends with the old; only the failures are over.
    assert_eq!(kept.certs.report()[0].failures, 0);
}
