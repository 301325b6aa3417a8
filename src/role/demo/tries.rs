//! What the demonstration claims, and how each claim is tried.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::app::{self, HTTP_PORT, STREAM_PORT, Trickle, Way};
use super::claims::{Road, Row};
use super::lab::{KubeNamespace, WAYPOINT};
use super::mesh::Mesh;
use crate::sys::packet::{Capture, Finding};

mod waypoint;

pub(super) use waypoint::declare;

/// A claim's longest try: a refusal that hangs is none.
const PATIENCE: Duration = Duration::from_secs(5);
/// A change of manifests applies within a second; the rest is this machine.
const APPLIES: Duration = Duration::from_secs(10);
/// Bytes of a live transfer between two looks.
const SOME: u64 = 20_000;

/// What should happen.
#[derive(Clone, Copy)]
enum Expect {
    /// The program answers, the connection took this road, and the server's side saw this account.
    Answer(Road, Option<&'static str>),
    Refused,
}

/// Tries the claims on a running mesh.
pub(super) struct Tries<'a> {
    mesh: &'a Mesh,
    /// There is a waypoint to try.
    has_waypoint: bool,
    rows: Vec<Row>,
}

const ALLOW: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-client, namespace: demo}
spec:
  selector: {matchLabels: {app: server}}
  action: ALLOW
  rules:
  - from:
    - source: {principals: [cluster.local/ns/demo/sa/client]}
";
const STRICT: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: demo}
spec:
  mtls: {mode: STRICT}
";

// === impl Tries ===

impl<'a> Tries<'a> {
    pub(super) fn new(mesh: &'a Mesh, has_waypoint: bool) -> Self {
        Self { mesh, has_waypoint, rows: Vec::new() }
    }

    pub(super) async fn all(mut self) -> anyhow::Result<Vec<Row>> {
        self.mesh.manifests().put("only-client.yaml", ALLOW)?;
        self.policies(1).await;
        self.captured(
            "ciphertext only on the fabric",
            "client",
            "server",
            Expect::Answer(Road::Hbone, Some("client")),
            Finding::Absent,
        )
        .await?;
        self.request("same node", "client", "near", Expect::Answer(Road::SameNode, Some("client"))).await?;
        self.request("identity not allowed", "near", "server", Expect::Refused).await?;
        self.request("not allowed, same node", "intruder", "server", Expect::Refused).await?;
        self.request("into the mesh, PERMISSIVE", "outsider", "near", Expect::Answer(Road::Plain, None)).await?;
        self.captured(
            "out of the mesh, untouched",
            "client",
            "outsider",
            Expect::Answer(Road::Plain, None),
            Finding::Present,
        )
        .await?;
        self.mesh.manifests().put("strict.yaml", STRICT)?;
        self.policies(2).await;
        self.request("into the mesh, STRICT", "outsider", "near", Expect::Refused).await?;
        self.request("still allowed under STRICT", "client", "server", Expect::Answer(Road::Hbone, Some("client")))
            .await?;
        self.mesh.manifests().remove("strict.yaml")?;
        self.policies(1).await;
        self.labels().await?;
        if self.has_waypoint {
            self.waypoint().await?;
        }
        Ok(self.rows)
    }

    /// The namespace leaves the mesh and comes back while two transfers run; no program is started anew.
    async fn labels(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        let from = &self.mesh.pod("client")?.netns;
        let to = self.mesh.pod("near")?.plan.at_v4(STREAM_PORT);
        let mut before = Trickle::start(from, to, Way::Echo, PATIENCE).await?;
        before.advance(SOME, PATIENCE).await?;
        self.mesh.manifests().namespace(&KubeNamespace::plain("demo"))?;
        self.states("withdrawing", "out").await;
        self.request("opted out while running", "client", "near", Expect::Answer(Road::Plain, None)).await?;
        let mut during = Trickle::start(from, to, Way::Echo, PATIENCE).await?;
        during.advance(SOME, PATIENCE).await?;
        before.advance(SOME, PATIENCE).await?;
        self.mesh.manifests().namespace(&KubeNamespace::ambient("demo"))?;
        self.states("enrolled", "enrolled").await;
        self.request("opted in again", "client", "near", Expect::Answer(Road::SameNode, Some("client"))).await?;
        let carried = async {
            before.advance(SOME, PATIENCE).await?;
            during.advance(SOME, PATIENCE).await?;
            let total = before.finish(PATIENCE).await? + during.finish(PATIENCE).await?;
            Ok::<_, app::Cut>(total)
        };
        let result = carried.await;
        self.rows.push(Row {
            from: "client".into(),
            to: "near".into(),
            what: "live transfers across both changes".into(),
            expected: "not a byte lost".into(),
            happened: match &result {
                Ok(bytes) => format!("{bytes} bytes, all right"),
                Err(cut) => cut.to_string(),
            },
            road: None,
            peer: None,
            source: None,
            time: started.elapsed(),
            ok: result.is_ok(),
        });
        Ok(())
    }

    /// A request with a capture of the fabric beside it.
    async fn captured(
        &mut self,
        what: &str,
        from: &str,
        to: &str,
        expect: Expect,
        marker: Finding,
    ) -> anyhow::Result<()> {
        let lab = self.mesh.lab();
        let capture = Capture::start(lab.fabric(), &lab.node("node-a")?.plan.port)?;
        let started = Instant::now();
        let sent = self.request("", from, to, expect).await?;
        let captured = capture.stop()?;
        let found = captured.find(sent.as_bytes());
        let mut request = self.rows.pop().unwrap_or_else(|| unreachable!("a request adds its row"));
        request.what = match marker {
            Finding::Absent => "across nodes".into(),
            _ => "out of the mesh, untouched".into(),
        };
        self.rows.push(request);
        let frames = captured.frames.len();
        self.rows.push(Row {
            from: from.into(),
            to: to.into(),
            what: what.into(),
            expected: if marker == Finding::Absent {
                "marker not on the wire".into()
            } else {
                "marker on the wire".into()
            },
            happened: match found {
                Finding::Absent => format!("not in {frames} frames"),
                Finding::Inconclusive(lost) => format!("the capture lost frames ({lost:?})"),
                Finding::Present => format!("seen in {frames} frames"),
            },
            road: None,
            peer: None,
            source: None,
            time: started.elapsed(),
            ok: found == marker && frames > 0,
        });
        Ok(())
    }

    /// One HTTP request and its row; answers with the marker that it carried.
    async fn request(&mut self, what: &str, from: &str, to: &str, expect: Expect) -> anyhow::Result<String> {
        let (client, server) = (self.mesh.pod(from)?, self.mesh.pod(to)?);
        let (near, far) = (client.plan.spec.node.clone(), server.plan.spec.node.clone());
        let (near_mark, far_mark) = (self.mesh.mark(&near), self.mesh.mark(&far));
        let marker = format!("culvert-marker-{}-{}", self.rows.len(), std::process::id());
        let started = Instant::now();
        let result = app::get(&client.netns, server.plan.at_v4(HTTP_PORT), &marker, PATIENCE).await;
        let time = started.elapsed();
        // The server's side tells what it saw; a pod outside of the mesh has none, so its client's side does.
        let wait = Duration::from_secs(2);
        let of_server = |line: &Value| is_access(line, "inbound", "dst.workload", to);
        let of_client = |line: &Value| is_access(line, "outbound", "src.workload", from);
        let line = match self.mesh.line_after(&far, far_mark, Duration::from_millis(300), of_server).await {
            Some(line) => Some(line),
            None => self.mesh.line_after(&near, near_mark, wait, of_client).await,
        };
        let text = |key: &str| line.as_ref().and_then(|line| line[key].as_str()).map(str::to_owned);
        let road = match (text("road").as_deref(), &result) {
            (Some("hbone"), _) => Some(Road::Hbone),
            (Some("same_node"), _) => Some(Road::SameNode),
            (Some("plain"), _) => Some(Road::Plain),
            (Some("refused"), _) => Some(Road::Refused),
            // Nobody of the mesh saw it: it went as it always did.
            (_, Ok(_)) => Some(Road::Plain),
            (_, Err(_)) => None,
        };
        let peer = text("src.identity").and_then(|id| Some(id.rsplit_once("/sa/")?.1.to_owned()));
        let source = result.as_ref().ok().map(|reply| reply.answer.source.ip());
        let (expected, ok) = match expect {
            Expect::Answer(wanted, account) => {
                let own = source == Some(IpAddr::V4(client.plan.v4));
                let ok = result.is_ok() && road == Some(wanted) && peer.as_deref() == account && own;
                (format!("answered by {to}"), ok)
            }
            Expect::Refused => ("refused".to_owned(), result.is_err() && road == Some(Road::Refused)),
        };
        let happened = match &result {
            Ok(reply) => format!("answered by {}", reply.answer.pod),
            Err(refused) => match text("policy") {
                Some(policy) => format!("{} ({policy})", refused.refusal),
                None => refused.refusal.to_string(),
            },
        };
        self.rows.push(Row {
            from: from.into(),
            to: to.into(),
            what: what.into(),
            expected,
            happened,
            road,
            peer,
            source,
            time,
            ok,
        });
        Ok(marker)
    }

    /// Waits until both nodes have `count` policies.
    async fn policies(&self, count: usize) {
        self.until(|node| async move {
            let policies = self.mesh.admin(node, "/policies").await;
            policies.and_then(|all| Some(all.as_array()?.len())) == Some(count)
        })
        .await;
    }

    /// Waits until every pod of `demo` is in one of two states on both nodes.
    async fn states(&self, one: &str, other: &str) {
        self.until(|node| async move {
            let Some(Value::Array(pods)) = self.mesh.admin(node, "/pods").await else { return false };
            // A waypoint is out, whatever its namespace says.
            let mut demo = pods.iter().filter(|pod| pod["namespace"] == "demo" && pod["name"] != WAYPOINT);
            demo.all(|pod| pod["state"] == one || pod["state"] == other)
        })
        .await;
    }

    /// Waits until both nodes say yes, for as long as a change may take. What comes after shows whether it did.
    async fn until<F: Future<Output = bool>>(&self, holds: impl Fn(&'static str) -> F) {
        let started = Instant::now();
        while started.elapsed() < APPLIES && !(holds("node-a").await && holds("node-b").await) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn is_access(line: &Value, direction: &str, key: &str, workload: &str) -> bool {
    line["direction"] == direction && line[key] == workload
}
