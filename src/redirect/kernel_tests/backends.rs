//! Choosing a back end, refusing a namespace, the cgroup match, and iptables' own ways.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lab::{Lab, accept, can_run, dial, dial_spoofed, lab, listen, pod_addresses, redirectors, run, talk, to};
use crate::redirect::plan::{CgroupMatch, PlanInput, plan};
use crate::redirect::{Change, Nftables, RedirectError, Redirector, Refusal, Target, Verdict, Wanted, probe, sweep};
use crate::sys::cgroup::{Cgroup, NoCgroup};
use crate::sys::exec::Program;
use crate::sys::netns::Netns;

#[test]
fn wrong_namespaces_are_refused_and_nothing_is_written() {
    let Some(lab) = lab() else { return };
    let redirector = Redirector::new(Arc::new(Nftables)).unwrap();
    let plan = plan(&PlanInput::default());
    let refusal = |target: Target<'_>| match redirector.lay(target, &plan) {
        Err(RedirectError::Refused { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    let addresses = pod_addresses();
    let own = Netns::own().unwrap();
    let claims = crate::redirect::Claims::new();
    let claim = claims.claim(own.id(), "pod").unwrap();
    let found = refusal(Target { claim: &claim, netns: &own, pod: &addresses });
    assert!(matches!(found, Refusal::Host | Refusal::Own), "{found}");
    let far = claims.claim(lab.far.id(), "pod").unwrap();
    let found = refusal(Target { claim: &far, netns: &lab.far, pod: &addresses });
    assert!(matches!(found, Refusal::NoAddress { .. }), "{found}");
    let found = refusal(Target { claim: &far, netns: &lab.pod, pod: &addresses });
    assert!(matches!(found, Refusal::ClaimedElsewhere { .. }), "{found}");
    for netns in [&lab.far, &lab.pod] {
        assert_eq!(run(netns, "nft list ruleset"), "");
        assert!(!run(netns, "ip rule").contains("0x111"));
    }
}

#[test]
fn each_back_end_is_idempotent_heals_and_goes() {
    for redirector in redirectors() {
        let Some(lab) = lab() else { return };
        let name = redirector.backend();
        let addresses = pod_addresses();
        let plan = plan(&PlanInput::default());
        assert_eq!(redirector.lay(lab.target(&addresses), &plan).unwrap().change(), Change::Laid, "{name}");
        assert_eq!(redirector.lay(lab.target(&addresses), &plan).unwrap().change(), Change::None, "{name}");
        redirector.withdraw_redirects(&lab.pod).unwrap();
        redirector.withdraw_redirects(&lab.pod).unwrap();
        assert!(matches!(redirector.verify(&lab.pod, &plan).unwrap(), Verdict::Differs(_)), "{name}");
        assert_eq!(redirector.lay(lab.target(&addresses), &plan).unwrap().change(), Change::Healed, "{name}");
        assert!(redirector.remove(&lab.pod).unwrap(), "{name}");
        assert!(!redirector.remove(&lab.pod).unwrap(), "{name}");
        redirector.lay(lab.target(&addresses), &plan).map(drop).unwrap();
        let swept = sweep(&lab.pod).unwrap();
        assert_eq!(swept.iptables.len() + usize::from(swept.nftables), 1, "{name} {swept:?}");
        assert!(sweep(&lab.pod).unwrap().is_empty(), "{name}");
    }
}

#[test]
fn foreign_rules_of_iptables_stay_and_come_second() {
    for redirector in redirectors() {
        let Some(lab) = lab() else { return };
        let name = redirector.backend();
        if name == "nf_tables" {
            continue;
        }
        run(&lab.pod, &format!("{name} -t nat -A OUTPUT -p tcp -j ACCEPT"));
        run(&lab.pod, &format!("{name} -A INPUT -p udp -m comment --comment culvert -j ACCEPT"));
        let save = format!("{name}-save");
        let rules = |lab: &Lab| -> Vec<String> {
            run(&lab.pod, &save).lines().filter(|line| line.starts_with("-A")).map(str::to_owned).collect()
        };
        let before = rules(&lab);
        let addresses = pod_addresses();
        let plan = plan(&PlanInput::default());
        redirector.lay(lab.target(&addresses), &plan).map(drop).unwrap();
        let outbound = listen(&lab.pod, "127.0.0.1", 15001);
        let _app = dial(&lab.pod, to("10.77.0.1", 80)).unwrap();
        assert!(outbound.accept().is_ok(), "an accept of the pod's own lets nothing pass by");
        // A hand that empties our chain, and one that leads past it.
        run(&lab.pod, &format!("{name} -t nat -F CULVERT_OUTPUT"));
        run(&lab.pod, &format!("{name} -t mangle -D OUTPUT -j CULVERT_MARK_OUTPUT"));
        let Verdict::Differs(found) = redirector.verify(&lab.pod, &plan).unwrap() else { panic!("{name}") };
        assert_eq!(found.len(), 2, "{name} {found:?}");
        assert_eq!(redirector.lay(lab.target(&addresses), &plan).unwrap().change(), Change::Healed);
        redirector.remove(&lab.pod).unwrap();
        assert_eq!(rules(&lab), before, "{name}");
    }
}

#[test]
fn the_probe_takes_nf_tables_and_iptables_on_demand() {
    if !can_run() {
        return;
    }
    let choice = probe(Wanted::Auto, Err(NoCgroup::Root)).unwrap();
    assert_eq!(choice.backend.name(), "nf_tables");
    assert_eq!(choice.cgroup, None);
    assert_eq!(choice.notes.len(), 1, "{:?}", choice.notes);
    let choice = probe(Wanted::Iptables, Err(NoCgroup::Root)).unwrap();
    assert!(choice.backend.name().starts_with("iptables"), "{}", choice.backend.name());
}

#[test]
fn a_cgroup_match_that_is_refused_falls_back_to_the_mark() {
    if !can_run() {
        return;
    }
    let missing = Cgroup { id: 1, level: 2, path: "culvert/no-such-cgroup".into() };
    let choice = probe(Wanted::Iptables, Ok(missing)).unwrap();
    assert_eq!((choice.cgroup, choice.notes.len()), (None, 1), "{:?}", choice.notes);
    assert!(choice.notes[0].contains("mark alone"), "{:?}", choice.notes);
}

/// A cgroup of the first level, for as long as this lives.
struct TestCgroup {
    cgroup: CgroupMatch,
    directory: PathBuf,
}

impl TestCgroup {
    fn new() -> Option<Self> {
        let mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
        let root = mounts.into_iter().map(Path::new).find(|path| path.join("cgroup.procs").exists())?;
        let path = format!("culvert-test-{}", std::process::id());
        let directory = root.join(&path);
        std::fs::create_dir(&directory).unwrap();
        let id = std::fs::metadata(&directory).unwrap().ino();
        Some(Self { cgroup: CgroupMatch { id, level: 1, path }, directory })
    }
}

impl Drop for TestCgroup {
    fn drop(&mut self) {
        drop(std::fs::remove_dir(&self.directory));
    }
}

/// This process is not in the cgroup, so its mark is an impostor's; a process inside passes.
#[test]
fn the_mark_of_another_cgroup_exempts_nobody() {
    if !can_run() {
        return;
    }
    let Some(own) = TestCgroup::new() else {
        eprintln!("skipped: needs a cgroup v2 hierarchy");
        return;
    };
    let CgroupMatch { id, level, path } = own.cgroup.clone();
    let choice = probe(Wanted::Auto, Ok(Cgroup { id, level, path })).unwrap();
    assert_eq!(choice.cgroup.as_ref(), Some(&own.cgroup), "{:?}", choice.notes);
    let plan = plan(&PlanInput { cgroup: Some(own.cgroup.clone()), ..PlanInput::default() });
    for redirector in redirectors() {
        let Some(lab) = lab() else { return };
        let addresses = pod_addresses();
        redirector.lay(lab.target(&addresses), &plan).map(drop).unwrap();
        let server = listen(&lab.far, "10.77.0.1", 81);
        let outbound = listen(&lab.pod, "127.0.0.1", 15001);
        let impostor = dial_spoofed(&lab.pod, to("10.77.0.2", 0), to("10.77.0.1", 81)).unwrap();
        let (captured, _) = accept(&outbound);
        talk(&impostor, &captured);
        // SO_MARK is option 36 of level SOL_SOCKET, 1.
        let python = "import socket,sys,os\nopen(sys.argv[1]+'/cgroup.procs','w').write(str(os.getpid()))\n\
            s=socket.socket(); s.setsockopt(1,36,0x539); s.connect(('10.77.0.1',81)); s.sendall(b'ping')";
        let program = Program::new("python3", &["-c", python, own.directory.to_str().unwrap()]);
        lab.pod.run(move || program.run()).unwrap().unwrap();
        let (mut stream, _) = accept(&server);
        let mut word = [0; 4];
        stream.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"ping", "{}", redirector.backend());
    }
}
