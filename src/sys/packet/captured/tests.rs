use super::super::frame::tests::tcp_frame;
use super::*;
use proptest::prelude::*;

const MARKER: &[u8] = b"marker-5d1c";

fn captured(segments: &[(&str, &str, u32, bool, &[u8])]) -> Captured {
    let mut captured = Captured::default();
    for (from, to, sequence, syn, payload) in segments {
        let frame = tcp_frame(from.parse().unwrap(), to.parse().unwrap(), *sequence, *syn, payload);
        captured.push(&frame, frame.len(), 1 << 20);
    }
    captured
}

const A: &str = "10.0.0.1:4000";
const B: &str = "10.0.0.2:80";

fn check(name: &str, segments: &[(&str, &str, u32, bool, &[u8])], finding: Finding) {
    assert_eq!(captured(segments).find(MARKER), finding, "{name}");
}

#[test]
fn a_marker_is_found_however_it_was_cut() {
    let found = Finding::Present;
    check("in one frame", &[(A, B, 1, false, b"x marker-5d1c y")], found);
    check("over two segments", &[(A, B, 1, false, b"mark"), (A, B, 5, false, b"er-5d1c")], found);
    check("out of order", &[(A, B, 1, true, b""), (A, B, 6, false, b"er-5d1c"), (A, B, 2, false, b"mark")], found);
    check("before the first seen", &[(A, B, 6, false, b"er-5d1c"), (A, B, 2, false, b"mark")], found);
    check(
        "sent again with overlap",
        &[(A, B, 1, false, b"mark"), (A, B, 1, false, b"marker"), (A, B, 5, false, b"er-5"), (A, B, 9, false, b"d1c")],
        found,
    );
    check("over the end of the numbers", &[(A, B, u32::MAX - 1, false, b"mark"), (A, B, 2, false, b"er-5d1c")], found);
    check(
        "in the second connection on the same ports",
        &[
            (A, B, 10, true, b""),
            (A, B, 11, false, b"other"),
            (A, B, 900, true, b""),
            (A, B, 901, false, b"marker-"),
            (A, B, 908, false, b"5d1c"),
        ],
        found,
    );
}

#[test]
fn what_was_never_one_stream_is_not_joined() {
    check("a gap", &[(A, B, 1, false, b"mark"), (A, B, 6, false, b"er-5d1c")], Finding::Absent);
    check("two directions", &[(A, B, 1, false, b"mark"), (B, A, 5, false, b"er-5d1c")], Finding::Absent);
    check("two connections", &[(A, B, 1, false, b"mark"), ("10.0.0.1:4001", B, 5, false, b"er-5d1c")], Finding::Absent);
    assert_eq!(captured(&[(A, B, 1, false, b"x")]).find(b""), Finding::Absent, "an empty marker");
}

#[test]
fn a_capture_with_losses_proves_no_absence_but_still_a_presence() {
    let mut capture = captured(&[(A, B, 1, false, b"something else")]);
    for lost in [
        Lost { cut: 1, ..Lost::default() },
        Lost { kernel: 1, ..Lost::default() },
        Lost { overflow: 1, ..Lost::default() },
    ] {
        capture.lost = lost;
        assert_eq!(capture.find(MARKER), Finding::Inconclusive(lost));
        assert_eq!(capture.find(b"thing"), Finding::Present);
    }
}

#[test]
fn the_store_is_bounded_and_says_what_it_left_out() {
    let mut capture = Captured::default();
    capture.push(&[1; 60], 60, 100);
    capture.push(&[2; 60], 60, 100);
    capture.push(&[3; 40], 90, 100);
    assert_eq!(capture.frames, [vec![1; 60], vec![3; 40]]);
    assert_eq!(capture.lost, Lost { cut: 1, kernel: 0, overflow: 1 });
}

#[test]
fn packets_are_counted_by_port() {
    let capture = captured(&[
        (A, B, 1, true, b""),
        (B, A, 1, true, b""),
        (A, "10.0.0.2:15008", 1, true, b""),
        (A, B, 2, false, b"x"),
    ]);
    assert_eq!(capture.tcp_packets(80), 3);
    assert_eq!(capture.tcp_packets(15008), 1);
    assert_eq!(capture.tcp_packets(15001), 0);
    assert_eq!(capture.tcp_ports(), BTreeMap::from([(80, 3), (4000, 4), (15008, 1)]));
}

proptest! {
    #[test]
    fn a_stream_cut_and_shuffled_comes_back_whole(
        bytes in proptest::collection::vec(any::<u8>(), 1..300),
        cuts in proptest::collection::vec((0usize..300, 1usize..40), 0..20),
        start in any::<u32>(),
    ) {
        let first = start.wrapping_add(1);
        let mut frames = vec![tcp_frame(A.parse().unwrap(), B.parse().unwrap(), start, true, b"")];
        let mut segments: Vec<(usize, usize)> = (0..bytes.len()).step_by(23).map(|at| (at, 23)).collect();
        segments.extend(cuts);
        segments.reverse();
        for (at, length) in segments {
            let Some(rest) = bytes.get(at..) else { continue };
            let part = &rest[..length.min(rest.len())];
            frames.push(tcp_frame(A.parse().unwrap(), B.parse().unwrap(), first.wrapping_add(at as u32), false, part));
        }
        let mut capture = Captured::default();
        for frame in &frames {
            capture.push(frame, frame.len(), 1 << 20);
        }
        let streams = capture.streams();
        prop_assert_eq!(streams.len(), 1);
        prop_assert_eq!(streams[0].runs(), vec![bytes]);
    }
}
