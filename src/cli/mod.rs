//! The commands that a person types.
//!
//! Owns: arguments and help, one file a command; how errors and tables are printed; exit codes.
//! Never: the work itself: a command turns its arguments into plain values and hands them to a role ([`Roles`]).

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod cleanup;
mod control;
mod daemon;
mod demo;
mod explain;
mod node;
mod policy;
mod proxy;
mod report;
mod roles;
mod strict_report;
pub mod table;
mod version;

pub use self::{
    cleanup::CleanupArgs, control::ControlArgs, demo::DemoAppArgs, demo::DemoArgs, explain::ExplainArgs,
    node::NodeArgs, proxy::ProxyArgs, report::Mend, report::shows_colour, roles::Roles,
    strict_report::StrictReportArgs,
};

use crate::config::env::Environment;

/// A node-level zero-trust daemon for Kubernetes: mutual TLS, identity and L4 policy for pods, without sidecars.
#[derive(Debug, Parser)]
#[command(name = "culvert", version, max_term_width = 110, after_help = report::EXIT_CODES, subcommand_required = true)]
struct Culvert {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Cleanup(CleanupArgs),
    Control(ControlArgs),
    Demo(DemoArgs),
    #[command(hide = true)]
    DemoApp(DemoAppArgs),
    Explain(Box<ExplainArgs>),
    Node(NodeArgs),
    Policy(policy::PolicyArgs),
    Proxy(ProxyArgs),
    StrictReport(StrictReportArgs),
    /// Print the version
    Version,
}

/// Runs the command that `arguments` (the program's name first) ask for, and tells `errors` what went wrong.
pub fn run<I>(arguments: I, environment: &Environment, roles: &impl Roles, errors: &mut dyn Write) -> ExitCode
where
    I: IntoIterator<Item: Into<std::ffi::OsString>>,
{
    let given: Vec<std::ffi::OsString> = arguments.into_iter().map(Into::into).collect();
    let result = match Culvert::try_parse_from(&given).map(|culvert| culvert.command) {
        Ok(Command::Cleanup(args)) => roles.cleanup(args),
        Ok(Command::Control(args)) => args.run(environment, roles, errors),
        Ok(Command::Demo(args)) => roles.demo(args),
        Ok(Command::DemoApp(args)) => roles.demo_app(args),
        Ok(Command::Explain(args)) => args.run(environment, roles, errors),
        Ok(Command::Node(args)) => args.run(environment, roles, errors),
        Ok(Command::Policy(args)) => args.run(environment, roles),
        Ok(Command::Proxy(args)) => args.run(environment, roles, errors),
        Ok(Command::StrictReport(args)) => args.run(roles),
        Ok(Command::Version) => version::run(),
        Err(help) => return report::arguments(&help, &given, errors),
    };
    result.unwrap_or_else(|error| report::failure(&error, errors))
}

#[cfg(test)]
mod tests;
