use super::*;

#[test]
fn a_state_that_was_asked_for_one_by_one_is_not_that_of_the_whole_mesh() {
    let all = kept_for("https://plane:15012", "Kubernetes", false);
    let asked = kept_for("https://plane:15012", "Kubernetes", true);
    assert_ne!(all, asked);
    assert_ne!(all, kept_for("https://plane:15012", "Other", false));
}
