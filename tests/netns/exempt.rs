//! Who passes the redirect: the daemon, and a pod only where the kernel cannot tell the two apart.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use culvert::redirect::DAEMON_MARK;
use culvert::role::demo::app::HTTP_PORT;
use nix::sys::socket::{setsockopt, sockopt};

use crate::bed::{Bed, Family, NODES, PATIENCE, demo, may_run};
use crate::roads::{HBONE, SAME_NODE, takes};

/// A cgroup for the daemons of a test.
struct Group(PathBuf);

// === impl Group ===

impl Group {
    /// `None` where no cgroup v2 hierarchy is mounted whole.
    fn make(name: &str) -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mount = mounts.lines().find_map(|line| {
            let (front, kind) = line.split_once(" - ")?;
            let mut fields = front.split(' ').skip(3);
            (fields.next()? == "/" && kind.starts_with("cgroup2 ")).then(|| fields.next().map(PathBuf::from))?
        })?;
        let path = mount.join(name);
        // Left by a run that was killed: empty by now.
        drop(std::fs::remove_dir(&path));
        std::fs::create_dir(&path).ok().map(|()| Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(std::fs::remove_dir(&self.0));
    }
}

/// A request of a pod that sets the daemon's mark on its own socket, which root in a pod may; the road that it took.
async fn forged(bed: &Bed) -> String {
    let (marks, to) = (bed.marks(), bed.at("server", Family::V4, HTTP_PORT));
    let ask = move || -> std::io::Result<String> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        setsockopt(&socket, sockopt::Mark, &DAEMON_MARK)?;
        socket.connect_timeout(&to.into(), PATIENCE)?;
        let mut stream = std::net::TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = bed.netns("client").run_async(ask).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    bed.access(marks, "inbound", "client", "server").await["road"].as_str().unwrap().to_owned()
}

#[test]
fn a_pod_cannot_pass_as_the_daemon_where_cgroups_are_matched() {
    if !may_run("cgroup") {
        return;
    }
    let Some(group) = Group::make("culvert-t-cgroup") else {
        println!("skipped: no cgroup v2 hierarchy is mounted whole and can be written");
        return;
    };
    demo("cgroup", async |bed| {
        let script = format!("echo 0 > {}/cgroup.procs && exec \"$0\" \"$@\"", group.path().display());
        let start = async |bed: &mut Bed, settings: &[(&str, &str)]| {
            for node in NODES {
                bed.launch_by(&["/bin/sh", "-c", &script], node, settings);
            }
            for node in NODES {
                bed.ready(node, Duration::from_secs(20)).await.unwrap();
            }
        };
        let mark = bed.mark("node-a");
        start(bed, &[]).await;
        let line = bed.says("node-a", mark, "\"redirection\"").await;
        assert_eq!(line["cgroup"], "culvert-t-cgroup", "{line}");
        takes(bed, &HBONE, Family::V4).await;
        takes(bed, &SAME_NODE, Family::V6).await;
        assert_eq!(forged(bed).await, "hbone", "the mark alone is not enough");
        for node in NODES {
            bed.kill_node(node).unwrap();
        }
        // The next daemon lays the weaker rules in their place, and says so.
        let mark = bed.mark("node-a");
        start(bed, &[("cgroup-exemption", "off")]).await;
        bed.says("node-a", mark, "the setting cgroup-exemption is off").await;
        takes(bed, &HBONE, Family::V4).await;
        assert_eq!(forged(bed).await, "plain", "with the mark alone a pod can pass; STRICT is what refuses it then");
    });
}
