//! A certificate authority for tests, which also makes what ours never would.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};

use super::{Credentials, Issued, PrivateKey};
use crate::model::spiffe::Identity;

pub(crate) struct TestCa {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    pub(crate) root: Vec<u8>,
}

pub(crate) fn id(account: &str) -> Identity {
    Identity::new("cluster.local", "shop", account)
}

impl TestCa {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), root }
    }

    /// A leaf with these URIs, valid from `now` on for `life`.
    pub(crate) fn leaf(
        &self,
        uris: &[&str],
        usages: &[ExtendedKeyUsagePurpose],
        now: SystemTime,
        life: Duration,
    ) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params.extended_key_usages = usages.to_vec();
        params.not_before = now.into();
        params.not_after = (now + life).into();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        Issued {
            chain: vec![leaf.der().to_vec()],
            key: PrivateKey::from_pkcs8(key.serialize_der()),
            roots: vec![self.root.clone()],
            not_before: now,
            not_after: now + life,
        }
    }

    pub(crate) fn issue(&self, identity: &Identity, now: SystemTime, life: Duration) -> Issued {
        let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.leaf(&[&identity.to_string()], &both, now, life)
    }

    pub(crate) fn credentials(&self, identity: &Identity) -> Credentials {
        let now = SystemTime::now() - Duration::from_secs(60);
        let issued = self.issue(identity, now, Duration::from_secs(3600));
        Credentials::build(&issued, identity, SystemTime::now()).unwrap()
    }
}
