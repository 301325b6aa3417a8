//! Choosing a back end, refusing a namespace, the cgroup match, and iptables' own ways.

use std::sync::Arc;

use super::lab::{Lab, can_run, dial, lab, listen, pod_addresses, redirectors, run, to};
use crate::redirect::plan::{CgroupMatch, PlanInput, plan};
use crate::redirect::{Change, Nftables, RedirectError, Redirector, Refusal, Target, Verdict, Wanted, probe, sweep};
use crate::sys::cgroup::{Cgroup, NoCgroup};
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

/// A thread cannot change its cgroup, but a process that only dials can be put into one.
#[test]
fn the_mark_of_another_cgroup_exempts_nobody() {
    let Some(lab) = lab() else { return };
    let Some(hierarchy) = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
        .into_iter()
        .find(|path| std::path::Path::new(path).join("cgroup.procs").exists())
    else {
        eprintln!("skipped: needs a cgroup v2 hierarchy");
        return;
    };
    let name = format!("culvert-test-{}", std::process::id());
    let directory = std::path::Path::new(hierarchy).join(&name);
    std::fs::create_dir(&directory).unwrap();
    let id = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&directory).unwrap());
    let cgroup = Cgroup { id, level: 1, path: name };
    let choice = probe(Wanted::Auto, Ok(cgroup.clone()));
    let plan =
        plan(&PlanInput { cgroup: Some(CgroupMatch { id, level: 1, path: cgroup.path }), ..PlanInput::default() });
    let redirector = Redirector::new(Arc::new(Nftables)).unwrap();
    let addresses = pod_addresses();
    let laid = redirector.lay(lab.target(&addresses), &plan).map(drop);
    // This process is not in that cgroup: its mark alone is an impostor's.
    let server = listen(&lab.far, "10.77.0.1", 81);
    let outbound = listen(&lab.pod, "127.0.0.1", 15001);
    let impostor = super::lab::dial_spoofed(&lab.pod, to("10.77.0.2", 0), to("10.77.0.1", 81)).unwrap();
    let (captured, _) = super::lab::accept(&outbound);
    super::lab::talk(&impostor, &captured);
    // A process inside of it passes.
    let python = "import socket,sys,os\nopen(sys.argv[1]+'/cgroup.procs','w').write(str(os.getpid()))\n\
        s=socket.socket(); s.setsockopt(1,36,0x539); s.connect(('10.77.0.1',81)); s.sendall(b'ping')";
    let path = directory.to_str().unwrap().to_owned();
    let program = crate::sys::exec::Program::new("python3", &["-c", python, &path]);
    let inside = lab.pod.run(move || program.run()).unwrap();
    std::fs::remove_dir(&directory).unwrap();
    assert_eq!(choice.unwrap().cgroup.map(|cgroup| cgroup.id), Some(id));
    laid.unwrap();
    inside.unwrap();
    let (mut stream, _) = super::lab::accept(&server);
    let mut word = [0; 4];
    std::io::Read::read_exact(&mut stream, &mut word).unwrap();
    assert_eq!(&word, b"ping");
}
