//! `culvert policy lint`.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::mesh::MeshSettings;
use crate::control::lint::{Level, lint};
use crate::control::manifests::survey;
use crate::control::project::Settings;

use super::render;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Lint {
    pub directory: PathBuf,
    pub output: Output,
    /// Warnings fail too.
    pub strict: bool,
    pub mesh: MeshSettings,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    Text,
    Json,
}

/// What was found out, for standard output, and how the command ends. Colours are written as terminal sequences; who
/// prints takes them out where the output is not a terminal or `NO_COLOR` is set.
#[derive(Clone, Debug)]
pub struct Report {
    pub text: String,
    pub code: ExitCode,
}

/// Looks through the directory and says what it found.
///
/// # Errors
/// The directory cannot be read, or there is nothing in it.
pub fn run(asked: &Lint) -> anyhow::Result<Report> {
    let survey = survey(&asked.directory)?;
    let documents = survey.documents;
    if documents == 0 && survey.errors.is_empty() {
        anyhow::bail!(
            "there is no manifest in {}; name the directory itself: its *.yaml, *.yml and *.json are read, \
             subdirectories and hidden files are not",
            asked.directory.display()
        );
    }
    let settings = Settings {
        trust_domain: asked.mesh.trust_domain.as_str().into(),
        trust_domain_aliases: asked.mesh.trust_domain_aliases.iter().map(|alias| alias.as_str().into()).collect(),
        federated: asked.mesh.trust_bundles.iter().map(|(domain, _)| domain.as_str().into()).collect(),
        cluster_domain: asked.mesh.cluster_domain.as_str().into(),
        root_namespace: asked.mesh.root_namespace.as_str().into(),
        ..Settings::default()
    };
    let findings = lint(survey, &settings);
    let fails = |level| level == Level::Error || asked.strict && level == Level::Warning;
    let code = if findings.iter().any(|finding| fails(finding.level)) { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    let text = match asked.output {
        Output::Json => render::json(&findings, documents)?,
        Output::Text => render::text(&findings, documents),
    };
    Ok(Report { text, code })
}

#[cfg(test)]
mod tests;
