//! An Envoy that is the waypoint of a lab: its certificate, its configuration and its process.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};

use super::app::page;
use super::lab::WAYPOINT;
use super::mesh::{Mesh, MeshError};
use crate::ca::{CaError, DEFAULT_TTL, Root};
use crate::control::envoy::{Credentials, Refused, Waypoint, fill, render};
use crate::control::index::Index;
use crate::control::manifests::{self, LoadErrors};
use crate::control::project::{self, Settings};
use crate::model::name::NamespacedName;
use crate::model::ports;
use crate::model::spiffe::Identity;
use crate::sys::child::{Child, ChildError, Output, Program};
use crate::tls::{encode_certificates, encode_key};

/// A running Envoy. Dropped, it ends.
pub struct Envoy {
    child: Child,
    program: Program,
}

/// Why the waypoint could not be started.
#[derive(Debug, thiserror::Error)]
pub enum WaypointError {
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error(transparent)]
    Child(#[from] ChildError),
    #[error("Envoy has ended ({status}); its log: {}", log.display())]
    Ended { status: String, log: PathBuf },
    #[error("cannot write {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Manifests(#[from] LoadErrors),
    #[error(transparent)]
    Mesh(#[from] MeshError),
    #[error("no Gateway {0} of the manifests is a waypoint")]
    NoGateway(NamespacedName),
    #[error("Envoy is not ready after {patience:?}: {last}; its log: {}", log.display())]
    NotReady { patience: Duration, last: String, log: PathBuf },
    #[error("the waypoint cannot enforce {} as it is written: {}", .0.key, .0.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused(Refused),
}

/// Between two looks at something that is about to happen.
const LOOK: Duration = Duration::from_millis(20);

// === impl Envoy ===

impl Envoy {
    /// Starts `binary` in the pod [`WAYPOINT`] of the mesh, configured for the manifests as they are now and with a
    /// certificate of the mesh's CA. Its files go to a directory of their own, for its owner only.
    pub fn start(mesh: &Mesh, binary: &Path) -> Result<Self, WaypointError> {
        let pod = mesh.pod(WAYPOINT)?;
        let directory = mesh.directory().join(WAYPOINT);
        if let Err(source) = DirBuilder::new().mode(0o700).recursive(true).create(&directory) {
            return Err(WaypointError::File { path: directory, source });
        }
        let waypoint = configured(mesh, &directory)?;
        issue(&mesh.directory().join("ca"), &waypoint)?;
        let config = directory.join("envoy.json");
        write(&config, &render(&waypoint).to_string())?;
        let words = [
            ("--config-path", config.display().to_string()),
            ("--concurrency", "1".into()),
            ("--log-level", "warning".into()),
            // It warns of every message that Envoy calls work in progress.
            ("--component-log-level", "misc:error".into()),
            ("--disable-hot-restart", String::new()),
        ];
        let words = words.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        let program = Program {
            name: "the Envoy of the waypoint".into(),
            path: binary.into(),
            arguments: words.filter(|word| !word.is_empty()).collect(),
            environment: Vec::new(),
            netns: pod.netns.clone(),
            output: Output::File(mesh.directory().join("waypoint-envoy.log")),
            bond: mesh.bond(),
        };
        Ok(Self { child: Child::start(&program)?, program })
    }

    /// Waits until it takes connections.
    pub async fn ready(&mut self, patience: Duration) -> Result<(), WaypointError> {
        let at = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), ports::ADMIN);
        let started = Instant::now();
        loop {
            let last = match page::page(&self.program.netns, at, "/ready", patience).await {
                Ok((200, _)) => return Ok(()),
                Ok((_, body)) => body.trim().to_owned(),
                Err(error) => error.to_string(),
            };
            let Output::File(log) = self.program.output.clone() else { return Ok(()) };
            if let Some(status) = self.child.ended()? {
                return Err(WaypointError::Ended { status: status.to_string(), log });
            }
            if started.elapsed() > patience {
                return Err(WaypointError::NotReady { patience, last, log });
            }
            sleep(LOOK).await;
        }
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) -> Result<(), WaypointError> {
        self.child.kill()?;
        Ok(())
    }

    /// Starts it again as it was, after it has ended.
    pub fn again(&mut self) -> Result<(), WaypointError> {
        self.child = Child::start(&self.program)?;
        Ok(())
    }

    /// Sends a signal and does not wait.
    pub fn signal(&mut self, signal: Signal) -> Result<(), WaypointError> {
        Ok(self.child.signal(signal)?)
    }
}

/// What the manifests say that the waypoint must know.
fn configured(mesh: &Mesh, directory: &Path) -> Result<Waypoint, WaypointError> {
    let spec = &mesh.pod(WAYPOINT)?.plan.spec;
    let settings = Settings::default();
    let gateway = NamespacedName::new(spec.namespace.as_str(), WAYPOINT);
    let shell = Waypoint {
        name: WAYPOINT.into(),
        namespace: spec.namespace.as_str().into(),
        identity: Identity::new(settings.trust_domain.clone(), spec.namespace.as_str(), spec.service_account.as_str()),
        aliases: Vec::new(),
        credentials: Credentials {
            key: directory.join("key.pem"),
            chain: directory.join("chain.pem"),
            root: directory.join("root.pem"),
        },
        listen: SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), ports::HBONE),
        admin: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), ports::ADMIN),
        peer_header: Some(PEER_HEADER.into()),
        services: Vec::new(),
        workloads: Vec::new(),
        policies: Vec::new(),
    };
    let index = Index::build(manifests::load(mesh.manifests().directory())?);
    let projection = project::project(&index, &settings);
    let reference = project::waypoint_address(&index, &settings, &gateway);
    let reference = reference.ok_or(WaypointError::NoGateway(gateway))?;
    match fill(shell, &[reference], &index, &settings, &projection) {
        (waypoint, refused) if refused.is_empty() => Ok(waypoint),
        (_, mut refused) => Err(WaypointError::Refused(refused.swap_remove(0))),
    }
}

/// The header by which a lab's servers hear who asked.
pub const PEER_HEADER: &str = "x-peer";

fn issue(ca: &Path, waypoint: &Waypoint) -> Result<(), WaypointError> {
    let authority = Root::load_or_create(ca, &waypoint.identity.trust_domain)?;
    let issued = authority.issue(&waypoint.identity, DEFAULT_TTL, SystemTime::now())?;
    let pem = |chain: &[Vec<u8>]| encode_certificates(chain.iter().map(Vec::as_slice));
    let files = &waypoint.credentials;
    write(&files.key, &encode_key(issued.key.pkcs8()))?;
    write(&files.chain, &pem(&issued.chain))?;
    write(&files.root, &pem(&issued.roots))
}

/// For its owner only: one of the files is a key.
fn write(path: &Path, text: &str) -> Result<(), WaypointError> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| WaypointError::File { path: path.into(), source })
}
