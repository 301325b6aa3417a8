//! `culvert version`.

use std::process::ExitCode;

use super::report;
use crate::telemetry::build_info;

pub(super) fn run() -> anyhow::Result<ExitCode> {
    report::print(&(build_info::line() + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
