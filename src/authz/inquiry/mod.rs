//! "May this one connect to that port, and why?" asked of a view of the mesh (pure), as `culvert explain` does.
//!
//! Owns: what can be asked and how it is written ([`question`]), who and what is meant by it ([`resolve`]), every
//! policy that is considered with what it says ([`report`]), and all of it together ([`answer()`]).
//! Never: a decision of its own: that is [`super::evaluate()`]'s.

mod answer;
mod question;
mod report;
mod resolve;

pub use answer::{Answer, Destination, Place, Source, answer};
pub use question::{Callee, Caller, MAX_QUERY, Question, QuestionError, account, callee, identity, pod};
pub use report::{Considered, Fact, Report, Standing, report};
pub use resolve::{Flaw, Unanswered};
