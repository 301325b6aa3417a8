//! The claims about a waypoint, tried through a real Envoy.

use std::net::SocketAddr;

use hyper::{Method, Response, StatusCode};

use super::*;
use crate::role::demo::lab::{ManifestError, WAYPOINT};

/// The Service `web` in front of the pod `near`, with a waypoint that lets GET through.
const WEB: &str = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: demo, labels: {istio.io/use-waypoint: waypoint}}
spec:
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, 'fd96::10']
  selector: {app: near}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: demo}
spec:
  gatewayClassName: istio-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-get, namespace: demo}
spec:
  targetRefs: [{group: '', kind: Service, name: web}]
  action: ALLOW
  rules: [{to: [{operation: {methods: [GET]}}]}]
";
const VIP: ([u8; 4], u16) = ([10, 96, 0, 10], 80);
const SERVER: &str = "near";
/// What an answer that came through it carries.
const MARK: (&str, &str) = ("x-culvert-waypoint", "demo/waypoint");

/// Writes the Service, its Gateway and its policy.
pub(in super::super) fn declare(mesh: &Mesh) -> Result<(), ManifestError> {
    mesh.manifests().put("web.yaml", WEB)
}

// === impl Tries ===

impl Tries<'_> {
    /// The rows that need a waypoint.
    pub(super) async fn waypoint(&mut self) -> anyhow::Result<()> {
        let answered = "answered by near";
        self.through("through a waypoint, GET allowed", Method::GET, StatusCode::OK, answered).await?;
        self.through("through a waypoint, POST refused", Method::POST, StatusCode::FORBIDDEN, "403 of the waypoint")
            .await
    }

    async fn through(&mut self, what: &str, method: Method, wanted: StatusCode, expected: &str) -> anyhow::Result<()> {
        let client = self.mesh.pod("client")?;
        let marks = [self.mesh.mark("node-a"), self.mesh.mark(&self.mesh.pod(SERVER)?.plan.spec.node)];
        let started = Instant::now();
        let result = app::exchange(&client.netns, SocketAddr::from(VIP), method, "/", PATIENCE).await;
        let time = started.elapsed();
        let wait = Duration::from_secs(2);
        let outbound = |line: &Value| is_access(line, "outbound", "src.workload", "client");
        let line = self.mesh.line_after("node-a", marks[0], wait, outbound).await;
        let by_tunnel = line.as_ref().is_some_and(|line| line["road"] == "hbone" && line["dst.workload"] == WAYPOINT);
        let marked = |response: &Response<_>| response.headers().get(MARK.0).is_some_and(|value| value == MARK.1);
        let ok = by_tunnel && result.as_ref().is_ok_and(|response| response.status() == wanted && marked(response));
        let source =
            result.as_ref().ok().and_then(|response| serde_json::from_slice::<app::Answer>(response.body()).ok());
        self.rows.push(Row {
            from: "client".into(),
            to: "web".into(),
            what: what.into(),
            expected: expected.into(),
            happened: match &result {
                Ok(response) => {
                    let through = if marked(response) { "through the waypoint" } else { "not through the waypoint" };
                    format!("{}, {through}", response.status().as_u16())
                }
                Err(refused) => refused.refusal.to_string(),
            },
            road: by_tunnel.then_some(Road::Hbone),
            // The waypoint keeps its tunnel to the server, whose side writes its line when that ends.
            peer: None,
            source: source.map(|answer| answer.source.ip()),
            time,
            ok,
        });
        Ok(())
    }
}
