//! `culvert version`.

use std::process::ExitCode;

use super::report;

pub(super) fn run() -> anyhow::Result<ExitCode> {
    report::print(concat!("culvert ", env!("CARGO_PKG_VERSION"), "\n"))?;
    Ok(ExitCode::SUCCESS)
}
