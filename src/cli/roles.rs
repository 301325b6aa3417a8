//! What the commands need of the assembly.

use std::process::ExitCode;

use super::explain::Mesh;
use super::strict_report::{Ask, Judged};
use super::{CleanupArgs, DemoAppArgs, DemoArgs};
use crate::authz::inquiry::{Answer, Question};
use crate::config::control::ControlSettings;
use crate::config::node::NodeSettings;
use crate::role::policy::lint::{Lint, Report};

/// What the commands do. The assembly implements it; a test can too.
pub trait Roles {
    fn cleanup(&self, args: CleanupArgs) -> anyhow::Result<ExitCode>;
    fn control(&self, settings: ControlSettings) -> anyhow::Result<ExitCode>;
    fn demo(&self, args: DemoArgs) -> anyhow::Result<ExitCode>;
    fn demo_app(&self, args: DemoAppArgs) -> anyhow::Result<ExitCode>;
    fn explain(&self, question: &Question, mesh: &Mesh) -> anyhow::Result<Answer>;
    fn lint(&self, lint: &Lint) -> anyhow::Result<Report>;
    fn node(&self, settings: NodeSettings) -> anyhow::Result<ExitCode>;
    fn strict_report(&self, ask: &Ask) -> anyhow::Result<Judged>;
}
