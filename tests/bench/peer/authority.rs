//! A fake of istiod's certificate service: gRPC over HTTP/2 and TLS, signed by an authority of culvert's.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use bytes::Bytes;
use culvert::ca::Authority;
use culvert::model::spiffe::Identity;
use culvert::sys::netns::Netns;
use culvert::sys::plain_tcp;
use culvert::tls::encode_certificates;
use http::{HeaderMap, HeaderValue, Request, Response};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateSigningRequestDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::messages::{certificate_request, certificate_response};

const METHOD: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
/// Bytes of a request; more is no request for a certificate.
const LONGEST: usize = 64 << 10;

/// The service's own certificate, which has nothing to do with those that it gives.
pub(super) fn acceptor(root_file: &Path) -> anyhow::Result<TlsAcceptor> {
    let root_key = KeyPair::generate()?;
    let mut root = CertificateParams::default();
    // Another name than the leaf's, or the leaf would look as if it had signed itself.
    root.distinguished_name.push(DnType::CommonName, "the bench's certificate service");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(root_file, root.clone().self_signed(&root_key)?.pem())
        .with_context(|| format!("cannot write {}", root_file.display()))?;
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec!["localhost".to_owned()])?;
    let leaf = leaf.signed_by(&key, &Issuer::new(root, root_key))?;
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let mut config = config.with_single_cert(vec![leaf.der().clone()], private)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves on `address` inside `netns` for as long as its runtime lives.
pub(super) async fn serve(netns: Netns, address: SocketAddr, tls: TlsAcceptor, authority: Authority) {
    let listener = match plain_tcp::listen(&netns, address).await {
        Ok(listener) => listener,
        Err(error) => return eprintln!("the certificate service: {error}"),
    };
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, authority) = (tls.clone(), authority.clone());
        connections.spawn(async move {
            if let Err(error) = connection(stream, tls, &authority).await {
                eprintln!("the certificate service: {error:#}");
            }
        });
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, authority: &Authority) -> anyhow::Result<()> {
    let stream = tls.accept(stream).await.context("the proxy's handshake failed")?;
    let mut connection = h2::server::handshake(stream).await?;
    let mut answers = JoinSet::new();
    while let Some(asked) = connection.accept().await {
        let (request, mut respond) = asked?;
        let authority = authority.clone();
        answers.spawn(async move {
            let answered = answer(request, &authority).await;
            let (body, code) = match &answered {
                Ok(body) => (body.clone(), "0"),
                Err(error) => {
                    eprintln!("the certificate service: {error:#}");
                    // INVALID_ARGUMENT of gRPC.
                    (Bytes::new(), "3")
                }
            };
            let mut head = Response::new(());
            head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static(code));
            let mut stream = respond.send_response(head, false)?;
            stream.send_data(body, false)?;
            stream.send_trailers(trailers)
        });
    }
    Ok(())
}

async fn answer(request: Request<h2::RecvStream>, authority: &Authority) -> anyhow::Result<Bytes> {
    anyhow::ensure!(request.uri().path() == METHOD, "the proxy asked for {}", request.uri().path());
    let mut body = request.into_body();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
        anyhow::ensure!(bytes.len() <= LONGEST, "a request is longer than {LONGEST} bytes");
    }
    let asked = certificate_request(&bytes)?;
    let identity = asked.identity.context("the proxy names no identity that it asks for")?;
    let identity: Identity = identity.parse().with_context(|| format!("{identity} is no identity"))?;
    let csr = CertificateSigningRequestDer::from_pem_slice(asked.csr.as_bytes()).context("its CSR is no PEM")?;
    let signed = authority.issue_csr(&csr, &identity, Duration::from_secs(asked.seconds), SystemTime::now())?;
    let mut chain: Vec<String> = signed.chain.iter().map(|der| encode_certificates([der.as_slice()])).collect();
    chain.push(encode_certificates(signed.roots.iter().map(Vec::as_slice)));
    Ok(certificate_response(&chain).into())
}
