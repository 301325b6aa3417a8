//! Every setting, once: flags, variables, file keys, help and the reference pages come from here.

mod carry;
mod names;
mod pods;
mod seams;
mod told;

use super::value::Kind;

mod control;

pub use control::CONTROL;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The flag without its dashes, and the key in a file.
    pub key: &'static str,
    pub kind: Kind,
    pub default: Default,
    /// What it is: a sentence without a full stop.
    pub about: &'static str,
    /// Why the default is what it is, and what a larger or smaller one costs.
    pub reason: &'static str,
}

/// What holds when nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// The process does not start.
    Required,
    Value(&'static str),
}

const fn setting(
    key: &'static str,
    kind: Kind,
    default: &'static str,
    about: &'static str,
    reason: &'static str,
) -> Setting {
    Setting { key, kind, default: Default::Value(default), about, reason }
}

const fn required(key: &'static str, kind: Kind, about: &'static str, reason: &'static str) -> Setting {
    Setting { key, kind, default: Default::Required, about, reason }
}

const TRUST_DOMAIN: Setting = setting(
    "trust-domain",
    Kind::Name,
    "cluster.local",
    "Trust domain of every identity",
    "Istio's default, so that policies written for it hold",
);
const TRUST_DOMAIN_ALIASES: Setting = setting(
    "trust-domain-aliases",
    Kind::Names,
    "",
    "Other names of the trust domain, joined by commas",
    "Their identities are accepted under the same roots, and policies for one name hold for all; for a trust domain that is renamed, or clusters that share a root",
);
const TRUST_BUNDLES: Setting = setting(
    "trust-bundles",
    Kind::Files,
    "",
    "Trust domains of others with their roots: DOMAIN=FILE, joined by commas",
    "Their identities must chain to that PEM file and to nothing else, and only principals match them; each file is read again when it changes",
);
const CLUSTER_DOMAIN: Setting =
    setting("cluster-domain", Kind::Name, "cluster.local", "DNS domain of services", "Kubernetes' default");
const ROOT_NAMESPACE: Setting = setting(
    "root-namespace",
    Kind::Name,
    "istio-system",
    "Namespace whose policies hold for the whole mesh",
    "Istio's default",
);

const CLUSTER: Setting =
    setting("cluster", Kind::Text, "Kubernetes", "Name of this cluster in metrics and logs", "Istio's default");
const METRICS_SERIES: Setting = setting(
    "metrics-series",
    Kind::Count,
    "10000",
    "Series that one metric may have",
    "About 1 KiB a pair of workloads, so 10 MiB for traffic; beyond it everything counts into one series named overflow",
);
const LOG_LEVEL: Setting = setting(
    "log-level",
    Kind::Levels,
    "info",
    "What is logged: a level, or MODULE=LEVEL, joined by commas",
    "info has a line for each change and none for each packet",
);
const LOG_FORMAT: Setting = setting(
    "log-format",
    Kind::Choice("text|json"),
    "text",
    "How a line of the log is written",
    "text for people; json for a collector",
);
const MANIFESTS: Setting = required(
    "manifests",
    Kind::Path,
    "Directory of Kubernetes manifests",
    "The mesh is what they say; the directory is watched",
);

/// The settings that say what a policy means, for commands that look at manifests without a node.
pub const MESH: &[Setting] = &[TRUST_DOMAIN, TRUST_DOMAIN_ALIASES, TRUST_BUNDLES, CLUSTER_DOMAIN, ROOT_NAMESPACE];

/// The settings of `culvert node`, in the order of help and reference.
pub const NODE: &[Setting] = &joined::<
    { names::ALL.len() + seams::ALL.len() + pods::ALL.len() + carry::ALL.len() + told::ALL.len() },
>(&[names::ALL, seams::ALL, pods::ALL, carry::ALL, told::ALL]);

/// The part of [`NODE`] that a key belongs to, in words for help.
pub fn heading(key: &str) -> Option<&'static str> {
    let parts: [(&str, &[Setting]); 5] = [
        ("Names and trust", names::ALL),
        ("Where mesh, certificates and pods come from", seams::ALL),
        ("Pods", pods::ALL),
        ("Connections", carry::ALL),
        ("Log, metrics and pages", told::ALL),
    ];
    parts.into_iter().find(|(_, part)| part.iter().any(|setting| setting.key == key)).map(|(heading, _)| heading)
}

/// One table of several, as a constant.
const fn joined<const N: usize>(parts: &[&[Setting]]) -> [Setting; N] {
    let mut all = [TRUST_DOMAIN; N];
    let (mut part, mut at) = (0, 0);
    while part < parts.len() {
        let mut place = 0;
        while place < parts[part].len() {
            all[at] = parts[part][place];
            at += 1;
            place += 1;
        }
        part += 1;
    }
    all
}

/// The setting of a key.
pub fn find(table: &'static [Setting], key: &str) -> Option<&'static Setting> {
    table.iter().find(|setting| setting.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sound() {
        let places = |table: &'static [Setting]| table.iter().enumerate().map(move |(place, it)| (table, place, it));
        let all = [NODE, CONTROL].into_iter().flat_map(places);
        for (table, place, setting) in all {
            let Setting { key, kind, default, about, reason } = setting;
            assert!(key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{key}");
            assert!(table[..place].iter().all(|other| other.key != *key), "{key} is there twice");
            if let Default::Value(text) = default {
                assert_eq!(kind.check(text), Ok(()), "{key}");
            }
            for text in [about, reason] {
                assert!(!text.is_empty() && !text.ends_with('.') && !text.contains('\n'), "{key}: {text}");
            }
            // Taken by the command line itself.
            assert!(!["config", "show-config", "help"].contains(key), "{key}");
        }
    }
}
