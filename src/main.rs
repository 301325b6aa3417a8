//! The program: its arguments, its environment, its exit code.

use std::process::ExitCode;

use culvert::authz::inquiry::{Answer, Question};
use culvert::cli::{self, CleanupArgs, DemoAppArgs, DemoArgs, Roles};
use culvert::config::control::ControlSettings;
use culvert::config::env::Environment;
use culvert::config::node::NodeSettings;
use culvert::role;
use culvert::role::policy::lint::{Lint, Report};

/// The roles of this build.
struct Culvert;

// === impl Culvert ===

impl Roles for Culvert {
    fn cleanup(&self, args: CleanupArgs) -> anyhow::Result<ExitCode> {
        role::cleanup::run(&args.netns)
    }

    fn control(&self, settings: ControlSettings) -> anyhow::Result<ExitCode> {
        role::control::run(&settings, cli::shows_colour())
    }

    fn demo(&self, args: DemoArgs) -> anyhow::Result<ExitCode> {
        role::demo::run(args.keep, args.envoy)
    }

    fn demo_app(&self, args: DemoAppArgs) -> anyhow::Result<ExitCode> {
        role::demo::app::run(args).map(|()| ExitCode::SUCCESS)
    }

    fn explain(&self, question: &Question, mesh: &role::explain::Mesh) -> anyhow::Result<Answer> {
        role::explain::run(question, mesh)
    }

    fn lint(&self, lint: &Lint) -> anyhow::Result<Report> {
        role::policy::lint::run(lint)
    }

    fn node(&self, settings: NodeSettings) -> anyhow::Result<ExitCode> {
        role::node::run(&settings, cli::shows_colour())
    }

    fn strict_report(&self, ask: &role::strict_report::Ask) -> anyhow::Result<role::strict_report::Judged> {
        role::strict_report::run(ask)
    }
}

fn main() -> ExitCode {
    cli::run(std::env::args_os(), &Environment::process(), &Culvert, &mut anstream::stderr())
}
