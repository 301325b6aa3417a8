//! `/logging` and `/quitquitquit`.

use http::StatusCode;

use crate::admin::pages::Order;
use crate::admin::server::{Answer, Verb};
use crate::runtime::shutdown::{Phase, Shutdown};
use crate::telemetry::log::Levels;

const HELP: &str = "usage: POST /logging, to see the levels
usage: POST /logging?level=LEVEL, with one of error, warn, info, debug, trace, off
usage: POST /logging?level=MODULE=LEVEL,LEVEL, to change some
usage: POST /logging?reset, to go back to the levels of the start; may be joined with level
";

/// Shows and changes the levels of the log. `level` is added to what holds, after a `reset` if there is one.
pub fn logging(levels: Levels) -> Order {
    Order::new("logging", "POST: the levels of the log; ?level=…, ?reset", Verb::Order, move |query| {
        let asked = Asked::parse(query);
        let changed = match &asked {
            Some(Asked { reset: false, level: None }) => Ok(()),
            Some(Asked { reset, level }) => {
                levels.change(*reset, level.as_deref()).map_err(|error| format!("{error}\n{HELP}"))
            }
            None => Err(HELP.to_owned()),
        };
        match changed {
            Ok(()) => Answer::text(StatusCode::OK, format!("current log level is {}\n", levels.current())),
            Err(text) => Answer::text(StatusCode::BAD_REQUEST, text),
        }
    })
}

/// Ends the process as SIGTERM does.
pub fn quit(shutdown: Shutdown) -> Order {
    Order::new("quitquitquit", "POST: drain and end, as SIGTERM does", Verb::Order, move |_| {
        shutdown.advance(Phase::Draining);
        Answer::text(StatusCode::OK, "shutdown now\n")
    })
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    reset: bool,
    level: Option<String>,
}

// === impl Asked ===

impl Asked {
    /// [`None`] for what is neither `level` nor `reset`.
    fn parse(query: &str) -> Option<Self> {
        let mut asked = Self::default();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match name {
                "level" => asked.level = Some(decode(value)?),
                "reset" => asked.reset = true,
                _ => return None,
            }
        }
        Some(asked)
    }
}

/// Percent-encoding (RFC 3986 section 2.1) undone; [`None`] when it is broken or no UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests;
