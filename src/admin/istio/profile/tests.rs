use super::*;

#[test]
fn the_query_has_bounds() {
    let check = |query: &str, expected: Option<(u64, u32)>| {
        let found = Asked::parse(query).ok().map(|asked| (asked.seconds, asked.frequency));
        assert_eq!(found, expected, "{query}");
    };
    check("", Some((10, 100)));
    check("seconds=1&frequency=1000", Some((1, 1000)));
    check("seconds=300", Some((300, 100)));
    check("other=1", Some((10, 100)));
    for bad in ["seconds=0", "seconds=301", "frequency=0", "frequency=1001", "seconds=", "seconds=x", "seconds=-1"] {
        check(bad, None);
    }
    assert_eq!(Asked::parse("seconds=0").unwrap_err(), "seconds is a number from 1 to 300\n");
}

#[test]
fn a_profile_names_its_files_and_counts() {
    let found = HashMap::from([(0x1010, 3), (0x9999, 1)]);
    let maps = [(0x1000, 0x2000, 0x40, "/usr/bin/culvert".to_owned())];
    let asked = Asked { seconds: 2, frequency: 100 };
    let profile = profile_of(&found, &maps, asked, SystemTime::UNIX_EPOCH + Duration::from_secs(1));
    assert_eq!(profile.location[0], Location { id: 1, mapping_id: 1, address: 0x1010 });
    assert_eq!(profile.location[1].mapping_id, 0);
    assert_eq!(profile.sample[0], Sample { location_id: vec![1], value: vec![3, 30_000_000] });
    assert_eq!(profile.string_table[usize::try_from(profile.mapping[0].filename).unwrap()], "/usr/bin/culvert");
    assert_eq!(
        (profile.time_nanos, profile.duration_nanos, profile.period),
        (1_000_000_000, 2_000_000_000, 10_000_000)
    );
    let again = Profile::decode(&*profile.encode_to_vec()).unwrap();
    assert_eq!(again, profile);
}
