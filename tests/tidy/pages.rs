//! Pages that are written from code, and the page of dependencies.

use std::collections::BTreeSet;

use culvert::config::{show, table, ztunnel};
use culvert::control::lint;
use culvert::telemetry::metrics;

use crate::root;

/// Compares each written page with what the code says; with `UPDATE_GOLDEN=1` writes it instead.
pub(crate) fn written() -> Vec<String> {
    let pages = [
        ("docs/reference/metrics.md", metrics::reference()),
        ("docs/reference/settings.md", show::reference("node", table::NODE)),
        ("docs/reference/control.md", show::reference("control", table::CONTROL)),
        ("docs/reference/ztunnel.md", ztunnel::reference()),
    ];
    let check = |(path, text): &(&str, String)| {
        let place = root().join(path);
        if update() {
            std::fs::write(&place, text).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        let found = std::fs::read_to_string(&place).unwrap_or_default();
        (found != *text)
            .then(|| format!("{path} is not what the code says: run `make docs` and look at the difference"))
    };
    pages.iter().filter_map(check).chain(tables()).collect()
}

/// Tables inside of pages that people write: what the page has from the table's head to the next empty line.
fn tables() -> Vec<String> {
    let tables = [("docs/features/lint.md", lint::reference())];
    let check = |(path, table): &(&str, String)| {
        let place = root().join(path);
        let page = std::fs::read_to_string(&place).unwrap_or_default();
        let wanted = with_table(&page, table);
        if update()
            && let Some(wanted) = &wanted
        {
            std::fs::write(&place, wanted).unwrap_or_else(|error| panic!("{path}: {error}"));
            return None;
        }
        (wanted.as_ref() != Some(&page))
            .then(|| format!("a table of {path} is not what the code says: run `make docs` and look at the difference"))
    };
    tables.iter().filter_map(check).collect()
}

/// The page with this table in place of the one with the same head; nothing when there is none.
fn with_table(page: &str, table: &str) -> Option<String> {
    let head = table.lines().next()?;
    let start = page.find(&format!("{head}\n"))?;
    let end = page[start..].find("\n\n").map_or(page.len(), |length| start + length + 1);
    Some(format!("{}{table}{}", &page[..start], &page[end..]))
}

#[test]
fn a_table_is_replaced_where_it_stands() {
    let table = "| a | b |\n| --- | --- |\n| 1 | 2 |\n";
    let check = |page: &str, expected: Option<&str>| assert_eq!(with_table(page, table).as_deref(), expected, "{page}");
    check("# x\n\n| a | b |\n| old |\n\ny\n", Some("# x\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\ny\n"));
    check("| a | b |\n| old |\n", Some(table));
    check("# x\n\n| c |\n", None);
}

/// Every word that `Failure::reason` answers stands in the first column of the page's table of reasons, and no other.
pub(crate) fn reasons(code: &str, page: &str) -> Vec<String> {
    let body = code.split_once("fn reason(").and_then(|(_, rest)| rest.split_once("\n    }\n"));
    let words = body.map_or("", |(body, _)| body).split('"').skip(1).step_by(2);
    let wanted: BTreeSet<&str> = words.collect();
    let table = page.split_once("| reason | what | whose |\n").map_or("", |(_, rest)| rest);
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let told = rows.filter_map(|row| row.split('|').nth(1)).flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let found: BTreeSet<&str> = told.collect();
    if wanted.is_empty() {
        return vec!["the words of Failure::reason were not found".to_owned()];
    }
    let missing = wanted.difference(&found).map(|word| format!("the table of reasons has no row for {word}"));
    let dead = found.difference(&wanted).map(|word| format!("the table of reasons has {word}, which nothing says"));
    missing.chain(dead).collect()
}

#[test]
fn reasons_without_a_row_are_found() {
    let code = "fn reason(&self) {\n  A => \"a\",\n  B => match b { C => \"c\" },\n    }\nfn flags() { \"d\" }\n";
    let page = |rows: &str| format!("text `z`\n\n| reason | what | whose |\n| --- | --- | --- |\n{rows}\n`y`\n");
    let check = |rows: &str, expected: &[&str]| assert_eq!(reasons(code, &page(rows)), expected, "{rows}");
    check("| `a`, `c` | see `x` | us |\n", &[]);
    check("| `a` | `c` | us |\n", &["the table of reasons has no row for c"]);
    check("| `a`, `c` | x | us |\n| `d` | x | us |\n", &["the table of reasons has d, which nothing says"]);
    assert_eq!(reasons("", &page("")), ["the words of Failure::reason were not found"]);
}

#[expect(clippy::disallowed_methods, reason = "a switch of the test, not a setting of the program")]
fn update() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1")
}

/// Each page below docs has one row of docs/README.md, and each row's page is there.
pub(crate) fn listed(pages: &[String], readme: &str) -> Vec<String> {
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| [")).collect();
    let target =
        |row: &str| row.split_once("](").and_then(|(_, rest)| rest.split_once(')')).map(|(to, _)| to.to_owned());
    let targets: Vec<String> = rows.iter().filter_map(|row| target(row)).collect();
    let times = |page: &String| targets.iter().filter(|target| *target == page).count();
    let wanted =
        pages.iter().map(|page| page.trim_start_matches("docs/").to_owned()).filter(|page| page != "README.md");
    let wrong = wanted.filter(|page| times(page) != 1);
    let mut out: Vec<_> =
        wrong.map(|page| format!("docs/README.md has {} rows for {page}, not one", times(&page))).collect();
    let gone = targets.iter().filter(|target| !target.starts_with("..") && !pages.contains(&format!("docs/{target}")));
    out.extend(gone.map(|target| format!("docs/README.md has a row for {target}, which is not there")));
    out
}

#[test]
fn pages_without_one_row_are_found() {
    let pages = ["docs/README.md", "docs/a.md", "docs/features/b.md"].map(str::to_owned);
    let check = |readme: &str, expected: &[&str]| assert_eq!(listed(&pages, readme), expected, "{readme}");
    let (a, b) = ("| [a](a.md) | x |\n", "| [b](features/b.md) | [a](a.md) |\n");
    check(&format!("{a}{b}| [up](../README.md) | x |\n"), &[]);
    check(b, &["docs/README.md has 0 rows for a.md, not one"]);
    check(&format!("{a}{b}{a}"), &["docs/README.md has 2 rows for a.md, not one"]);
    check(&format!("{a}{b}| [c](c.md) | x |"), &["docs/README.md has a row for c.md, which is not there"]);
}

/// Each dependency of the manifest has a row in the page, and each row a dependency. A row begins `| name |`.
pub(crate) fn dependencies(manifest: &str, page: &str) -> Vec<String> {
    let mut wanted = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once('=').filter(|_| inside && !line.starts_with('#')) {
            wanted.insert(name.trim().to_owned());
        }
    }
    let mut out = Vec::new();
    let mut found = BTreeSet::new();
    // Below it are the programs, which no manifest names.
    let page = page.split("\n## ").next().unwrap_or_default();
    for line in page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| crate ") && !line.starts_with("| ---"))
    {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if cells.len() != 4 || cells.iter().any(|cell| cell.is_empty()) {
            out.push(format!("docs/dependencies.md: four full cells a row: {line}"));
        }
        found.insert(cells[0].to_owned());
    }
    out.extend(wanted.difference(&found).map(|name| format!("docs/dependencies.md has no row for {name}")));
    out.extend(
        found.difference(&wanted).map(|name| format!("docs/dependencies.md has a row for {name}, which is not used")),
    );
    out
}

#[test]
fn dependencies_without_a_reason_are_found() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na = \"1\"\n# b = \"1\"\nc = { version = \"1\" }\n[lints.rust]\nd = \"deny\"\n";
    let check = |page: &str, expected: &[&str]| assert_eq!(dependencies(manifest, page), expected, "{page}");
    check("| crate | why | state | licence |\n| --- | --- | --- | --- |\n| a | x | y | z |\n| c | x | y | z |\n", &[]);
    check("| a | x | y | z |\n", &["docs/dependencies.md has no row for c"]);
    check(
        "| a | x | y | z |\n| c | x | y | z |\n| d | x | y | z |\n",
        &["docs/dependencies.md has a row for d, which is not used"],
    );
    check("| a | | y | z |\n| c | x | y | z |\n", &["docs/dependencies.md: four full cells a row: | a | | y | z |"]);
}
