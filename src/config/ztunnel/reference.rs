//! The reference page of ztunnel's variables.

use std::fmt::Write as _;

use super::variables::{ALL, Fate, Variable};

/// The text of docs/reference/ztunnel.md.
pub fn reference() -> String {
    let mut page = String::from(
        "# ztunnel's variables\n\nWritten from `src/config/ztunnel/variables.rs`; `make docs` writes it again.\n\n\
         `culvert proxy ztunnel` reads these, and every `CULVERT_…` variable and the file named by `CULVERT_CONFIG` as \
         `culvert node` does; those win. A value that cannot be read ends the start with the variable's name. What is set \
         and does not apply is named in one line at the start, with the reason. In this mode `same-node-lane` is `false` \
         and `redirect-backend` is `agent` unless a `CULVERT_…` variable says otherwise.\n\n\
         | variable | ztunnel's default | here |\n| --- | --- | --- |\n",
    );
    for Variable { name, default, fate } in ALL {
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let here = match fate {
            Fate::Setting(key) => format!("the setting `{key}`"),
            Fate::Heard(what) => (*what).to_owned(),
            Fate::Always { value: "", why } => format!("does not apply: {why}"),
            Fate::Always { value, why } => format!("always `{value}`: {why}"),
            Fate::Unused(why) => format!("does not apply: {why}"),
        };
        // Writing to a String does not fail.
        writeln!(page, "| `{name}` | {default} | {here} |").ok();
    }
    page
}
