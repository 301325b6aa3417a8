//! The client itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::uri::PathAndQuery;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions, Status};
use tonic_prost::ProstCodec;

use super::answer::{self, Bundle};
use super::csr::{self, Request};
use super::error::CaError;
use super::line::{Line, Lines, NoLine};
use crate::grpc::{Channel, Endpoint, lost};
use crate::identity::source::{CertSource, Issued, SourceError};
use crate::model::spiffe::Identity;
use crate::proto::ca::{IstioCertificateRequest, IstioCertificateResponse};
use crate::proto::google::Struct;
use crate::tls::describe;

const METHOD: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
/// Says whom a certificate is for, when not for the caller.
const IMPERSONATED: &str = "ImpersonatedIdentity";

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Life of a certificate; the CA may give less.
    pub ttl: Duration,
    /// Whether the node asks for its pods. Off for one that asks for itself: the CA then takes the identity from the
    /// token, and what it answers must still be the one that was asked for.
    pub impersonate: bool,
    /// One request with its connection, 10 s: less than what the manager of certificates waits, so that the error
    /// names the CA.
    pub deadline: Duration,
}

/// Certificates of a CA on the network.
pub struct CaClient {
    endpoint: Endpoint,
    lines: Mutex<Lines>,
    settings: Settings,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(24 * 3600), impersonate: true, deadline: Duration::from_secs(10) }
    }
}

// === impl CaClient ===

impl CaClient {
    pub fn new(endpoint: Endpoint, settings: Settings) -> Self {
        Self { endpoint, lines: Mutex::default(), settings }
    }

    async fn attempt(&self, identity: &Identity) -> Result<Issued, CaError> {
        let Request { pem, key } = csr::request(identity)?;
        let message = self.message(identity, pem);
        let mut again = true;
        let response = loop {
            // First, so that without a token nothing is dialled.
            let no_token = |source| CaError::Token { ca: self.endpoint.address().clone(), source };
            let metadata = self.endpoint.metadata().map_err(no_token)?;
            let (line, channel, old) = self.line().await?;
            let call = line.call();
            match self.ask(channel, metadata, message.clone()).await {
                Ok(response) => {
                    call.answered();
                    break response;
                }
                Err(status) if lost(&status) => {
                    call.lost();
                    // It may have ended while it was idle; that is no failure of the CA. Once, though.
                    if !(old && std::mem::take(&mut again)) {
                        return Err(CaError::of(self.endpoint.address(), &status));
                    }
                }
                Err(status) => {
                    call.answered();
                    if status.code() == Code::Unauthenticated {
                        self.endpoint.token_refused();
                    }
                    return Err(CaError::of(self.endpoint.address(), &status));
                }
            }
        };
        let refused = |source| CaError::Answer { ca: self.endpoint.address().clone(), source };
        let Bundle { chain, roots, left_out } = answer::read(&response.cert_chain).map_err(refused)?;
        if left_out > 0 {
            tracing::warn!(ca = %self.endpoint.address(), left_out, "roots that cannot be read are left out");
        }
        let leaf = chain.first().and_then(|leaf| describe(leaf)).ok_or_else(|| refused(answer::AnswerError::NoLeaf))?;
        Ok(Issued { chain, key, roots, not_before: leaf.not_before, not_after: leaf.not_after })
    }

    /// A line with its channel, and whether it was there before.
    async fn line(&self) -> Result<(Arc<Line>, Channel, bool), CaError> {
        // Without roots the attempt to connect fails and says why.
        let trust = self.endpoint.trust().ok();
        let (line, old) = self.lock().current(&self.endpoint, trust);
        let error = match line.channel().await {
            Ok(channel) => {
                if !old {
                    self.lock().settled();
                }
                return Ok((line, channel, old));
            }
            Err(no) => self.no_line(no),
        };
        let Some((previous, channel)) = self.lock().previous() else { return Err(error) };
        let cause = crate::telemetry::cause::chain(&error);
        tracing::warn!(cause, "no connection to the CA by its new roots: the one that stands is used");
        Ok((previous, channel, false))
    }

    async fn ask(
        &self,
        channel: Channel,
        metadata: MetadataMap,
        message: IstioCertificateRequest,
    ) -> Result<IstioCertificateResponse, Status> {
        let mut request = tonic::Request::from_parts(metadata, Extensions::default(), message);
        // So that the CA gives up soon after we do. Not at the same moment: whose deadline it was would be a guess.
        request.set_timeout(self.settings.deadline + Duration::from_secs(1));
        let mut grpc = Grpc::new(channel).max_decoding_message_size(answer::MAX_BYTES);
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let path = PathAndQuery::from_static(METHOD);
        grpc.unary(request, path, ProstCodec::default()).await.map(tonic::Response::into_inner)
    }

    fn message(&self, identity: &Identity, csr: String) -> IstioCertificateRequest {
        let metadata = self
            .settings
            .impersonate
            .then(|| Struct { fields: BTreeMap::from([(IMPERSONATED.to_owned(), identity.to_string().into())]) });
        let validity_duration = i64::try_from(self.settings.ttl.as_secs()).unwrap_or(i64::MAX);
        IstioCertificateRequest { csr, validity_duration, metadata }
    }

    fn no_line(&self, no: NoLine) -> CaError {
        match no {
            NoLine::Cut => CaError::Cut { ca: self.endpoint.address().clone() },
            NoLine::Failed(error) => CaError::Connect(error),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CertSource for CaClient {
    async fn fetch(&self, identity: &Identity) -> Result<Issued, SourceError> {
        let limit = self.settings.deadline;
        let deadline = || CaError::Deadline { ca: self.endpoint.address().clone(), limit };
        let attempt = timeout(limit, Box::pin(self.attempt(identity))).await;
        Ok(attempt.unwrap_or_else(|_| Err(deadline()))?)
    }
}

#[cfg(test)]
mod tests;
