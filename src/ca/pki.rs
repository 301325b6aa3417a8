//! What our certificates look like.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use time::OffsetDateTime;

use super::error::CaError;
use crate::model::spiffe::Identity;
use crate::tls::random_bytes;

/// How far into the past a certificate begins, 2 min: clocks of two nodes differ, and nobody allows for skew.
pub(super) const BACKDATE: Duration = Duration::from_secs(120);
/// Life of a root made here, ten years of 365 days, as Istio's.
pub(super) const ROOT_LIFE: Duration = Duration::from_secs(3650 * 24 * 3600);

/// A root's parameters: may sign leaves and one level below, and nothing but certificates and revocation lists.
pub(super) fn root(trust_domain: &str, now: SystemTime) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, trust_domain);
    params.distinguished_name = name;
    params.serial_number = Some(serial()?);
    params.not_before = seconds(now - BACKDATE);
    params.not_after = seconds(now + ROOT_LIFE);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// The parameters of a certificate for a server of these names: DNS names, and addresses as they are written.
pub(super) fn server(
    names: &[String],
    not_before: SystemTime,
    not_after: SystemTime,
) -> Result<CertificateParams, CaError> {
    let name = |name: &String| match name.parse::<IpAddr>() {
        Ok(ip) => Ok(SanType::IpAddress(ip)),
        Err(_) => name.as_str().try_into().map(SanType::DnsName),
    };
    let names: Result<Vec<_>, _> = names.iter().map(name).collect();
    let mut params = end_entity(not_before, not_after)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names = names.map_err(|_| CaError::Sign("a name of the server is not ASCII"))?;
    Ok(params)
}

/// A leaf's parameters. The subject is empty, so the SAN is critical (RFC 5280 section 4.2.1.6).
pub(super) fn leaf(
    identity: &Identity,
    not_before: SystemTime,
    not_after: SystemTime,
) -> Result<CertificateParams, CaError> {
    let uri = identity.to_string().try_into().map_err(|_| CaError::Sign("the identity is not ASCII"))?;
    let mut params = end_entity(not_before, not_after)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(uri)];
    Ok(params)
}

fn end_entity(not_before: SystemTime, not_after: SystemTime) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(serial()?);
    params.not_before = seconds(not_before);
    params.not_after = seconds(not_after);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// A new ECDSA P-256 key.
pub(super) fn key() -> Result<KeyPair, CaError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| CaError::Sign("no key could be made"))
}

/// Certificates know whole seconds.
pub(super) fn whole(at: SystemTime) -> SystemTime {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

fn seconds(at: SystemTime) -> OffsetDateTime {
    OffsetDateTime::from(whole(at))
}

/// 128 random bits. The first one is cleared: a serial is a positive number (RFC 5280 section 4.1.2.2).
fn serial() -> Result<SerialNumber, CaError> {
    let mut bytes: [u8; 16] = random_bytes().ok_or(CaError::Sign("the system gives no random bytes"))?;
    bytes[0] &= 0x7f;
    Ok(SerialNumber::from_slice(&bytes))
}
