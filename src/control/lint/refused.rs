//! What manifests are refused for, and what in them nobody reads.

use std::collections::BTreeMap;

use crate::control::manifests::{Fault, LoadError, LoadErrors};

use super::{Code, Finding, Level, Object, Place};

/// One finding a mistake.
pub(super) fn errors(errors: &LoadErrors) -> Vec<Finding> {
    const WHY: &str = "culvert takes nothing of the whole directory over until it is mended";
    let mut findings: Vec<_> = errors.errors.iter().map(|error| finding(error).why(WHY)).collect();
    if errors.more > 0 {
        let what = format!("there are {} more mistakes of this kind, which are not told", errors.more);
        findings.push(Finding::new(Code::InvalidValue, Object::default(), "", what).why(WHY).mend("mend these first"));
    }
    findings
}

fn finding(error: &LoadError) -> Finding {
    let LoadError { file, document, object, path, fault } = error;
    let object = match object.as_deref().map(|shown| shown.split_once(' ').unwrap_or(("", shown))) {
        Some((kind, name)) => Object { kind: kind.to_owned(), name: name.to_owned() },
        None => Object::default(),
    };
    let at = Place {
        file: file.clone(),
        document: document.map(|place| place.number),
        line: document.map(|place| place.line),
    };
    let (code, what, mend) = match fault {
        Fault::Duplicate { first } => {
            (Code::DuplicateObject, format!("the same object is in {first} already"), Code::DuplicateObject.mend())
        }
        Fault::Invalid { reason, mend } if path.contains(".when[") && path.ends_with(".key") => {
            (Code::UnknownCondition, reason.clone(), mend.as_str())
        }
        Fault::Invalid { reason, mend } => (Code::InvalidValue, reason.clone(), mend.as_str()),
        Fault::Io(error) => (Code::Unreadable, format!("cannot be read: {error}"), Code::Unreadable.mend()),
        Fault::Shape { reason, mend } if reason.starts_with("unknown field") => {
            (Code::UnknownField, reason.clone(), *mend)
        }
        Fault::Shape { reason, mend } => (Code::WrongShape, reason.clone(), *mend),
        Fault::Syntax { reason, mend } => (Code::NotYaml, reason.clone(), *mend),
        Fault::TooLarge { what, limit } => {
            (Code::TooLarge, format!("{what} is over the limit of {limit}"), Code::TooLarge.mend())
        }
    };
    Finding { at: Some(at), ..Finding::new(code, object, path.clone(), what).mend(mend) }
}

/// Kinds that are left alone. One of the group that policies belong to is a policy that nobody
/// enforces; the others are told so that nobody takes them for enforced.
pub(super) fn ignored(kinds: &BTreeMap<String, usize>) -> Vec<Finding> {
    let finding = |(kind, count): (&String, &usize)| {
        let version = kind.split(' ').next().unwrap_or_default();
        let (group, name) =
            (version.split('/').next().unwrap_or_default(), kind.rsplit(' ').next().unwrap_or_default());
        let times = if *count == 1 { "one object".to_owned() } else { format!("{count} objects") };
        let finding = Finding::new(
            Code::UnreadKind,
            Object { kind: kind.clone(), name: String::new() },
            "",
            format!("{times} of this kind, which culvert does not read"),
        );
        match (group, name) {
            ("security.istio.io", "RequestAuthentication") => finding
                .level(Level::Warning)
                .why("tokens are judged by a waypoint; without one nobody looks at them")
                .mend("give what it selects a waypoint that reads it"),
            ("security.istio.io", _) => finding.why("what it says is enforced by nobody"),
            ("networking.k8s.io", "NetworkPolicy") => finding
                .level(Level::Note)
                .why("the network plugin enforces it; it must let port 15008 of the pods through")
                .mend("allow TCP port 15008 wherever it allows a port of a pod in the mesh"),
            _ => finding.level(Level::Note).why("it belongs to others").mend("nothing, if that is meant"),
        }
    };
    kinds.iter().map(finding).collect()
}

/// The checks that were left out, and why.
pub(super) fn not_compared(complete: bool) -> Finding {
    let what = if complete {
        "no policy was compared with workloads: the directory declares no pod"
    } else {
        "no policy was compared with workloads: what was refused may be what it speaks of"
    };
    let why = "misspelt names, selectors that select nothing and pods outside of the mesh were not looked for";
    let mend = if complete { Code::NothingToCompare.mend() } else { "mend the errors first" };
    Finding::new(Code::NothingToCompare, Object::default(), "", what).why(why).mend(mend)
}
