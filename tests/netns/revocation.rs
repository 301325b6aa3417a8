//! Revocation lists, with the program that users run: live connections, new ones, our own certificate, a broken file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use culvert::model::ports;
use culvert::role::demo::app::{STREAM_PORT, Trickle, Way};
use culvert::tls::encode_certificates;
use rcgen::{CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::time::timeout;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::bed::{APPLIES, Bed, Family, NODES, PATIENCE, SOME, demo, until};
use crate::wire;

/// Keeps what a server shows and goes away.
#[derive(Debug, Default)]
struct Looks(Mutex<Vec<u8>>);

impl ServerCertVerifier for Looks {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = leaf.to_vec();
        Err(rustls::Error::General("seen enough".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// The number of the certificate that a pod's proxy shows now.
async fn serial(bed: &Bed, pod: &str) -> Vec<u8> {
    let looks = Arc::new(Looks::default());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&looks) as _)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let to: SocketAddr = bed.at(pod, Family::V4, ports::HBONE);
    let stream = wire::connect(bed.netns("outsider"), to).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(ServerName::IpAddress(to.ip().into()), stream).await.unwrap_err();
    let leaf = looks.0.lock().unwrap().clone();
    let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
    leaf.raw_serial().to_vec()
}

fn file(bed: &Bed, node: &str) -> PathBuf {
    bed.path().join(format!("{node}.crl.pem"))
}

/// Writes a list of the lab's CA for one node, as a careful writer does it.
fn revoke(bed: &Bed, node: &str, serials: &[&[u8]]) {
    let now = SystemTime::now();
    revoke_until(bed, node, serials, now, now + Duration::from_secs(3600));
}

/// As [`revoke`], made at `now`, and the next list is promised for `next`.
fn revoke_until(bed: &Bed, node: &str, serials: &[&[u8]], now: SystemTime, next: SystemTime) {
    let read = |name: &str| std::fs::read_to_string(bed.path().join("ca").join(name)).unwrap();
    let key = KeyPair::from_pem(&read("ca-key.pem")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&read("ca-cert.pem"), key).unwrap();
    let revoked = |serial: &&[u8]| RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: now.into(),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: now.into(),
        next_update: next.into(),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let der = list.signed_by(&issuer).unwrap();
    let text = encode_certificates([der.der().as_ref()]).replace("CERTIFICATE", "X509 CRL");
    put(bed, node, &text);
}

fn put(bed: &Bed, node: &str, text: &str) {
    let new = bed.path().join("crl.new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, file(bed, node)).unwrap();
}

async fn start(bed: &mut Bed) {
    for node in NODES {
        let crl = file(bed, node).display().to_string();
        bed.launch(node, &[("crl-file", &crl)]);
    }
    for node in NODES {
        bed.ready(node, Duration::from_secs(20)).await.unwrap();
    }
}

/// Waits until a request of `client` to `server` does or does not get through.
async fn gets(bed: &Bed, through: bool) {
    let what = if through { "requests get through" } else { "requests are refused" };
    until(what, async || bed.get("client", "server").await.is_ok() == through).await;
}

async fn rejections(bed: &Bed, node: &str, reporter: &str) -> f64 {
    bed.metric(node, "istio_crl_policy_rejections_total", &[("reporter", reporter)]).await
}

#[test]
fn a_revoked_peer_loses_its_live_connections_and_gets_no_new_ones() {
    demo("revoke", async |bed| {
        start(bed).await;
        for (judge, reporter, whose) in [("node-a", "source", "server"), ("node-b", "destination", "client")] {
            let number = serial(bed, whose).await;
            let to = bed.at("server", Family::V4, STREAM_PORT);
            let mut trickle = Trickle::start(bed.netns("client"), to, Way::Echo, PATIENCE).await.unwrap();
            trickle.advance(SOME, PATIENCE).await.unwrap();
            let (marks, before) = (bed.marks(), rejections(bed, judge, reporter).await);
            // A list that names somebody else ends nothing.
            revoke(bed, judge, &[&[1, 2, 3]]);
            let named = async || bed.metric(judge, "culvert_crl_revoked_certificates", &[]).await;
            until("the list is read", async || named().await == 1.0).await;
            trickle.advance(SOME, PATIENCE).await.unwrap();
            // Only one node has the list that counts, so the other one's own certificate stays as it is.
            revoke(bed, judge, &[&[1, 2, 3], &number]);
            let cut = async { while trickle.advance(100, PATIENCE).await.is_ok() {} };
            timeout(APPLIES, cut).await.expect("the live connection ends");
            let direction = if reporter == "source" { "outbound" } else { "inbound" };
            let line = bed.access(marks, direction, "client", "server").await;
            assert_eq!(line["reason"], "certificate_revoked", "{line}");
            gets(bed, false).await;
            assert!(rejections(bed, judge, reporter).await >= before + 2.0, "the connection and the handshake");
            let failed = [("reporter", reporter), ("response_flags", "CERT_REVOKED")];
            assert!(bed.metric(judge, "istio_tcp_connections_failed_total", &failed).await >= 1.0);
            // Whoever hears that its own certificate is revoked asks for another, and is in again.
            let own = if judge == "node-a" { "node-b" } else { "node-a" };
            revoke(bed, own, &[&number]);
            until("its own certificate is replaced", async || serial(bed, whose).await != number).await;
            gets(bed, true).await;
            assert_eq!(bed.metric(own, "culvert_certificates_revoked_total", &[]).await, 1.0);
            revoke(bed, own, &[]);
            revoke(bed, judge, &[]);
        }
    });
}

#[test]
fn a_list_that_is_broken_at_start_lets_nobody_in_until_it_is_mended() {
    demo("crl", async |bed| {
        put(bed, "node-b", "this is no list\n");
        start(bed).await;
        let marks = bed.marks();
        bed.get("client", "server").await.expect_err("the door is shut");
        let refused = |line: &serde_json::Value| line["direction"] == "inbound" && line["dst.workload"] == "server";
        let line = bed.line_after("node-b", marks[1], PATIENCE, refused).await.expect("the refusal is told");
        assert!(line["detail"].as_str().unwrap().contains("revocation list"), "{line}");
        assert_eq!(bed.metric("node-b", "culvert_crl_unreadable", &[]).await, 1.0);
        revoke(bed, "node-b", &[]);
        until("it is read", async || bed.metric("node-b", "culvert_crl_unreadable", &[]).await == 0.0).await;
        gets(bed, true).await;
        // Later it may break: what was read stays in force.
        let mark = bed.marks()[1];
        put(bed, "node-b", "");
        bed.says("node-b", mark, "stay in force").await;
        gets(bed, true).await;
        // A list that should have been followed by another is in force as well: nobody is let in by stopping the writer.
        let (client, hour) = (serial(bed, "client").await, Duration::from_secs(3600));
        let past = SystemTime::now() - hour;
        revoke_until(bed, "node-b", &[&client], past - hour, past);
        gets(bed, false).await;
        let overdue = async || bed.metric("node-b", "culvert_crl_lists", &[("state", "overdue")]).await == 1.0;
        until("it is seen to be overdue", overdue).await;
        revoke(bed, "node-b", &[]);
        gets(bed, true).await;
    });
}
