use std::sync::Arc;

use super::*;
use crate::mesh::Held;
use crate::model::workload::Workload;

fn held(names: &mut Names, number: usize) -> Held {
    let workload = Workload {
        uid: format!("w{number}").into(),
        name: format!("w{number}").into(),
        namespace: format!("team-{}", number / 10).into(),
        node: format!("node-{}", number % 2).into(),
        ..Workload::default()
    };
    Held::new(workload, names)
}

#[test]
fn replicas_have_one_record_of_what_they_share_and_one_string_of_a_name() {
    let mut names = Names::default();
    let all: Vec<_> = (0..20).map(|number| held(&mut names, number)).collect();
    assert_eq!(names.count(), (4, 2));
    assert!(Arc::ptr_eq(&all[0].namespace, &all[9].namespace) && !Arc::ptr_eq(&all[9].namespace, &all[10].namespace));
    assert!(Arc::ptr_eq(&all[0].node, &all[12].node));
    assert_eq!((all[0].namespace.as_ref(), all[11].node.as_ref(), all[3].uid.as_ref()), ("team-0", "node-1", "w3"));
}

#[test]
fn names_that_nobody_has_any_more_are_forgotten() {
    let mut names = Names::default();
    let mut all: Vec<_> = (0..4000).map(|number| held(&mut names, number)).collect();
    assert_eq!(names.count(), (402, 400));
    // Too few to look for.
    let gone = all.split_off(3990).len();
    names.aged(gone);
    assert_eq!(names.count(), (402, 400));
    let gone = all.split_off(10).len();
    names.aged(gone);
    assert_eq!(names.count(), (3, 1));
    assert_eq!(held(&mut names, 3), all[3]);
}
