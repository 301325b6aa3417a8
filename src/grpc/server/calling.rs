//! A client for tests: real TLS over the loopback, and tonic on it.

use std::io;
use std::net::SocketAddr;

use hyper_util::rt::TokioIo;
use tonic::Status;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::tls::dial;

/// Connects to a server that must be `name`, signed by one of `roots`.
pub(crate) async fn channel(
    address: SocketAddr,
    roots: &[Vec<u8>],
    name: &str,
) -> Result<Channel, tonic::transport::Error> {
    let (roots, name) = (roots.to_vec(), name.to_owned());
    let connector = service_fn(move |_| {
        let (roots, name) = (roots.clone(), name.clone());
        async move {
            let stream = std::net::TcpStream::connect(address)?;
            stream.set_nonblocking(true)?;
            let stream = tokio::net::TcpStream::from_std(stream)?;
            Ok::<_, io::Error>(TokioIo::new(dial::connect(&roots, &name, stream).await?))
        }
    });
    Endpoint::from_static("http://server").connect_with_connector(connector).await
}

fn with_token<T>(token: Option<&str>, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if let Some(token) = token {
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", format!("Bearer {token}").parse().unwrap());
        *request.metadata_mut() = metadata;
    }
    request
}

/// One request, one answer.
pub(crate) async fn ask<Q, A>(
    channel: &Channel,
    token: Option<&str>,
    path: &'static str,
    message: Q,
) -> Result<A, Status>
where
    Q: prost::Message + 'static,
    A: prost::Message + Default + 'static,
{
    let mut client = Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = http::uri::PathAndQuery::from_static(path);
    client.unary(with_token(token, message), path, ProstCodec::<Q, A>::default()).await.map(tonic::Response::into_inner)
}

/// A stream both ways: what is sent into the answer's first half is said, and heard from the second.
pub(crate) async fn converse<Q, A>(
    channel: &Channel,
    token: Option<&str>,
    path: &'static str,
    first: Q,
) -> Result<(tokio::sync::mpsc::Sender<Q>, tonic::Streaming<A>), Status>
where
    Q: prost::Message + 'static,
    A: prost::Message + Default + 'static,
{
    let (say, said) = tokio::sync::mpsc::channel(8);
    say.send(first).await.map_err(|_| Status::internal("gone"))?;
    let mut client = Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let said = tokio_stream::wrappers::ReceiverStream::new(said);
    let path = http::uri::PathAndQuery::from_static(path);
    let hear = client.streaming(with_token(token, said), path, ProstCodec::<Q, A>::default()).await?;
    Ok((say, hear.into_inner()))
}
