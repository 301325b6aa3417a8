//! `istio.v1.auth.IstioCertificateService`: one method, CreateCertificate.

use std::future::ready;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::super::authority::{Authority, Signed};
use super::super::error::CaError;
use super::calls::{self, Calls};
use super::denied::Denied;
use super::grant::{self, Placement};
use super::rates::Rates;
use crate::grpc::server::{Answering, Body, Caller, Service};
use crate::proto::ca::{IstioCertificateRequest, IstioCertificateResponse};
use crate::telemetry::cause::chain;
use crate::telemetry::metrics::{Metrics, table};
use crate::telemetry::seldom::Seldom;
use crate::tls::{encode_certificates, pem_certificate_request};

/// The largest request, 64 KiB: a certificate request of RSA-4096 is 2 KiB of text.
const LARGEST_REQUEST: usize = 64 << 10;

/// What a request may take, 10 s, from its first byte to its answer: it is 2 KiB, and signed in milliseconds.
const WITHIN: Duration = Duration::from_secs(10);

/// The service. Clones are the same.
#[derive(Clone)]
pub struct Certificates(Arc<Shared>);

struct Shared {
    authority: watch::Receiver<Authority>,
    placement: watch::Receiver<Arc<Placement>>,
    default_ttl: Duration,
    calls: Calls,
    rates: Mutex<Rates>,
    denials: Mutex<Seldom>,
    metrics: Metrics,
}

// === impl Certificates ===

impl Certificates {
    /// Signs with the `authority` of the moment for pods of the `placement` of the moment; `default_ttl` is for requests
    /// that ask for none.
    pub fn new(
        authority: watch::Receiver<Authority>,
        placement: watch::Receiver<Arc<Placement>>,
        default_ttl: Duration,
        metrics: Metrics,
    ) -> Self {
        Self(Arc::new(Shared {
            authority,
            placement,
            default_ttl,
            calls: Calls::default(),
            rates: Mutex::default(),
            denials: Mutex::default(),
            metrics,
        }))
    }

    async fn create(
        self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let caller = request.extensions().get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| Status::unauthenticated("authentication failed"))?;
        let shared = &*self.0;
        let result = shared.issue(&caller, request.into_inner()).await;
        if result.is_ok() {
            shared.metrics.counter(table::CA_REQUESTS, ["issued"]).increment();
        }
        result.map(Response::new).map_err(|denied| shared.refuse(&caller.name, &denied))
    }
}

impl Shared {
    /// Counts and tells a refusal, and answers what the peer hears of it.
    fn refuse(&self, caller: &str, denied: &Denied) -> Status {
        self.metrics.counter(table::CA_REQUESTS, [denied.label()]).increment();
        let word = self.denials.lock().unwrap_or_else(PoisonError::into_inner).word(Instant::now());
        if let Some(others) = word {
            tracing::warn!(caller, reason = chain(denied), others, "a certificate was refused");
        }
        denied.status()
    }

    async fn issue(
        &self,
        caller: &Caller,
        request: IstioCertificateRequest,
    ) -> Result<IstioCertificateResponse, Denied> {
        if !self.rates.lock().unwrap_or_else(PoisonError::into_inner).take(&caller.name, Instant::now()) {
            return Err(Denied::Rate);
        }
        let IstioCertificateRequest { csr, validity_duration, metadata } = request;
        let authority = self.authority.borrow().clone();
        let placement = Arc::clone(&self.placement.borrow());
        let identity = grant::grant(caller, metadata.as_ref(), authority.trust_domain(), &placement)?;
        let ttl = grant::ttl(validity_duration, self.default_ttl)?;
        let der = pem_certificate_request(csr.as_bytes()).ok().flatten().ok_or(Denied::Csr(None))?;
        let whose = identity.clone();
        // The request's signature is checked and a leaf signed: a millisecond, and ten with an RSA signer.
        let signed = tokio::task::spawn_blocking(move || authority.issue_csr(&der, &whose, ttl, SystemTime::now()));
        let signed = signed.await.map_err(|_| Denied::Sign(CaError::Sign("the task that signs ended")))?;
        let Signed { chain, roots, not_after, .. } = signed.map_err(|error| match error {
            CaError::Csr(_) => Denied::Csr(Some(error)),
            other => Denied::Sign(other),
        })?;
        tracing::info!(
            caller = %caller.name,
            %identity,
            seconds = not_after.duration_since(SystemTime::now()).unwrap_or_default().as_secs(),
            "a certificate was issued"
        );
        let mut cert_chain: Vec<_> = chain.iter().map(|der| encode_certificates([der.as_slice()])).collect();
        cert_chain.push(encode_certificates(roots.iter().map(Vec::as_slice)));
        Ok(IstioCertificateResponse { cert_chain })
    }
}

impl Service for Certificates {
    fn name(&self) -> &'static str {
        "istio.v1.auth.IstioCertificateService"
    }

    fn call(&self, method: &str, request: http::Request<Body>) -> Answering {
        if method != "CreateCertificate" {
            return Box::pin(ready(Status::unimplemented("only CreateCertificate is served").into_http()));
        }
        let Some(caller) = request.extensions().get::<Caller>().map(|caller| Arc::clone(&caller.name)) else {
            return Box::pin(ready(Status::unauthenticated("authentication failed").into_http()));
        };
        let Some(call) = self.0.calls.begin(&caller) else {
            let status = self.0.refuse(&caller, &Denied::AtOnce { most: calls::MOST });
            return Box::pin(ready(status.into_http()));
        };
        let this = self.clone();
        Box::pin(async move {
            let _call = call;
            let shared = Arc::clone(&this.0);
            let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(LARGEST_REQUEST);
            let answer = timeout(WITHIN, grpc.unary(this, request)).await;
            answer.unwrap_or_else(|_| shared.refuse(&caller, &Denied::Late { within: WITHIN }).into_http())
        })
    }
}

impl UnaryService<IstioCertificateRequest> for Certificates {
    type Response = IstioCertificateResponse;
    type Future = Pin<Box<dyn Future<Output = Result<Response<IstioCertificateResponse>, Status>> + Send>>;

    fn call(&mut self, request: Request<IstioCertificateRequest>) -> Self::Future {
        Box::pin(self.clone().create(request))
    }
}
