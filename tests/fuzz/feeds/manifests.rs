//! A file of manifests, as YAML and as JSON: the reader that takes all or nothing and the one that looks for mistakes say
//! the same, and both say a bounded amount.

use std::path::PathBuf;

use culvert::control::manifests::{MAX_IGNORED, parse, survey_of};

/// Mistakes that are told.
const MOST: usize = 100;

pub fn feed(data: &[u8]) -> bool {
    let mut taken = false;
    for name in ["a.yaml", "a.json"] {
        let sources = [(PathBuf::from(name), data.to_vec())];
        let survey = survey_of(&sources);
        assert!(survey.objects.ignored.len() <= MAX_IGNORED);
        match parse(&sources) {
            Ok(objects) => {
                assert!(survey.errors.is_empty(), "{}", survey.errors);
                assert_eq!(objects, survey.objects);
                taken |= survey.documents > 0;
            }
            Err(errors) => {
                assert!((1..=MOST).contains(&errors.errors.len()));
                assert_eq!(errors.to_string(), survey.errors.to_string());
            }
        }
    }
    taken
}
