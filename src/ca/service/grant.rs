//! For whom a caller may have a certificate. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::authority::MAX_TTL;
use super::denied::Denied;
use crate::grpc::server::{Caller, Who};
use crate::model::spiffe::Identity;
use crate::proto::google::Struct;

/// For whom the certificate is, when not for the caller.
const IMPERSONATED: &str = "ImpersonatedIdentity";
/// Which of several signers is meant.
const CERT_SIGNER: &str = "CertSigner";

/// Namespace and service account.
type Account = (Arc<str>, Arc<str>);

/// Which node runs pods of which accounts. A pod counts that is scheduled, has not ended, and has a network of its own:
/// one of the host's network is not captured, so no node speaks for it. Whether it is in the mesh does not matter: a
/// gateway has a certificate as well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement(HashMap<Arc<str>, HashSet<Account>>);

// === impl Placement ===

impl Placement {
    pub fn runs(&self, node: &str, identity: &Identity) -> bool {
        let account = (Arc::clone(&identity.namespace), Arc::clone(&identity.service_account));
        self.0.get(node).is_some_and(|accounts| accounts.contains(&account))
    }
}

impl FromIterator<(Arc<str>, Account)> for Placement {
    /// Of nodes and accounts.
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Account)>>(all: I) -> Self {
        let mut placement = Self::default();
        for (node, account) in all {
            placement.0.entry(node).or_default().insert(account);
        }
        placement
    }
}

/// The identity that the certificate will name. The request's own names are not looked at: only who calls, and what
/// that node runs.
///
/// # Errors
/// The caller may not have it.
pub fn grant(
    caller: &Caller,
    metadata: Option<&Struct>,
    trust_domain: &str,
    placement: &Placement,
) -> Result<Identity, Denied> {
    let has = |key| metadata.is_some_and(|metadata| metadata.fields.contains_key(key));
    let text = |key| metadata.and_then(|metadata| metadata.text(key));
    if has(CERT_SIGNER) && text(CERT_SIGNER) != Some("") {
        let signer = text(CERT_SIGNER).unwrap_or_default().chars().take(64).collect();
        return Err(Denied::CertSigner { signer });
    }
    let asked = match (has(IMPERSONATED), text(IMPERSONATED)) {
        (false, _) => None,
        (true, text) => Some(text.and_then(|text| text.parse::<Identity>().ok()).ok_or(Denied::Identity)?),
    };
    let identity = match (&caller.who, asked) {
        (Who::Node(_), None) => return Err(Denied::NobodyNamed),
        (Who::Node(node), Some(identity)) => {
            // First, so that an answer about pods is not given for somebody else's domain.
            same_domain(&identity, trust_domain)?;
            if !placement.runs(node, &identity) {
                return Err(Denied::NotOnNode { node: node.to_string(), identity });
            }
            identity
        }
        (Who::Workload(own), asked) if asked.as_ref().is_none_or(|asked| asked == own) => own.clone(),
        (Who::Workload(own), _) => return Err(Denied::NotOwn { own: own.clone() }),
    };
    same_domain(&identity, trust_domain)?;
    Ok(identity)
}

fn same_domain(identity: &Identity, expected: &str) -> Result<(), Denied> {
    if *identity.trust_domain == *expected {
        return Ok(());
    }
    Err(Denied::TrustDomain { identity: identity.clone(), expected: expected.to_owned() })
}

/// How long the certificate will live, if the signer does: `default` when nothing is asked for.
pub(super) fn ttl(seconds: i64, default: Duration) -> Result<Duration, Denied> {
    match u64::try_from(seconds) {
        Err(_) | Ok(0) => Ok(default),
        Ok(asked) if asked > MAX_TTL.as_secs() => Err(Denied::Ttl { seconds }),
        Ok(asked) => Ok(Duration::from_secs(asked)),
    }
}
