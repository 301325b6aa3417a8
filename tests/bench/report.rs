//! What a run prints around its table.

use std::time::Duration;

use crate::Args;
use crate::figures::{Table, median};

/// Printed first: what the figures mean.
pub(crate) fn head(args: &Args, machine: &str) -> String {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    format!(
        "machine: {machine}\n\
         command: make bench{}{}\n\
         Each figure is the median of {} rounds of {} s, ± half of its range; the columns take turns within a round.\n",
        if words.is_empty() { "" } else { " ARGS=" },
        if words.is_empty() { String::new() } else { format!("'{}'", words.join(" ")) },
        args.rounds(),
        args.seconds,
    )
}

/// Printed last. `elsewhere` has what the rest of the machine took during each measurement, as shares of all
/// processors.
pub(crate) fn tail(table: &Table, elsewhere: &[f64], took: Duration) -> String {
    let most = elsewhere.iter().copied().fold(0.0, f64::max) * 100.0;
    let middle = median(elsewhere).unwrap_or_default() * 100.0;
    let noise = if elsewhere.is_empty() {
        String::new()
    } else {
        format!(
            "processor time that went elsewhere: {middle:.0} % in the median measurement, {most:.0} % in the worst\n"
        )
    };
    format!("{}{noise}took {} s", table.render(), took.as_secs())
}
