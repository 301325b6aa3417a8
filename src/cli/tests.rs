use std::cell::RefCell;

use clap::CommandFactory as _;

use super::*;
use crate::authz::inquiry::{Answer, Question};
use crate::config::control::ControlSettings;
use crate::config::node::NodeSettings;
use crate::config::raw::ConfigError;
use crate::config::table::{CONTROL, NODE};
use crate::role::policy::lint::{Lint, Report};

/// Roles that write down what they were asked.
#[derive(Default)]
struct Asked(RefCell<Vec<String>>);

impl Roles for Asked {
    fn cleanup(&self, args: CleanupArgs) -> anyhow::Result<ExitCode> {
        self.0.borrow_mut().push(format!("{args:?}"));
        Ok(ExitCode::SUCCESS)
    }

    fn control(&self, settings: ControlSettings) -> anyhow::Result<ExitCode> {
        self.0.borrow_mut().push(format!("{settings:?}"));
        Ok(ExitCode::SUCCESS)
    }

    fn demo_app(&self, _: DemoAppArgs) -> anyhow::Result<ExitCode> {
        Ok(ExitCode::SUCCESS)
    }

    fn demo(&self, args: DemoArgs) -> anyhow::Result<ExitCode> {
        self.0.borrow_mut().push(format!("{args:?}"));
        anyhow::bail!("a row was not as expected")
    }

    fn explain(&self, question: &Question, mesh: &explain::Mesh) -> anyhow::Result<Answer> {
        self.0.borrow_mut().push(format!("{} {mesh:?}", question.to_query()));
        anyhow::bail!("nobody answers")
    }

    fn lint(&self, lint: &Lint) -> anyhow::Result<Report> {
        self.0.borrow_mut().push(format!("{lint:?}"));
        Ok(Report { text: String::new(), code: ExitCode::SUCCESS })
    }

    fn node(&self, settings: NodeSettings) -> anyhow::Result<ExitCode> {
        self.0.borrow_mut().push(format!("{settings:?}"));
        Ok(ExitCode::SUCCESS)
    }

    fn strict_report(&self, ask: &strict_report::Ask) -> anyhow::Result<strict_report::Judged> {
        self.0.borrow_mut().push(format!("{ask:?}"));
        anyhow::bail!("nobody answers")
    }
}

/// The exit code, what the roles were asked, and what was told of errors.
fn run_with(line: &str, environment: &[(&str, &str)]) -> (String, Vec<String>, String) {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (asked, mut errors) = (Asked::default(), Vec::new());
    let code = run(line.split(' '), &environment, &asked, &mut errors);
    // An exit code has no other face than this one.
    (format!("{code:?}"), asked.0.into_inner(), String::from_utf8(errors).unwrap())
}

fn code(code: u8) -> String {
    format!("{:?}", ExitCode::from(code))
}

#[test]
fn the_arguments_are_sound() {
    Culvert::command().debug_assert();
}

#[test]
fn commands_reach_their_role() {
    let check = |line: &str, expected: u8, part: &str| {
        let (found, asked, _) = run_with(line, &[]);
        assert_eq!(found, code(expected), "{line}");
        assert!(asked.len() == 1 && asked[0].contains(part), "{line}: {asked:?}");
    };
    check("culvert cleanup --netns /run/netns/a", 0, "/run/netns/a");
    check("culvert demo --keep", 1, "keep: true");
    check("culvert strict-report --node [::1]:9 --policy p.yaml", 1, "node: [::1]:9, policy: Some(\"p.yaml\")");
    check("culvert strict-report --policy p --manifests m", 1, "manifests: Some(\"m\")");
    check("culvert node --manifests m --node a", 0, "node: \"a\"");
    check("culvert node --manifests m --node a --leaf-ttl 1h --log-access=false", 0, "log_access: false");
    check("culvert control --manifests m --tokens t --server-names a,::1", 0, "server_names: [\"a\", \"::1\"]");
    check("culvert policy lint m", 0, "directory: \"m\", output: Text, strict: false");
    check("culvert policy lint m --strict --output json", 0, "output: Json, strict: true");
    check("culvert policy lint m --trust-domain a.example", 0, "trust_domain: \"a.example\"");
    check("culvert node --reset-older-connections --manifests m --node a", 0, "reset_older_connections: true");
}

#[test]
fn questions_reach_their_role_and_no_answer_is_2() {
    let check = |line: &str, parts: &[&str]| {
        let (found, asked, errors) = run_with(line, &[]);
        assert_eq!((found, errors.as_str()), (code(2), "error: nobody answers\n"), "{line}");
        assert!(asked.len() == 1 && parts.iter().all(|part| asked[0].contains(part)), "{line}: {asked:?}");
    };
    check("culvert explain --from a/b --to c/d:80", &["from=a/b&to=c/d:80", "Node(127.0.0.1:15000)"]);
    check("culvert explain --from-sa a/b --to c/d:80 --node [::1]:9", &["sa=a/b&to=c/d:80", "[::1]:9"]);
    check("culvert explain --sa a/b --ip fd00::1 --to 10.0.0.1:80", &["sa=a/b&ip=fd00::1&to=10.0.0.1:80"]);
    check(
        "culvert explain --ip 10.0.0.1 --to c/d:80 --manifests m --trust-domain td",
        &["ip=10.0.0.1&to=c/d:80", "directory: \"m\"", "trust_domain: \"td\"", "istio-system"],
    );
}

#[test]
fn the_environment_is_heard() {
    let variables = [("CULVERT_MANIFESTS", "m"), ("CULVERT_NODE", "a"), ("CULVERT_LEAF_TTL", "90s")];
    let (found, asked, _) = run_with("culvert node", &variables);
    assert_eq!(found, code(0));
    assert!(asked[0].contains("leaf_ttl: 90s"), "{asked:?}");
    let mesh = [("CULVERT_ROOT_NAMESPACE", "mesh"), ("CULVERT_TRUST_DOMAIN", "a.example")];
    for line in ["culvert policy lint m", "culvert explain --from a/b --to c/d:80 --manifests m"] {
        let (_, asked, _) = run_with(line, &mesh);
        assert!(asked[0].contains("root_namespace: \"mesh\""), "{asked:?}");
        assert!(asked[0].contains("trust_domain: \"a.example\""), "{asked:?}");
    }
    // The node's file, or a control plane's, for whoever looks at the same manifests.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("culvert.yaml");
    for others in ["leaf-ttl: 1h", "tokens: t"] {
        std::fs::write(&path, format!("trust-domain: filed\n{others}\n")).unwrap();
        let path = path.display().to_string();
        for line in ["culvert policy lint m", "culvert explain --from a/b --to c/d:80 --manifests m"] {
            let named = [("CULVERT_CONFIG", path.as_str())];
            for (line, variables) in [(format!("{line} --config {path}"), &[][..]), (line.to_owned(), &named)] {
                let (_, asked, errors) = run_with(&line, variables);
                assert!(asked.len() == 1 && asked[0].contains("trust_domain: \"filed\""), "{asked:?} {errors}");
            }
            let (_, asked, _) = run_with(line, &[("CULVERT_CONFIG", &path), ("CULVERT_TRUST_DOMAIN", "a.example")]);
            assert!(asked[0].contains("trust_domain: \"a.example\""), "{asked:?}");
        }
    }
    // A node that is asked has its own.
    let (_, asked, _) = run_with("culvert explain --from a/b --to c/d:80", &mesh);
    assert!(asked[0].contains("Node("), "{asked:?}");
}

#[test]
fn mistakes_end_with_64_before_any_role() {
    let check = |line: &str, part: &str| {
        let (found, asked, errors) = run_with(line, &[]);
        assert_eq!((found, asked.len()), (code(64), 0), "{line}");
        assert!(errors.contains(part), "{line}: {errors}");
    };
    check("culvert", "Usage:");
    check("culvert nod", "node");
    check("culvert node --same-node-lane false --node a", "mend: write --same-node-lane=false");
    check("culvert node --log-access true", "mend: write --log-access=true");
    let (_, _, errors) = run_with("culvert node false", &[]);
    assert!(!errors.contains("mend"), "{errors}");
    check("culvert node --colour blue", "--colour");
    check("culvert node --manifests m", "error: node is not set: give --node, the variable CULVERT_NODE");
    check("culvert node --leaf-ttl 5", "error: --leaf-ttl: \"5\" is not a duration");
    check("culvert node --manifests m --node a --window-budget 1KiB", "error: --window-budget must be at");
    check(
        "culvert node --config nowhere/culvert.yaml",
        "error: --config: cannot read the settings file nowhere/culvert.yaml: No",
    );
    let named = [("CULVERT_CONFIG", "nowhere/culvert.yaml"), ("NODE_NAME", "a")];
    for line in ["culvert node", "culvert control", "culvert proxy ztunnel", "culvert policy lint m"] {
        let (found, _, errors) = run_with(line, &named);
        assert_eq!(found, code(64));
        assert!(
            errors.starts_with("error: CULVERT_CONFIG: cannot read the settings file nowhere/"),
            "{line}: {errors}"
        );
    }
    // A template's empty value.
    let empty = [("CULVERT_CONFIG", ""), ("NODE_NAME", "a"), ("XDS_ADDRESS", "cp:1")];
    for line in ["culvert node --manifests m --node a", "culvert proxy ztunnel", "culvert policy lint m"] {
        assert_eq!(run_with(line, &empty).0, code(0), "{line}");
    }
    let (_, _, errors) = run_with("culvert proxy ztunnel", &empty[..1]);
    assert!(errors.starts_with("error: NODE_NAME is not set"), "{errors}");
    check("culvert control --manifests m --tokens t", "error: server-names is not set: give --server-names");
    check("culvert control --manifests m --tokens t --server-names a:b", "DNS names and addresses");
    check("culvert proxy ztunnel", "error: NODE_NAME is not set: take it from the downward API");
    check("culvert demo extra", "extra");
    check("culvert strict-report --manifests m", "--policy");
    check("culvert strict-report --node 127.0.0.1", "--node");
    check("culvert explain --to a/b:80", "--from");
    check("culvert explain --from a/b", "--to");
    check("culvert explain --from b --to a/b:80", "\"b\" is not NAMESPACE/NAME");
    check("culvert explain --from a/b --ip ::1 --to a/b:80", "cannot be used with");
    check("culvert explain --from a/b --to a/b:0", "write NAMESPACE/POD:PORT");
    check("culvert explain --from a/b --to a/b:80 --manifests m --node 127.0.0.1:1", "cannot be used with");
    check("culvert explain --from a/b --to a/b:80 --trust-domain x", "--manifests");
    check("culvert explain --from a/b --to a/b:80 --config x", "--manifests");
    check("culvert policy lint m --config nowhere/culvert.yaml", "cannot read the settings file nowhere/culvert.yaml");
    check("culvert explain --from a/b --to a/b:80 --manifests m --trust-domain X", "error: --trust-domain: \"X\"");
    check("culvert policy", "lint");
    check("culvert policy lint", "<DIR>");
    check("culvert policy lint m --output xml", "possible values");
    check("culvert policy lint m --trust-domain A", "error: --trust-domain: \"A\" is not a name");
}

/// What is looked at late is a wrong setting all the same.
#[test]
fn a_setting_that_is_of_no_use_ends_with_64() {
    let late = || ConfigError::Unusable { name: "AUTH_TOKEN".to_owned(), source: "no token".into() };
    for error in [anyhow::Error::new(late()), anyhow::Error::new(late()).context("cannot start")] {
        let mut errors = Vec::new();
        assert_eq!(format!("{:?}", report::failure(&error, &mut errors)), code(64));
        assert!(String::from_utf8(errors).unwrap().contains("cannot use AUTH_TOKEN: no token"), "{error:#}");
    }
}

#[test]
fn failures_and_warnings_are_told() {
    let (_, _, errors) = run_with("culvert demo", &[]);
    assert_eq!(errors, "error: a row was not as expected\n");
    let (found, _, errors) = run_with("culvert node --manifests m --node a", &[("CULVERT_LEAFTTL", "1h")]);
    assert_eq!(found, code(0));
    assert!(errors.starts_with("warning: the variable CULVERT_LEAFTTL is not a setting"), "{errors}");
}

#[test]
fn the_arguments_of_istios_daemonset_start_a_node() {
    let variables =
        [("NODE_NAME", "a"), ("XDS_ADDRESS", "cp:1"), ("UNSTABLE_ENABLE_SOCKS5", "true"), ("AUTH_TOKEN", "x")];
    for line in ["culvert proxy ztunnel", "culvert proxy", "culvert proxy ztunnel --log_as_json x -y"] {
        let (found, asked, errors) = run_with(line, &variables);
        assert_eq!((found, asked.len()), (code(0), 1), "{line}: {errors}");
        assert!(
            asked[0].contains("same_node_lane: false") && asked[0].contains("redirect_backend: Agent"),
            "{asked:?}"
        );
        // One line, whatever the log's level is.
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(
            errors.starts_with("warning: set for ztunnel and not applied here: UNSTABLE_ENABLE_SOCKS5 ("),
            "{errors}"
        );
    }
    let (_, asked, _) = run_with("culvert proxy ztunnel -x", &variables);
    assert!(asked[0].contains("arguments: [\"ztunnel\", \"-x\"]"), "{asked:?}");
    let (_, asked, _) = run_with("culvert proxy ztunnel", &[variables[0], ("CULVERT_SAME_NODE_LANE", "true")]);
    assert!(asked[0].contains("same_node_lane: true"), "{asked:?}");
    let (found, _, errors) = run_with("culvert proxy ztunnel", &[variables[0], ("SECRET_TTL", "long")]);
    assert_eq!(found, code(64));
    assert!(errors.starts_with("error: SECRET_TTL: \"long\" is not a duration"), "{errors}");
}

/// What is shown is what the daemon would take.
#[test]
fn settings_that_the_daemon_refuses_are_not_shown_as_good() {
    let check = |line: &str, expected: u8, part: &str| {
        let (found, asked, errors) = run_with(&format!("culvert {line} --show-config"), &[]);
        assert_eq!((found, asked.len()), (code(expected), 0), "{line}");
        assert!(errors.contains(part), "{line}: {errors}");
    };
    check("node --manifests m --node a", 0, "");
    check("node", 0, "");
    check("node --manifests m --node a --window-budget 1", 64, "--window-budget must be at least 256KiB");
    check("node --manifests m --node a --trust-bundles foo", 64, "--trust-bundles: \"foo\" is not a list");
    check("control --manifests m --tokens t --server-names a --leaf-ttl 9999h", 64, "at most 90 days");
    check("node --manifests m --node a --crl-file  --trust-domain-aliases ", 0, "");
    // One that another outweighs, as of every kind.
    let (found, _, errors) = run_with(
        "culvert node --manifests m --node a --trust-domain-aliases b",
        &[("CULVERT_TRUST_DOMAIN_ALIASES", "BAD,X")],
    );
    assert_eq!(found, code(64));
    assert!(errors.contains("CULVERT_TRUST_DOMAIN_ALIASES: \"BAD\" is not a name"), "{errors}");
}

/// Wherever the word stands, nothing starts.
#[test]
fn a_drop_in_can_be_looked_at() {
    let variables = [("NODE_NAME", "a"), ("XDS_ADDRESS", "cp:1"), ("UNSTABLE_ENABLE_SOCKS5", "true")];
    for place in ["", "ztunnel ", "ztunnel x "] {
        for word in ["--help", "-h", "--show-config"] {
            let line = format!("culvert proxy {place}{word}");
            let (found, asked, errors) = run_with(&line, &variables);
            assert_eq!((found, asked.len()), (code(0), 0), "{line}: {errors}");
            assert_eq!(errors.contains("UNSTABLE_ENABLE_SOCKS5"), word == "--show-config", "{line}: {errors}");
        }
    }
    // What the daemon would refuse is told.
    let (found, _, errors) =
        run_with("culvert proxy ztunnel --show-config", &[variables[0], ("CULVERT_WINDOW_BUDGET", "1KiB")]);
    assert_eq!(found, code(64));
    assert!(errors.contains("at least 256KiB"), "{errors}");
    let (found, _, errors) = run_with("culvert proxy ztunnel --help", &[]);
    assert_eq!((found, errors.as_str()), (code(0), ""), "help needs no environment");
}

#[test]
fn help_tells_every_setting_and_the_exit_codes() {
    let mut command = Culvert::command();
    command.build();
    assert!(command.render_help().to_string().contains("64  the arguments or settings are wrong"));
    for (name, table) in [("node", NODE), ("control", CONTROL)] {
        let help = command.find_subcommand_mut(name).unwrap().render_long_help().to_string();
        for setting in table {
            assert!(help.contains(&format!("--{}", setting.key)), "{name}: {}", setting.key);
            assert!(help.contains(&crate::config::env::variable(setting.key)), "{name}: {}", setting.key);
        }
    }
    for name in ["node", "control", "proxy"] {
        let help = command.find_subcommand_mut(name).unwrap().render_help().to_string();
        assert!(
            help.contains("Examples:") && help.contains("64  the arguments or settings are wrong"),
            "{name}: {help}"
        );
    }
    let help = command.find_subcommand_mut("node").unwrap().render_help().to_string();
    // The flags of the command itself, and five parts.
    assert_eq!(help.lines().filter(|line| !line.starts_with(' ') && line.ends_with(':')).count(), 6 + 2, "{help}");
    assert!(NODE.iter().all(|setting| crate::config::table::heading(setting.key).is_some()));
    let help = command.find_subcommand_mut("proxy").unwrap().render_long_help().to_string();
    assert!(help.contains("NODE_NAME") && help.contains("docs/reference/ztunnel.md"), "{help}");
}
