//! Mistakes: what is wrong at the start ends the process with one line that names the thing, the place and the mend;
//! what becomes wrong later leaves the last good state in force.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use culvert::ca::Root;
use culvert::role::demo::lab::{KubeNamespace, Topology};
use culvert::sys::netns::Netns;
use tempfile::TempDir;

use crate::bed::{BINARY, Bed, Family, demo, may_run, until};
use crate::roads::{HBONE, SAME_NODE, takes};

/// A directory that a node could start with.
struct Home {
    directory: TempDir,
}

/// Exit code of a mistake in the settings (EX_USAGE of sysexits.h).
const USAGE: i32 = 64;

/// How a start failed.
#[derive(Debug)]
struct Failed {
    code: i32,
    /// All of standard error.
    said: String,
}

// === impl Home ===

impl Home {
    fn new() -> Self {
        let home = Self { directory: TempDir::with_prefix("culvert-input-").unwrap() };
        std::fs::create_dir(home.path("manifests")).unwrap();
        home.manifest("namespace.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: demo}\n");
        Root::load_or_create(&home.path("ca"), "cluster.local").unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn manifest(&self, name: &str, text: &str) {
        std::fs::write(self.path("manifests").join(name), text).unwrap();
    }

    fn arguments(&self) -> Vec<String> {
        let path = |name: &str| self.path(name).display().to_string();
        vec![
            "node".into(),
            format!("--manifests={}", path("manifests")),
            "--node=node-a".into(),
            format!("--ca-dir={}", path("ca")),
        ]
    }

    /// Starts the node with these settings in place of its own, in a namespace of its own, and expects it to end.
    fn start(&self, before: &[&str], settings: &[String]) -> Failed {
        self.start_in(&Netns::fresh().unwrap(), before, settings)
    }

    fn start_in(&self, netns: &Netns, before: &[&str], settings: &[String]) -> Failed {
        let key = |argument: &str| argument.split('=').next().unwrap_or_default().to_owned();
        let mut arguments = self.arguments();
        arguments.retain(|own| !settings.iter().any(|given| key(given) == key(own)));
        let words: Vec<String> = before.iter().map(|&word| word.to_owned()).chain([BINARY.to_owned()]).collect();
        let all: Vec<String> = words.into_iter().chain(arguments).chain(settings.iter().cloned()).collect();
        netns.run(move || ends(&all)).unwrap()
    }
}

/// Runs a program that should end by itself within seconds.
#[expect(clippy::disallowed_methods, reason = "its exit code and all of its standard error are what is tested")]
fn ends(words: &[String]) -> Failed {
    let mut command = std::process::Command::new(&words[0]);
    command.args(&words[1..]).env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    for _ in 0..1000 {
        if let Some(status) = child.try_wait().unwrap() {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            return Failed { code: status.code().unwrap_or(-1), said };
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(child.kill());
    panic!("{words:?} did not end");
}

impl Failed {
    /// One line of error, with all of `parts` in it.
    #[track_caller]
    fn says(&self, what: &str, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{what}: {self:?}");
        let errors: Vec<_> = self.said.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "{what}: one line tells it: {}", self.said);
        let rest = self.said.lines().filter(|line| !line.starts_with("error: "));
        assert!(
            rest.clone().all(|line| line.starts_with("  mend: ")),
            "{what}: nothing but a mend beside it: {}",
            self.said
        );
        for part in parts {
            assert!(self.said.contains(part), "{what}: no '{part}' in: {}", self.said);
        }
        assert!(!self.said.contains("panicked"), "{what}: {}", self.said);
    }
}

#[test]
fn broken_manifests_end_the_start() {
    if !may_run("broken manifests") {
        return;
    }
    let policy = |spec: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p, namespace: demo}}\nspec: {spec}\n"
        )
    };
    let documents: [(&str, String, &[&str]); 6] = [
        ("not YAML", "apiVersion: v1\nkind: [\n".into(), &["broken.yaml"]),
        ("unknown field", policy("{action: DENY, rulez: []}"), &["broken.yaml", "rulez"]),
        (
            "bad CIDR",
            policy("{action: DENY, rules: [{from: [{source: {ipBlocks: [10.0.0.0/99]}}]}]}"),
            &["broken.yaml", "10.0.0.0/99", "ipBlocks"],
        ),
        (
            "bad port",
            policy("{action: DENY, rules: [{to: [{operation: {ports: [\"http\"]}}]}]}"),
            &["broken.yaml", "http"],
        ),
        ("bad action", policy("{action: PERHAPS}"), &["broken.yaml", "PERHAPS"]),
        (
            "second document",
            format!("{}---\n{}", policy("{action: DENY}"), policy("{action: 7}")),
            &["broken.yaml", "action"],
        ),
    ];
    for (what, text, parts) in documents {
        let home = Home::new();
        home.manifest("broken.yaml", &text);
        home.start(&[], &[]).says(what, 1, parts);
    }
    let home = Home::new();
    let gone = home.path("gone").display().to_string();
    home.start(&[], &[format!("--manifests={gone}")]).says("no directory", 1, &[&gone, "--manifests"]);
}

type Harm = fn(&Path);

#[test]
fn a_broken_ca_ends_the_start() {
    if !may_run("a broken CA") {
        return;
    }
    let other_key: Harm = |ca| {
        let other = TempDir::new().unwrap();
        Root::load_or_create(other.path(), "cluster.local").unwrap();
        std::fs::copy(other.path().join("ca-key.pem"), ca.join("ca-key.pem")).unwrap();
    };
    let missing: Harm = |ca| std::fs::remove_file(ca.join("root-cert.pem")).unwrap();
    let garbage: Harm = |ca| std::fs::write(ca.join("ca-cert.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
    let empty: Harm = |ca| std::fs::write(ca.join("root-cert.pem"), "").unwrap();
    let expired: Harm = |ca| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        let root = params.self_signed(&key).unwrap().pem();
        for name in ["root-cert.pem", "ca-cert.pem", "cert-chain.pem"] {
            std::fs::write(ca.join(name), &root).unwrap();
        }
        std::fs::write(ca.join("ca-key.pem"), key.serialize_pem()).unwrap();
    };
    let directory: Harm = |ca| {
        std::fs::remove_dir_all(ca).unwrap();
        std::fs::write(ca, "x").unwrap();
    };
    for (what, harm, parts) in [
        ("another's key", other_key, &["ca-key.pem", "not the private key of ca-cert.pem"][..]),
        ("missing file", missing, &["root-cert.pem is missing"]),
        ("bad PEM", garbage, &["ca-cert.pem", "not a PEM file"]),
        ("empty root", empty, &["root-cert.pem"]),
        ("expired root", expired, &["root-cert.pem", "expired"]),
        ("no directory", directory, &["/ca"]),
    ] {
        let home = Home::new();
        harm(&home.path("ca"));
        home.start(&[], &[]).says(what, 1, parts);
    }
}

#[test]
fn bad_settings_end_the_start() {
    if !may_run("bad settings") {
        return;
    }
    let home = Home::new();
    let file = |text: &str| {
        std::fs::write(home.path("culvert.yaml"), text).unwrap();
        format!("--config={}", home.path("culvert.yaml").display())
    };
    // An unknown key, and the nearest that exists.
    home.start(&[], &[file("drain-dedline: 3s\n")]).says(
        "unknown",
        USAGE,
        &["culvert.yaml", "drain-dedline", "drain-deadline"],
    );
    home.start(&[], &[file("drain-deadline: soon\n")]).says("bad value", USAGE, &["drain-deadline", "soon"]);
    home.start(&[], &[file("drain-deadline: [\n")]).says("not YAML", USAGE, &["culvert.yaml"]);
    home.start(&[], &["--leaf-ttl=0s".into()]).says("zero", USAGE, &["leaf-ttl", "0s"]);
    home.start(&[], &["--redirect-backend=magic".into()]).says(
        "choice",
        USAGE,
        &["redirect-backend", "magic", "nftables"],
    );
    home.start(&[], &["--admin-address=localhost".into()]).says("address", USAGE, &["admin-address", "localhost"]);
    let gone = home.path("gone.yaml").display().to_string();
    home.start(&[], &[format!("--config={gone}")]).says("no file", USAGE, &[&gone]);
    // Two of its own ports that are one, and one that somebody has.
    let same = ["--admin-address=127.0.0.1:7000".to_owned(), "--metrics-address=127.0.0.1:7000".to_owned()];
    home.start(&[], &same).says("twice", USAGE, &["admin-address", "metrics-address", "differ"]);
    let netns = Netns::fresh().unwrap();
    let holder = netns.run(|| std::net::TcpListener::bind("127.0.0.1:7000")).unwrap().unwrap();
    let held = home.start_in(&netns, &[], &["--admin-address=127.0.0.1:7000".into()]);
    held.says("port in use", 1, &["127.0.0.1:7000", "--admin-address", "in use"]);
    drop(holder);
}

#[test]
fn without_its_capabilities_it_says_which_it_needs() {
    if !may_run("capabilities") {
        return;
    }
    for capability in ["net_admin", "sys_admin"] {
        let drop = format!("-{capability}");
        let before = ["setpriv", "--bounding-set", &drop, "--inh-caps", &drop, "--"];
        let failed = Home::new().start(&before, &[]);
        failed.says(capability, 1, &[&format!("CAP_{}", capability.to_uppercase())]);
    }
}

#[test]
fn a_manifest_that_breaks_later_leaves_the_last_good_state() {
    demo("broken", async |bed| {
        let deny = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: demo}\n\
                    spec: {action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/demo/sa/near]}}]}]}\n";
        bed.put("policy.yaml", deny);
        bed.start(&[]).await;
        bed.policies(1).await;
        let errors = async |bed: &Bed| bed.metric("node-a", "culvert_manifest_errors", &[]).await;
        for (at, (broken, says)) in [
            ("apiVersion: v1\nkind: [\n".to_owned(), ""),
            (deny.replace("principals", "principles"), "principles"),
            (deny.replace("action: DENY", "action: PERHAPS"), "PERHAPS"),
        ]
        .into_iter()
        .enumerate()
        {
            let mark = bed.mark("node-a");
            bed.put("policy.yaml", &broken);
            let line = bed.says("node-a", mark, "the last good state stays").await;
            let text = line.to_string();
            assert!(text.contains("policy.yaml") && text.contains(says), "{line}");
            assert_eq!((&line["level"], errors(bed).await), (&"error".into(), 1.0), "{line}");
            // The policy that was is still in force, and so is everything else.
            bed.get("near", "server").await.expect_err("denied as before");
            takes(bed, &HBONE, Family::V4).await;
            takes(bed, &SAME_NODE, Family::V4).await;
            bed.put("policy.yaml", deny);
            until("it is mended", async || errors(bed).await == 0.0).await;
            bed.get("near", "server").await.expect_err("denied again");
            // Once, and not with each look.
            let told = bed.lines_after("node-a", mark).iter().filter(|line| line["level"] == "error").count();
            assert_eq!(told, 1, "round {at}");
        }
    });
}

/// A directory that goes away for a moment, as a volume does that is mounted again.
#[test]
fn a_directory_that_goes_away_changes_nothing() {
    demo("gone", async |bed| {
        bed.start(&[]).await;
        let (there, away) = (bed.manifests().directory().to_owned(), bed.path().join("away"));
        let mark = bed.mark("node-a");
        std::fs::rename(&there, &away).unwrap();
        bed.says("node-a", mark, "the last good state stays").await;
        takes(bed, &HBONE, Family::V4).await;
        std::fs::rename(&away, &there).unwrap();
        bed.manifests().namespace(&KubeNamespace::plain("demo")).unwrap();
        bed.states(&["client", "server"], "out").await;
        assert_eq!(bed.lab().topology(), &Topology::demo());
    });
}
