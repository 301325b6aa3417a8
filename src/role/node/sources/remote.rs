//! A server of a control plane, from settings to a connection.

use crate::config::named::Named;
use crate::config::raw::ConfigError;
use crate::config::source::{Remote, Token};
use crate::config::value::Roots;
use crate::grpc::{Endpoint, EndpointError, RootSource, Settings, TokenSource};

/// The way to a server. `seam` is how the keys of its settings begin: `xds` or `ca`.
pub(super) fn endpoint(remote: &Remote<'_>, seam: &str, named: &Named) -> Result<Endpoint, ConfigError> {
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
    Endpoint::new(&settings).map_err(|error| {
        let key = match &error {
            EndpointError::Roots { .. } => format!("{seam}-roots"),
            EndpointError::Token { .. } => "token-file".to_owned(),
            EndpointError::Name { .. } if remote.server_name.is_some() => format!("{seam}-server-name"),
            EndpointError::Address(_) | EndpointError::Header { .. } | EndpointError::Name { .. } => {
                format!("{seam}-address")
            }
        };
        ConfigError::Unusable { name: named.place(&key), source: error.into() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::node::NodeSettings;
    use crate::config::source::{CertificateSource, MeshSource};
    use crate::config::ztunnel::{self, Host};
    use crate::telemetry::cause::chain;

    /// What cannot be used is called as the environment has it.
    #[test]
    fn what_is_of_no_use_is_called_as_it_was_said() {
        let check = |variable: &str, value: &str, expected: &str| {
            let all = [("NODE_NAME", "a"), ("XDS_ADDRESS", "cp:1"), ("CA_ADDRESS", "ca:1"), (variable, value)];
            let all = all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let host = Host { processors: 1, mesh_config: None, exists: &|_| false };
            let (effective, drop_in) =
                ztunnel::resolve(&all, None, ztunnel::read(&all, host, Vec::new()).unwrap()).unwrap();
            let settings = NodeSettings::build(&effective, Some(drop_in)).unwrap();
            let MeshSource::ControlPlane { remote, .. } = settings.mesh_source() else { panic!("not a control plane") };
            let CertificateSource::Service(ca) = settings.certificate_source() else { panic!("not a service") };
            let xds = endpoint(&remote, "xds", &settings.named).map(drop);
            let error = xds.and_then(|()| endpoint(&ca, "ca", &settings.named).map(drop)).unwrap_err();
            assert!(chain(&error).starts_with(expected), "{variable}: {}", chain(&error));
            assert!(!chain(&error).contains("hunter2"), "{}", chain(&error));
        };
        let pem = "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n";
        check(
            "AUTH_TOKEN",
            "hunter2\nb",
            "cannot use AUTH_TOKEN (token-file): the token for https://cp:1 cannot be used",
        );
        check("XDS_ROOT_CA", pem, "cannot use XDS_ROOT_CA (xds-roots): the roots of https://cp:1 cannot be used");
        check("CA_ROOT_CA", pem, "cannot use CA_ROOT_CA (ca-roots): the roots of https://ca:1 cannot be used");
        check("ALT_CA_HOSTNAME", "a b", "cannot use ALT_CA_HOSTNAME (ca-server-name): ");
    }
}
