use super::*;

const ALL: [Phase; 5] = [Phase::Starting, Phase::Ready, Phase::Draining, Phase::Forcing, Phase::Ended];

#[test]
fn a_phase_never_goes_back() {
    for from in ALL {
        for to in ALL {
            let shutdown = Shutdown::new();
            shutdown.advance(from);
            assert_eq!(shutdown.advance(to), to > from, "{from} to {to}");
            assert_eq!(shutdown.phase(), from.max(to), "{from} to {to}");
        }
    }
}

#[test]
fn tokens_follow_the_phase() {
    for (phase, drain, force) in [
        (Phase::Starting, false, false),
        (Phase::Ready, false, false),
        (Phase::Draining, true, false),
        (Phase::Forcing, true, true),
        (Phase::Ended, true, true),
    ] {
        let shutdown = Shutdown::new();
        let child = shutdown.drain().child_token();
        shutdown.advance(phase);
        assert_eq!(child.is_cancelled(), drain, "{phase}");
        assert_eq!(shutdown.force().is_cancelled(), force, "{phase}");
    }
}

#[test]
fn a_child_ends_alone() {
    let shutdown = Shutdown::new();
    shutdown.drain().child_token().cancel();
    assert!(!shutdown.drain().is_cancelled());
}
