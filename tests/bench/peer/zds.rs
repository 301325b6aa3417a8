//! A fake of istio-cni's socket: tells a proxy about the pods of its node.

use std::io::{IoSlice, Read as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;

use anyhow::Context as _;
use culvert::role::demo::lab::LabPod;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{local, messages};

/// A proxy's packets are short.
const PACKET: usize = 64 << 10;

/// Listens on `path` and serves whoever connects, on a thread that lives as long as this process.
pub(super) fn serve(path: &Path, pods: Vec<LabPod>) -> anyhow::Result<()> {
    let listen = || {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        socket.listen(4)?;
        std::io::Result::Ok(socket)
    };
    let listener = listen().with_context(|| format!("cannot listen on {}", path.display()))?;
    std::thread::Builder::new().name("bench-zds".into()).spawn(move || {
        while let Ok((session, _)) = listener.accept() {
            if let Err(error) = attend(&session, &pods) {
                eprintln!("announcing pods: {error:#}");
            }
        }
    })?;
    Ok(())
}

/// One session: the greeting, every pod, and then silence until the proxy leaves.
fn attend(session: &Socket, pods: &[LabPod]) -> anyhow::Result<()> {
    let mut packet = vec![0; PACKET];
    let mut next = |session: &Socket| {
        let mut from = session;
        let length = from.read(&mut packet).context("cannot read from the proxy")?;
        anyhow::Ok(packet[..length].to_vec())
    };
    anyhow::ensure!(messages::is_hello(&next(session)?), "the proxy's first packet is no greeting of version 1");
    for pod in pods {
        let spec = &pod.plan.spec;
        let add = messages::add(&local::uid(&pod.plan), &spec.name, &spec.namespace, &spec.service_account);
        let namespace = [pod.netns.as_fd().as_raw_fd()];
        let with = [ControlMessage::ScmRights(&namespace)];
        let to = session.as_raw_fd();
        sendmsg::<UnixAddr>(to, &[IoSlice::new(&add)], &with, MsgFlags::empty(), None)
            .with_context(|| format!("cannot announce {}", spec.name))?;
        if let Some(complaint) = messages::complaint(&next(session)?)? {
            eprintln!("the proxy refuses the pod {}: {complaint}", spec.name);
        }
    }
    session.send(&messages::snapshot_sent()).context("cannot end the announcement")?;
    while !next(session)?.is_empty() {}
    Ok(())
}
