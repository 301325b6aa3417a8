//! A certificate authority for tests, which also makes what ours never would.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber,
    SubjectPublicKeyInfo,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncWrite};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::credentials::ALPN;
use super::provider::provider;
use super::{Clock, Credentials, Issued, PrivateKey, Trust, encode_certificates};
use crate::model::spiffe::Identity;

pub(crate) struct TestCa {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    pub(crate) root: Vec<u8>,
    /// What leaves carry beside themselves.
    intermediates: Vec<Vec<u8>>,
}

/// A clock that a test sets, in seconds after now.
pub(crate) fn clock() -> (Arc<AtomicU64>, Clock) {
    let (begun, later) = (SystemTime::now(), Arc::new(AtomicU64::new(0)));
    let read = Arc::clone(&later);
    (later, Arc::new(move || begun + Duration::from_secs(read.load(Ordering::Relaxed))))
}

/// The serial number of a certificate.
pub(crate) fn serial(der: &[u8]) -> Vec<u8> {
    let (_, certificate) = X509Certificate::from_der(der).unwrap();
    certificate.raw_serial().to_vec()
}

/// A control plane's side of TLS: no certificate of the client is asked for.
#[derive(Clone)]
pub(crate) struct TestServer(tokio_rustls::TlsAcceptor);

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
        Self { issuer: Issuer::new(params, key), root, intermediates: Vec::new() }
    }

    /// A CA that this one has signed; its leaves chain to this one's root.
    pub(crate) fn intermediate(&self) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "intermediate");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), root: self.root.clone(), intermediates: vec![certificate] }
    }

    /// A list of this CA's that names `serials` and is due for an hour.
    pub(crate) fn crl(&self, serials: &[Vec<u8>]) -> Vec<u8> {
        self.crl_at(serials, SystemTime::now())
    }

    /// As [`Self::crl`], written at `now`.
    pub(crate) fn crl_at(&self, serials: &[Vec<u8>], now: SystemTime) -> Vec<u8> {
        let revoked = |serial: &Vec<u8>| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: now.into(),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + Duration::from_secs(3600)).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().to_vec()
    }

    /// The root with the same key and name, but with another end.
    pub(crate) fn root_until(&self, end: SystemTime) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = end.into();
        params.self_signed(self.issuer.key()).unwrap().der().to_vec()
    }

    pub(crate) fn pem(&self) -> String {
        encode_certificates([self.root.as_slice()])
    }

    /// A leaf for the key of a request in DER, and for `identity` whatever the request says; DER.
    pub(crate) fn certify(&self, csr: &[u8], identity: &Identity, now: SystemTime, life: Duration) -> Vec<u8> {
        let (_, request) = X509CertificationRequest::from_der(csr).unwrap();
        request.verify_signature().unwrap();
        let key = SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = now.into();
        params.not_after = (now + life).into();
        params.signed_by(&key, &self.issuer).unwrap().der().to_vec()
    }

    /// A server with a certificate for these DNS names and addresses.
    pub(crate) fn server(&self, names: &[&str]) -> TestServer {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap();
        config.alpn_protocols = vec![ALPN.to_vec()];
        TestServer(Arc::new(config).into())
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
            chain: std::iter::once(leaf.der().to_vec()).chain(self.intermediates.iter().cloned()).collect(),
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

    /// A certificate for a server of these names, valid for an hour.
    pub(crate) fn named(&self, names: &[&str]) -> Issued {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let now = SystemTime::now();
        (params.not_before, params.not_after) = (now.into(), (now + Duration::from_secs(3600)).into());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        Issued {
            chain: vec![leaf.der().to_vec()],
            key: PrivateKey::from_pkcs8(key.serialize_der()),
            roots: vec![self.root.clone()],
            not_before: now,
            not_after: now + Duration::from_secs(3600),
        }
    }

    pub(crate) fn credentials(&self, identity: &Identity) -> Credentials {
        self.credentials_within(&Trust::default(), identity)
    }

    /// For an hour.
    pub(crate) fn credentials_within(&self, trust: &Trust, identity: &Identity) -> Credentials {
        let now = SystemTime::now() - Duration::from_secs(60);
        let issued = self.issue(identity, now, Duration::from_secs(3660));
        Credentials::build_within(trust, &issued, identity, SystemTime::now()).unwrap()
    }
}

impl TestServer {
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<S>>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        self.0.accept(stream).await
    }
}
