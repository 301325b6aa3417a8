//! What of a policy is told to who knows Istio's policies and nothing of ours.

use crate::model::timezone::Zone;

use super::{Action, Clause, Group, Match, Policy};

// === impl Policy ===

impl Policy {
    /// The policy without AUDIT and times, to the safe side: an ALLOW admits less, because its timed matches never
    /// fire; a DENY refuses more, because it holds at all times. Groups keep their places. `None` for AUDIT, which
    /// has nothing to say to others.
    pub fn plain(&self) -> Option<Self> {
        let group = |group: &Group| Group { rule: group.rule, clauses: self.plain_clauses(group) };
        match self.action {
            Action::Audit => None,
            Action::Allow | Action::Deny if !self.is_timed() => Some(self.clone()),
            Action::Allow | Action::Deny => {
                Some(Self { zone: Zone::utc(), groups: self.groups.iter().map(group).collect(), ..self.clone() })
            }
        }
    }

    fn plain_clauses(&self, group: &Group) -> Vec<Clause> {
        let mut clauses = Vec::with_capacity(group.clauses.len());
        for clause in &group.clauses {
            let only_timed = |m: &Match| m.is_timed() && without_times(m).is_empty();
            // An alternative that is nothing but a time would become one that never fires. It means "any" now, and a
            // clause that always holds is left out.
            if self.action == Action::Deny && clause.matches.iter().any(only_timed) {
                continue;
            }
            let plain = |m: &Match| match self.action {
                _ if !m.is_timed() => m.clone(),
                Action::Deny => without_times(m),
                // Empty, so it never fires.
                Action::Allow | Action::Audit => Match::default(),
            };
            clauses.push(Clause { matches: clause.matches.iter().map(plain).collect() });
        }
        clauses
    }
}

fn without_times(m: &Match) -> Match {
    Match { times: Vec::new(), not_times: Vec::new(), days: Vec::new(), not_days: Vec::new(), ..m.clone() }
}
