//! A server of a control plane, from settings to a connection.

use anyhow::Context;

use crate::config::source::{Remote, Token};
use crate::config::value::Roots;
use crate::grpc::{Endpoint, RootSource, Settings, TokenSource};

/// The way to a server. `what` is the setting that names it.
pub(super) fn endpoint(remote: &Remote<'_>, what: &str) -> anyhow::Result<Endpoint> {
    let host = &remote.endpoint.host;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
    let roots = match remote.roots {
        Roots::File(path) => RootSource::File(path.clone()),
        Roots::Pem(text) => RootSource::Pem(text.to_string()),
        Roots::System => RootSource::System,
    };
    let settings = Settings {
        server_name: remote.server_name.map(ToOwned::to_owned),
        token: match remote.token {
            Token::File(path) => TokenSource::File(path.to_owned()),
            Token::Literal(secret) => TokenSource::Literal(secret.expose().to_owned()),
            Token::None => TokenSource::None,
        },
        cluster_id: Some(remote.cluster.to_owned()),
        headers: remote
            .headers
            .iter()
            .map(|header| (header.name.as_str().to_owned(), header.value.expose().to_owned()))
            .collect(),
        ..Settings::new(format!("https://{host}:{}", remote.endpoint.port), roots)
    };
    Endpoint::new(&settings).with_context(|| format!("cannot use what {what} names"))
}
