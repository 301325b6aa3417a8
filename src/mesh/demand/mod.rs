//! A mesh that holds only what was asked for: asking, waiting, and what was answered of late.
//!
//! A control plane may be asked for addresses one by one. Then what a [`View`](super::View) lacks is unknown, not absent,
//! and a connection to it must not leave as plain text before the control plane has said that there is nothing.
//!
//! | page | what |
//! | --- | --- |
//! | `sought` | what is asked for, who is asked, why there may be no answer |
//! | `on_demand` | [`OnDemand`]: asks, waits with a deadline, remembers answers |
//! | `recent` | a bounded memory of when something was. Pure |
//! | `share` | how much one pod may ask for at a time |

mod on_demand;
mod recent;
mod share;
mod sought;

pub use on_demand::OnDemand;
pub use share::Share;
pub use sought::{Asking, Demand, Silence, Sought, Unanswered};

#[cfg(test)]
pub(crate) mod simulated;
