//! Principals, namespaces and service accounts that no workload has.

use crate::model::nearest::nearest;
use crate::model::policy::StringMatch;
use crate::model::spiffe::Identity;

use super::values::{Subject, Value, consequence, values};
use super::world::World;
use super::{Code, Finding};

/// What is wrong with a name.
struct Doubt {
    code: Code,
    what: String,
    mend: Option<String>,
}

pub(super) fn check(world: &World<'_>, findings: &mut Vec<Finding>) {
    for policy in &world.policies {
        let spec = &policy.object.spec;
        for Value { path, subject, negated, text } in values(spec) {
            let doubt = match subject {
                Subject::Namespace => namespace(world, text),
                Subject::Principal => principal(world, text),
                Subject::ServiceAccount => {
                    let (namespace, name) = text.split_once('/').unwrap_or((&policy.key.namespace, text));
                    account(world, namespace, name)
                }
                Subject::Destination | Subject::Port | Subject::Source => None,
            };
            let Some(Doubt { code, what, mend }) = doubt else { continue };
            let finding = Finding::new(code, policy.name(), path, what).why(consequence(spec.action, negated));
            findings.push(match mend {
                Some(mend) => finding.mend(mend),
                None => finding,
            });
        }
    }
}

fn principal(world: &World<'_>, text: &str) -> Option<Doubt> {
    let ours = &*world.settings.trust_domain;
    let matcher = StringMatch::parse(text);
    if !matches!(matcher, StringMatch::Exact(_)) {
        let whole = |(namespace, name): (&str, &str)| {
            world.settings.names().any(|ours| matcher.matches(&format!("{ours}/ns/{namespace}/sa/{name}")))
        };
        // Who there is in another trust domain is not known here.
        let somewhere = || matcher == StringMatch::Presence || may_be_federated(world, &matcher);
        return (!somewhere() && !world.identities().any(whole)).then(|| Doubt {
            code: Code::MatchesNobody,
            what: format!("`{text}` is like the principal of no workload"),
            mend: None,
        });
    }
    let Ok(identity) = format!("spiffe://{text}").parse::<Identity>() else {
        return Some(Doubt {
            code: Code::NotAPrincipal,
            what: format!("`{text}` is no principal: it can never match"),
            mend: likely(world, text).map(|principal| format!("write `{principal}`")),
        });
    };
    let Identity { trust_domain, namespace, service_account } = &identity;
    if world.settings.federated.contains(trust_domain) {
        return None;
    }
    if !world.settings.names().any(|name| name == trust_domain) {
        let known = account(world, namespace, service_account).is_none();
        return Some(Doubt {
            code: Code::OtherTrustDomain,
            what: format!("`{text}` is of the trust domain {trust_domain}, and this mesh's is {ours}"),
            mend: known.then(|| format!("write `{ours}/ns/{namespace}/sa/{service_account}`")),
        });
    }
    account(world, namespace, service_account)
}

/// A pattern that somebody of a federated trust domain can have.
fn may_be_federated(world: &World<'_>, matcher: &StringMatch) -> bool {
    world.settings.federated.iter().any(|domain| {
        let all = format!("{domain}/");
        match matcher {
            StringMatch::Prefix(text) => text.starts_with(&all) || all.starts_with(&**text),
            StringMatch::Suffix(_) | StringMatch::Presence => true,
            StringMatch::Exact(_) => false,
        }
    })
}

/// The principal that a text which is none was meant to be: the part behind a scheme, or the
/// account of that name.
fn likely(world: &World<'_>, text: &str) -> Option<String> {
    let parts: Vec<_> = text.split('/').filter(|part| !part.is_empty()).collect();
    let (namespace, name) = match parts[..] {
        [.., "ns", namespace, "sa", name] => (Some(namespace), name),
        // As Kubernetes writes a user: system:serviceaccount:<namespace>:<name>.
        [user] if user.starts_with("system:serviceaccount:") => {
            let (namespace, name) = user["system:serviceaccount:".len()..].split_once(':')?;
            (Some(namespace), name)
        }
        [namespace, name] => (Some(namespace), name),
        [name] => (None, name),
        _ => return None,
    };
    let mut meant = world.identities().filter(|(ns, sa)| *sa == name && namespace.is_none_or(|wanted| wanted == *ns));
    // Two of that name would be a guess.
    let (namespace, name) = meant.next().filter(|_| meant.next().is_none())?;
    Some(format!("{}/ns/{namespace}/sa/{name}", world.settings.trust_domain))
}

fn account(world: &World<'_>, namespace: &str, name: &str) -> Option<Doubt> {
    let Some(accounts) = world.accounts(namespace) else { return uninhabited(world, namespace) };
    match accounts.get(name) {
        Some(true) => None,
        Some(false) => Some(Doubt {
            code: Code::NoIdentity,
            what: format!("the workloads with the service account {namespace}/{name} are not in the mesh"),
            mend: None,
        }),
        None => {
            let elsewhere = world.identities().find(|(_, other)| *other == name).map(|(namespace, _)| namespace);
            let mend = match (nearest(name, accounts.keys().copied()), elsewhere) {
                (Some(near), _) => Some(format!("did you mean `{near}`?")),
                (None, Some(namespace)) => Some(format!("did you mean the one of namespace {namespace}?")),
                (None, None) => None,
            };
            let what = format!("no workload has the service account {name} in namespace {namespace}");
            Some(Doubt { code: Code::UnknownAccount, what, mend })
        }
    }
}

fn namespace(world: &World<'_>, text: &str) -> Option<Doubt> {
    let matcher = StringMatch::parse(text);
    match &matcher {
        StringMatch::Presence => None,
        StringMatch::Exact(_) => match world.accounts(text) {
            None => uninhabited(world, text),
            Some(accounts) if accounts.values().any(|has_identity| *has_identity) => None,
            Some(_) => Some(Doubt {
                code: Code::NoIdentity,
                what: format!("no workload of namespace {text} is in the mesh, and plaintext has no namespace"),
                mend: None,
            }),
        },
        StringMatch::Prefix(_) | StringMatch::Suffix(_) => {
            (!world.inhabited().any(|namespace| matcher.matches(namespace))).then(|| Doubt {
                code: Code::MatchesNobody,
                what: format!("`{text}` is like no namespace that has workloads"),
                mend: None,
            })
        }
    }
}

/// A namespace without workloads.
fn uninhabited(world: &World<'_>, namespace: &str) -> Option<Doubt> {
    if world.is_declared(namespace) {
        let what = format!("namespace {namespace} has no pods");
        return Some(Doubt { code: Code::EmptyNamespace, what, mend: None });
    }
    Some(Doubt {
        code: Code::UnknownNamespace,
        what: format!("namespace {namespace} is not declared and has no pods"),
        mend: nearest(namespace, world.namespaces()).map(|near| format!("did you mean `{near}`?")),
    })
}
