use std::time::{Duration, SystemTime};

use super::*;

fn at(text: &str) -> SystemTime {
    text.parse::<Timestamp>().unwrap().into()
}

#[track_caller]
fn check_local(zone: &str, now: &str, minute: u16, day: Weekday) {
    assert_eq!(Zone::named(zone).at(at(now)), Some(LocalTime { minute, day }), "{zone} {now}");
}

#[track_caller]
fn check_next(zone: &str, now: &str, minutes: &[u16], wanted: &str) {
    let found = Zone::named(zone).next(at(now), minutes.iter().copied());
    assert_eq!(found, Some(at(wanted)), "{zone} {now} {minutes:?}: {:?}", found.map(Timestamp::try_from));
}

#[test]
fn the_clock_on_the_wall() {
    check_local("UTC", "2026-06-01T12:34:56Z", 12 * 60 + 34, Weekday::Monday);
    check_local("Europe/Vienna", "2026-06-01T12:34:56Z", 14 * 60 + 34, Weekday::Monday);
    check_local("Europe/Vienna", "2026-01-31T23:30:00Z", 30, Weekday::Sunday);
    // Half an hour and three quarters.
    check_local("Asia/Kolkata", "2026-06-01T00:00:00Z", 5 * 60 + 30, Weekday::Monday);
    check_local("Asia/Kathmandu", "2026-06-01T00:00:00Z", 5 * 60 + 45, Weekday::Monday);
    check_local("America/New_York", "2026-06-01T03:59:59Z", 23 * 60 + 59, Weekday::Sunday);
    // Forward over 02:00-03:00, and back over it.
    check_local("Europe/Vienna", "2026-03-29T00:59:59Z", 119, Weekday::Sunday);
    check_local("Europe/Vienna", "2026-03-29T01:00:00Z", 180, Weekday::Sunday);
    check_local("Europe/Vienna", "2026-10-25T00:59:59Z", 179, Weekday::Sunday);
    check_local("Europe/Vienna", "2026-10-25T01:00:00Z", 120, Weekday::Sunday);
}

#[test]
fn the_next_minute_of_a_list() {
    check_next("UTC", "2026-06-01T12:00:00Z", &[0, 480, 1080], "2026-06-01T18:00:00Z");
    check_next("UTC", "2026-06-01T17:59:59Z", &[0, 480, 1080], "2026-06-01T18:00:00Z");
    // A moment is not after itself.
    check_next("UTC", "2026-06-01T18:00:00Z", &[480, 1080], "2026-06-02T08:00:00Z");
    check_next("UTC", "2026-06-01T18:00:00Z", &[1440], "2026-06-02T00:00:00Z");
    check_next("Europe/Vienna", "2026-06-01T12:00:00Z", &[1080], "2026-06-01T16:00:00Z");
    // 02:30 is left out: the leap itself, and the days around it as ever.
    check_next("Europe/Vienna", "2026-03-28T12:00:00Z", &[150], "2026-03-29T00:30:00Z");
    check_next("Europe/Vienna", "2026-03-29T00:30:00Z", &[150], "2026-03-29T01:00:00Z");
    check_next("Europe/Vienna", "2026-03-29T01:00:00Z", &[150], "2026-03-29T01:30:00Z");
    check_next("Europe/Vienna", "2026-03-29T01:30:00Z", &[150], "2026-03-30T00:30:00Z");
    // 02:30 is there twice, and between the two the clock is set back.
    check_next("Europe/Vienna", "2026-10-24T12:00:00Z", &[150], "2026-10-25T00:30:00Z");
    check_next("Europe/Vienna", "2026-10-25T00:30:00Z", &[150], "2026-10-25T01:00:00Z");
    check_next("Europe/Vienna", "2026-10-25T01:00:00Z", &[150], "2026-10-25T01:30:00Z");
    check_next("Europe/Vienna", "2026-10-25T01:30:00Z", &[150], "2026-10-26T01:30:00Z");
    // Samoa had no 30 December 2011.
    check_next("Pacific/Apia", "2011-12-30T09:00:00Z", &[0], "2011-12-30T10:00:00Z");
    check_next("Pacific/Apia", "2011-12-30T10:00:00Z", &[0], "2011-12-31T10:00:00Z");
}

#[test]
fn a_zone_that_is_not_known_tells_nothing() {
    for name in ["Europe/Wien", "", "CEST+1", "../../etc/passwd"] {
        let zone = Zone::named(name);
        assert!(!zone.is_known() && zone.at(at("2026-06-01T00:00:00Z")).is_none(), "{name}");
        assert_eq!(zone.next(at("2026-06-01T00:00:00Z"), [0].into_iter()), None, "{name}");
    }
    assert_eq!(Zone::named("utc"), Zone::utc());
    assert_eq!(Zone::utc().next(at("2026-06-01T00:00:00Z"), std::iter::empty()), None);
    // A clock that nobody's calendar reaches.
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 50);
    assert_eq!((Zone::utc().at(far), Zone::utc().next(far, [0].into_iter())), (None, None));
}
