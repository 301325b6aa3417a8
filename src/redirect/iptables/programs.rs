//! Which iptables programs are used, and running them in a pod's namespace.

use super::save::Saved;
use crate::redirect::error::RedirectError;
use crate::sys::exec::{ExecError, Output, Program};
use crate::sys::netns::Netns;

/// One of the sets of programs that are called iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// `iptables-legacy`: the kernel's ip_tables.
    Legacy,
    /// `iptables-nft`: the same language, kept in nf_tables.
    Nft,
    /// `iptables` without a suffix: whichever the host chose.
    Plain,
}

// === impl Variant ===

impl Variant {
    pub fn name(self) -> &'static str {
        match self {
            Self::Legacy => "iptables-legacy",
            Self::Nft => "iptables-nft",
            Self::Plain => "iptables",
        }
    }

    /// `iptables-legacy-save`, `ip6tables-nft-restore` and the like.
    fn program(self, v6: bool, verb: &str) -> String {
        let family = if v6 { "ip6tables" } else { "iptables" };
        match self {
            Self::Legacy => format!("{family}-legacy-{verb}"),
            Self::Nft => format!("{family}-nft-{verb}"),
            Self::Plain => format!("{family}-{verb}"),
        }
    }

    /// True when the program starts. It is not asked to touch any rule.
    pub fn is_installed(self) -> bool {
        Program::new(self.program(false, "save"), &["--version"]).run().is_ok()
    }

    /// True when the calling thread's namespace holds rules of this variant: two variants in one
    /// kernel confuse people, so the one in use is preferred.
    pub fn is_in_use(self) -> bool {
        let saved = Program::new(self.program(false, "save"), &[]).run();
        saved.is_ok_and(|output| output.stdout.lines().any(|line| line.starts_with("-A ")))
    }

    /// What of ours is in the namespace.
    pub(super) fn save(self, netns: &Netns, v6: bool) -> Result<Saved, RedirectError> {
        let program = Program::new(self.program(v6, "save"), &["-c"]);
        let output = run(netns, "read the rules", program)?;
        Ok(Saved::parse(&output.stdout))
    }

    /// Applies a text for iptables-restore, table by table, each in one transaction.
    pub(super) fn restore(
        self,
        netns: &Netns,
        v6: bool,
        doing: &'static str,
        text: String,
    ) -> Result<(), RedirectError> {
        // Only legacy waits for a lock; the others accept the option and ignore it.
        let arguments = ["--noflush", "--counters", "--wait", "10"];
        run(netns, doing, Program::new(self.program(v6, "restore"), &arguments).stdin(text)).map(drop)
    }
}

fn run(netns: &Netns, doing: &'static str, program: Program) -> Result<Output, RedirectError> {
    let failed = |source: ExecError| RedirectError::Program { doing, namespace: netns.path().to_owned(), source };
    netns.run_apart(move || program.run())?.map_err(failed)
}

/// For messages.
pub(super) const fn family_word(v6: bool) -> &'static str {
    if v6 { "IPv6" } else { "IPv4" }
}
