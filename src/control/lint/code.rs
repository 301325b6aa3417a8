//! The codes of findings: stable words, what each means, and what mends it.

use std::fmt::Write as _;

use serde::{Serialize, Serializer};

use super::Level;

macro_rules! codes {
    ($($name:ident $word:literal $level:ident $meaning:literal $mend:literal;)*) => {
        /// What kind of finding it is. The word is stable: scripts may compare it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $meaning] $name,)*
        }

        impl Code {
            /// All codes, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The level that a finding of this code usually has.
            pub const fn level(self) -> Level {
                match self { $(Self::$name => Level::$level,)* }
            }

            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            pub const fn mend(self) -> &'static str {
                match self { $(Self::$name => $mend,)* }
            }
        }
    };
}

codes! {
    // What is refused: nothing of the whole directory is taken over.
    DuplicateObject "duplicate-object" Error
        "Two objects have one kind, namespace and name"
        "remove one of the two";
    InvalidValue "invalid-value" Error
        "A value makes no sense where it stands, or can never match as it is written"
        "write the value as the finding says";
    NotYaml "not-yaml" Error
        "The document is neither YAML nor JSON, or a key stands twice"
        "mend the syntax at the line that is named";
    TooLarge "too-large" Error
        "A file or the directory is over a bound that keeps the daemon's memory"
        "split it, or remove what is not needed";
    UnknownCondition "unknown-condition" Error
        "A `when` key is not an attribute that anybody judges"
        "use an attribute of Istio's list";
    UnknownField "unknown-field" Error
        "A field that nobody knows, often one at the wrong depth"
        "check its spelling and its indentation";
    Unreadable "unreadable" Error
        "A file cannot be read"
        "check the path and its permissions";
    UnreadKind "unread-kind" Error
        "An object of Istio's security group whose version or kind nothing here reads, so nobody enforces it; a note for kinds of other groups"
        "write apiVersion security.istio.io/v1 and the kind as Istio spells it";
    WrongShape "wrong-shape" Error
        "A field is missing or of another type"
        "write the field as Kubernetes documents it";
    // What is read and not enforced.
    ActionNotEnforced "action-not-enforced" Error
        "Nobody here performs this action"
        "use ALLOW or DENY";
    AllowsNobody "allows-nobody" Error
        "An ALLOW policy has rules and none of them can match: it refuses everybody that it covers"
        "use L4 fields, or a waypoint for the rest";
    DryRun "dry-run" Note
        "The policy is tried out and not enforced, as its annotation asks"
        "remove the annotation istio.io/dry-run to enforce it";
    Layer7NotEnforced "layer7-not-enforced" Error
        "A DENY rule, or a part of it, is nothing but L7, and nobody here judges that"
        "use a waypoint for it, or L4 fields";
    NobodyEnforces "nobody-enforces" Error
        "The policy has targetRefs, and there is no waypoint that judges it, or none at some of them"
        "give its target a waypoint, or use a selector to have it judged at L4";
    NotInMesh "not-in-mesh" Error
        "No pod that the policy covers is in the mesh: nobody enforces it"
        "label the namespace istio.io/dataplane-mode=ambient";
    PartlyInMesh "partly-in-mesh" Warning
        "Some pods that the policy covers are not in the mesh: nobody enforces it for them"
        "label the namespace or those pods istio.io/dataplane-mode=ambient, or leave them out of the selector";
    RootSelector "root-selector" Error
        "A PeerAuthentication with a selector has no meaning in the root namespace"
        "move it to the pods' own namespace";
    Shadowed "shadowed" Warning
        "An older object of the same level wins"
        "keep one of the two";
    // What is enforced in another way than it reads.
    DeniedAnyway "denied-anyway" Warning
        "A DENY policy refuses all that an ALLOW rule lets in"
        "remove the ALLOW rule, or make the DENY narrower";
    DeniesEverybody "denies-everybody" Note
        "An ALLOW policy without rules refuses every connection to what it covers"
        "add a rule if that is not meant";
    DeniesNobody "denies-nobody" Warning
        "A DENY policy without rules does nothing"
        "add a rule, or remove it";
    DenyWidened "deny-widened" Warning
        "A DENY rule lost its L7 parts, and denies more than it reads"
        "use a waypoint for L7, or L4 fields only";
    DisableIsPermissive "disable-is-permissive" Note
        "Mode DISABLE takes plaintext and goes on taking mTLS: HBONE is always accepted"
        "write PERMISSIVE, which says what happens";
    EmptySelector "empty-selector" Warning
        "A selector without labels counts as none: the policy covers everything in its scope"
        "remove the selector, or add labels";
    Layer7NeverMatches "layer7-never-matches" Warning
        "An ALLOW or AUDIT rule with L7 parts never matches at L4"
        "use a waypoint for L7, or L4 fields only";
    PlaintextPort "plaintext-port" Note
        "A port takes plaintext although everything around it is STRICT"
        "remove it from portLevelMtls when its clients are in the mesh";
    RulesAreAlternatives "rules-are-alternatives" Warning
        "Rules of a policy are alternatives, and one of them says nothing about who calls while another does"
        "put what must hold together into one rule: from, to and when of one item of `rules`";
    UnreachableRule "unreachable-rule" Warning
        "Another rule of the same policy already covers all that the rule does"
        "remove the rule, or make the other narrower";
    WholeMesh "whole-mesh" Note
        "A policy without a selector in the root namespace is for every workload of the mesh"
        "move it to a namespace, or give it a selector, if that is not meant";
    // Waypoints.
    WaypointBypassed "waypoint-bypassed" Warning
        "Workloads behind a waypoint can be reached without it, so that what it judges is not judged"
        "label them or their namespace culvert.dev/enforce-waypoint=true, or allow nobody but the waypoint's principal";
    WaypointIgnored "waypoint-ignored" Warning
        "A label about waypoints where it has no meaning, or a canary that does not count"
        "remove it, or write it as the finding says";
    WaypointNotReady "waypoint-not-ready" Warning
        "A waypoint is named and cannot be used: calls through it are refused"
        "declare the Gateway, or name another";
    // What speaks of something that is not there.
    EmptyNamespace "empty-namespace" Note
        "A namespace that is declared and has no pods"
        "check its name";
    HostBits "host-bits" Warning
        "A CIDR with bits behind its prefix: it is the whole network, and not the address before the slash"
        "write the network's own address, or /32 (/128) for one address";
    MatchesNobody "matches-nobody" Warning
        "A pattern, or a list of destinations, that no workload matches"
        "check it against the names there are";
    NoIdentity "no-identity" Warning
        "A workload that exists and is not in the mesh: it has no identity, and its connections are plaintext"
        "take it into the mesh, or allow it by its address";
    NothingToCompare "nothing-to-compare" Note
        "Nothing was compared with workloads: there are no pods in the directory, or a document was refused"
        "check the directory that culvert reads, pods and namespaces with it";
    NotAPrincipal "not-a-principal" Warning
        "A principal that no workload can have, whatever its name"
        "write <trust domain>/ns/<namespace>/sa/<service account>";
    OtherTrustDomain "other-trust-domain" Warning
        "A principal of another trust domain than this mesh's"
        "write this mesh's trust domain, or remove the entry";
    SelectsNothing "selects-nothing" Warning
        "The policy covers no pod"
        "write labels that the pods have, in the policy's own namespace";
    ServiceAddress "service-address" Warning
        "A Service's address: connections come from pods and arrive at pods, so it never matches"
        "write the pods' addresses, or better their principals";
    ServicePort "service-port" Warning
        "A Service's port: policy is judged at the pod, where the connection arrives at another port"
        "write the port that the pod listens on";
    UnknownAccount "unknown-account" Warning
        "No workload has this service account"
        "check it against the service accounts of the pods";
    UnknownAddress "unknown-address" Note
        "One single address that no workload has"
        "check it; addresses of pods change with every restart";
    UnknownNamespace "unknown-namespace" Warning
        "A namespace that is not declared and has no pods"
        "check its spelling";
    UnknownPort "unknown-port" Note
        "A port that no pod which the policy covers declares"
        "check it against the ports of the containers";
    // What only looks as if it did something.
    DoesNothing "does-nothing" Warning
        "A label or annotation that nobody reads, or reads in another place; a note when it only informs people"
        "write the label that does it";
    Conflict "conflict" Warning
        "Two objects claim one address, host, network namespace or UID; the second does not count"
        "give each its own";
    SidecarInjection "sidecar-injection" Warning
        "Injection of sidecars is asked for where pods are to be ambient: a pod with a sidecar stays out"
        "remove the label istio-injection, or the label istio.io/dataplane-mode";
    UnknownMode "unknown-mode" Warning
        "istio.io/dataplane-mode has a value that means nothing"
        "write ambient, or none on a pod that is to stay out";
}

// === impl Code ===

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The table of all codes, for the page about lint.
pub fn reference() -> String {
    let mut out = "| code | level | what it means | what mends it |\n| --- | --- | --- | --- |\n".to_owned();
    for code in Code::ALL {
        // Writing to a String does not fail.
        writeln!(out, "| `{}` | {} | {} | {} |", code.as_str(), code.level(), code.meaning(), code.mend()).ok();
    }
    out
}
