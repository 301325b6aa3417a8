//! The reference page of ztunnel's variables.

use std::fmt::Write as _;

use super::variables::{ALL, Fate, Variable};
use super::{Host, read, resolve};
use crate::config::env::Environment;
use crate::config::raw::Origin;
use crate::config::table::{Default, NODE};

/// The text of docs/reference/ztunnel.md.
pub fn reference() -> String {
    let mut page = String::from(
        "# ztunnel's variables\n\nWritten from `src/config/ztunnel/variables.rs`; `make docs` writes it again.\n\n\
         `culvert proxy ztunnel` reads these, and every `CULVERT_…` variable and the file named by `CULVERT_CONFIG` as \
         `culvert node` does; those win. A value that cannot be read ends the start with the variable's name. What is set \
         and does not apply is named in one line at the start, with the reason. \
         `culvert proxy ztunnel --show-config` prints what holds.\n\n\
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
    page.push_str(
        "\n## Defaults\n\nWhat holds in Kubernetes when nothing is said, where it is not what `culvert node` has. All \
         other settings have the defaults of [the reference](settings.md).\n\n\
         | setting | here | `culvert node` |\n| --- | --- | --- |\n",
    );
    for (key, here, usual) in defaults() {
        let shown = |text: &str| if text.is_empty() { "empty".to_owned() } else { format!("`{text}`") };
        writeln!(page, "| `{key}` | {} | {} |", shown(&here), shown(usual)).ok();
    }
    page
}

/// Each setting of which this mode has another default: key, ours, the table's.
fn defaults() -> Vec<(&'static str, String, &'static str)> {
    let nothing = [("NODE_NAME", "node"), ("KUBERNETES_SERVICE_HOST", "")];
    let nothing: Environment = nothing.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let host = Host { processors: 1, mesh_config: None, exists: &|_| true };
    let Ok((all, _)) =
        read(&nothing, host, Vec::new()).map_err(Into::into).and_then(|found| resolve(&nothing, None, found))
    else {
        return Vec::new();
    };
    let ours = NODE.iter().filter_map(|setting| match (all.value(setting.key)?, setting.default) {
        ((text, Origin::Mode(_)), Default::Value(usual)) if text != usual => {
            Some((setting.key, text.to_owned(), usual))
        }
        _ => None,
    });
    ours.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_of_this_mode_are_told() {
        let keys: Vec<_> = defaults().into_iter().map(|(key, ..)| key).collect();
        for key in ["same-node-lane", "redirect-backend", "zds-socket", "takeover-socket", "xds-address", "ca-address"]
        {
            assert!(keys.contains(&key), "{keys:?}");
        }
        assert!(!keys.contains(&"node") && !keys.contains(&"ipv6"), "{keys:?}");
    }
}
