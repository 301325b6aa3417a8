//! What a command prints: results on standard output, errors in one line on standard error.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};

use crate::config::raw::ConfigError;

/// `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;

/// What the end of every help says.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   failed; the reason is on standard error
  64  the arguments or settings are wrong";

/// What a person can do about an error. Attach it as context: it is printed on a line of its own.
#[derive(Clone, Debug)]
pub struct Mend(pub String);

impl fmt::Display for Mend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MEND}{}", self.0)
    }
}

/// What tells a mend from the errors around it: a context of `anyhow` is only seen as its text.
const MEND: &str = "mend: ";

/// Whether standard output shows colours: a terminal, unless `NO_COLOR` or `TERM=dumb` says otherwise.
pub fn shows_colour() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}

/// Writes a result. A reader that has gone (`culvert … | head`) is no failure.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn warning(text: &str, errors: &mut dyn Write) {
    // With standard error closed there is nobody to tell.
    writeln!(errors, "warning: {}", one_line(text)).ok();
}

/// Help and version go out as asked for; anything else is a mistake in the arguments.
pub(super) fn arguments(error: &clap::Error, given: &[OsString], errors: &mut dyn Write) -> ExitCode {
    if error.use_stderr() {
        write!(errors, "{}", error.render().ansi()).ok();
        if let Some(mend) = joined(error, given) {
            writeln!(errors, "\n  {mend}").ok();
        }
        return ExitCode::from(USAGE);
    }
    match print(&error.render().ansi().to_string()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure(&error.into(), errors),
    }
}

/// `--switch false` is two words, of which the second has no meaning.
fn joined(error: &clap::Error, given: &[OsString]) -> Option<Mend> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else { return None };
    let word = word.as_str();
    let pair = given.windows(2).find(|pair| pair[1] == word && matches!(word, "true" | "false"))?;
    let switch = pair[0].to_str().filter(|switch| switch.starts_with("--") && !switch.contains('='))?;
    Some(Mend(format!("write {switch}={word}")))
}

pub(super) fn failure(error: &anyhow::Error, errors: &mut dyn Write) -> ExitCode {
    write!(errors, "{}", lines(error)).ok();
    if error.downcast_ref::<ConfigError>().is_some() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
}

/// `error: thing: cause: cause`, and a line for each mend.
fn lines(error: &anyhow::Error) -> String {
    let (mends, causes): (Vec<_>, Vec<_>) =
        error.chain().map(ToString::to_string).partition(|text| text.starts_with(MEND));
    let mut out = format!("error: {}\n", one_line(&causes.join(": ")));
    for mend in mends {
        out.push_str(&format!("  {}\n", one_line(&mend)));
    }
    out
}

/// Messages of others may hold line ends and terminal sequences.
fn one_line(text: &str) -> String {
    let words = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    words.replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_and_its_mend_another() {
        let cause = io::Error::from_raw_os_error(13);
        let error = anyhow::Error::new(cause).context("cannot open ca/ca-key.pem").context(Mend("run as root".into()));
        assert_eq!(
            lines(&error),
            "error: cannot open ca/ca-key.pem: Permission denied (os error 13)\n  mend: run as root\n"
        );
    }

    #[test]
    fn messages_of_others_stay_in_the_line() {
        let error = anyhow::anyhow!("line 3\n  |\n3 | \u{1b}[31mx\n").context("cannot read a.yaml");
        assert_eq!(lines(&error), "error: cannot read a.yaml: line 3 | 3 | ?[31mx\n");
    }
}
