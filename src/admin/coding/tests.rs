use std::io::Read as _;

use super::*;

#[test]
fn the_heaviest_weight_wins_and_nothing_is_sent_that_was_refused() {
    let check = |accepted: &[&str], expected: Option<&str>| {
        assert_eq!(choose(accepted.iter().copied()).map(Coding::name), expected, "{accepted:?}");
    };
    check(&[], None);
    check(&[""], None);
    check(&["gzip"], Some("gzip"));
    check(&["GZIP"], Some("gzip"));
    check(&["x-gzip"], Some("gzip"));
    check(&["deflate"], Some("deflate"));
    check(&["zstd"], Some("zstd"));
    check(&["br"], Some("br"));
    check(&["compress"], None);
    check(&["gzip, deflate, br, zstd"], Some("br"));
    check(&["zstd", "gzip"], Some("gzip"));
    check(&["zstd;q=0.9, gzip;q=0.8"], Some("zstd"));
    check(&["zstd ; Q=0.001 , br;q=0.0"], Some("zstd"));
    check(&["br;q=0, gzip;q=0.000, *"], Some("deflate"));
    check(&["*"], Some("br"));
    check(&["*;q=0"], None);
    check(&["*;q=0, zstd"], Some("zstd"));
    check(&["*;q=0.5, gzip;q=0.7"], Some("gzip"));
    // The text itself has a weight too, when somebody gives it one.
    check(&["identity"], None);
    check(&["identity, gzip;q=0.5"], None);
    check(&["identity;q=0.5, gzip;q=0.5"], Some("gzip"));
    check(&["identity;q=0.5, gzip;q=0.4, br;q=0.6"], Some("br"));
    check(&["identity;q=0"], None);
    // What is no weight is no entry: guessing could send what was refused.
    check(&["gzip;q=2", "br;q=0.0001", "zstd;q=", "deflate;q=-1"], None);
    check(&["gzip;level=9"], None);
    check(&["gzip;q=1.000"], Some("gzip"));
}

#[test]
fn what_is_packed_can_be_read_again() {
    let text = "istio_build{component=\"ztunnel\",tag=\"1\"} 1\n".repeat(5_000);
    for text in [text.as_bytes(), b"", b"x"] {
        let unpacked = |coding: Coding| {
            let packed = coding.pack(text).unwrap();
            assert!(text.len() < 1000 || packed.len() < text.len() / 10, "{coding:?}: {}", packed.len());
            let mut read: Box<dyn io::Read> = match coding {
                Coding::Brotli => Box::new(brotli::Decompressor::new(&*packed, 4096)),
                Coding::Gzip => Box::new(flate2::read::GzDecoder::new(&*packed)),
                Coding::Deflate => Box::new(flate2::read::ZlibDecoder::new(&*packed)),
                Coding::Zstd => Box::new(ruzstd::decoding::StreamingDecoder::new(&*packed).unwrap()),
            };
            let mut all = Vec::new();
            read.read_to_end(&mut all).unwrap();
            all
        };
        for coding in ALL {
            assert_eq!(unpacked(coding), text, "{coding:?}");
        }
    }
}

#[test]
fn packing_has_a_share_of_the_time() {
    let start = Instant::now();
    let after = |milliseconds| start + Duration::from_millis(milliseconds);
    let spending = Spending::new(start);
    assert!(spending.allows(start));
    spending.spend(Duration::from_millis(100), after(0));
    assert!(spending.allows(after(0)), "a few at once are allowed");
    spending.spend(Duration::from_millis(200), after(0));
    assert!(!spending.allows(after(100)), "300 ms, of which 25 are paid");
    assert!(spending.allows(after(300)));
    // A day of asking again and again, 50 ms each.
    let mut packed = 0;
    for second in 0..8_640 {
        for at in 0..100 {
            let now = after(1_000 + second * 1_000 + at * 10);
            if spending.allows(now) {
                spending.spend(Duration::from_millis(50), now);
                packed += 50;
            }
        }
    }
    assert!((2_159_000..2_162_000).contains(&packed), "{packed} ms of 8640 s");
    // A clock that does not move pays nothing, and owes nothing.
    assert!(Spending::new(after(5)).allows(start));
}
