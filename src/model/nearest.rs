//! "Did you mean": the known word that is nearest to what was written.

/// More edits than this and the two are different words.
const FAR: usize = 3;

/// The nearest of `known`, unless all are far. A third of the word may be wrong.
pub fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = FAR.min(written.len().div_ceil(3));
    known
        .filter(|word| word.len().abs_diff(written.len()) <= limit)
        .map(|word| (distance(written, word), word))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Names whose lengths differ by more are not compared: a list of a mesh's 10,000 pods stays a matter of milliseconds.
const ALIKE: usize = 12;

/// The `most` names that are nearest to what was written, the nearest first: for a list that a person chooses from. Of
/// equals the first in order.
pub fn near<'a>(written: &str, known: impl Iterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
    let alike = known.filter(|name| name.len().abs_diff(written.len()) <= ALIKE);
    let mut all: Vec<_> = alike.map(|name| (distance(written, name), name)).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter().take(most).map(|(_, name)| name).collect()
}

/// Levenshtein's distance in bytes. The keys are ASCII and the written word is as short as they are.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.bytes().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let known = ["leaf-ttl", "log-level", "log-format", "node", "manifests"];
        let check = |written: &str, expected: Option<&str>| {
            assert_eq!(nearest(written, known.into_iter()), expected, "{written}");
        };
        check("leaf_ttl", Some("leaf-ttl"));
        check("loglevel", Some("log-level"));
        check("manifest", Some("manifests"));
        check("nod", Some("node"));
        check("colour", None);
        check("", None);
        check(&"x".repeat(100_000), None);
    }

    #[test]
    fn a_list_to_choose_from() {
        let known = ["demo/server", "demo/client", "other/serve", "demo/server"];
        assert_eq!(near("demo/servr", known.into_iter(), 2), ["demo/server", "demo/client"]);
        assert_eq!(near("x", known.into_iter(), 9).len(), 3);
        assert!(near(&"x".repeat(100_000), known.into_iter(), 9).is_empty());
    }
}
