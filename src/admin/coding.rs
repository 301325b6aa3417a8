//! Which content coding a client takes (RFC 9110 section 12.5.3), and a text in it, for a bounded share of a processor.

use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A content coding (RFC 9110 section 8.4.1; br: RFC 7932; zstd: RFC 8878).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Brotli,
    Gzip,
    Deflate,
    Zstd,
}

/// What packing may cost over time: what was spent is paid back with a share of the time that passes. Who asks all the
/// time has the text as it is in between.
#[derive(Debug)]
pub(super) struct Spending {
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    debt: Duration,
    at: Instant,
}

/// Those that there are; of several that a client likes as much, the first. The cheapest for their result come first: of
/// 6 MiB of series brotli makes 0.26 MiB, gzip and deflate 0.33 MiB in twice the time, zstd 0.35 MiB in five times.
const ALL: [Coding; 4] = [Coding::Brotli, Coding::Gzip, Coding::Deflate, Coding::Zstd];
/// Brotli's: one pass, a window of 256 KiB. The next quality takes four times as long and packs no better.
const BROTLI: (u32, u32) = (1, 18);
const BROTLI_BUFFER: usize = 64 << 10;
/// A weight of 1, in the thousandths of which a weight has at most so many (RFC 9110 section 12.4.2).
const FULL: u16 = 1000;
/// Debt above which nothing is packed: a few scrapes of the largest size at once.
const MOST_DEBT: Duration = Duration::from_millis(250);
/// A fourth of one processor at most, over time.
const SHARE: u32 = 4;

/// The coding that the values of `accept-encoding` like best; [`None`] for the text as it is. Without the header a
/// client might take anything, and is sent what everybody can read.
pub(super) fn choose<'a>(accepted: impl Iterator<Item = &'a str>) -> Option<Coding> {
    let entries: Vec<(&str, u16)> = accepted.flat_map(|list| list.split(',')).filter_map(entry).collect();
    let told = |name: &str| entries.iter().find(|(told, _)| told.eq_ignore_ascii_case(name)).map(|(_, weight)| *weight);
    let any = told("*");
    let weight = |coding: Coding| {
        let told = coding.names().iter().find_map(|name| told(name));
        told.or(any).unwrap_or(0)
    };
    // What is not named is taken, only not preferred to anything.
    let plain = told("identity").unwrap_or(0);
    let best = ALL.into_iter().rev().max_by_key(|coding| weight(*coding))?;
    (weight(best) > 0 && weight(best) >= plain).then_some(best)
}

/// The name and the weight of `br;q=0.5`. What cannot be read is as if it was not there.
fn entry(text: &str) -> Option<(&str, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let weight = match parts.next().and_then(|part| part.split_once('=')) {
        None => FULL,
        Some((key, value)) if key.trim().eq_ignore_ascii_case("q") => thousandths(value.trim())?,
        Some(_) => return None,
    };
    Some((name, weight))
}

/// `0`, `0.5`, `1.000`: at most three digits behind the point, and no more than 1.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    let part = if digits { format!("{part:0<3}").parse::<u16>().ok()? } else { return None };
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(FULL),
        _ => None,
    }
}

// === impl Coding ===

impl Coding {
    /// As it is answered, and by what else it may be asked for.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Brotli => &["br"],
            Self::Gzip => &["gzip", "x-gzip"],
            Self::Deflate => &["deflate"],
            Self::Zstd => &["zstd"],
        }
    }

    pub(super) const fn name(self) -> &'static str {
        self.names()[0]
    }

    /// A scrape is repetitive: the fastest level takes nineteen twentieths off.
    pub(super) fn pack(self, text: &[u8]) -> io::Result<Vec<u8>> {
        let fast = flate2::Compression::fast();
        match self {
            Self::Brotli => {
                let (quality, window) = BROTLI;
                let mut packed = brotli::CompressorWriter::new(Vec::new(), BROTLI_BUFFER, quality, window);
                packed.write_all(text)?;
                Ok(packed.into_inner())
            }
            Self::Gzip => {
                let mut packed = flate2::write::GzEncoder::new(Vec::new(), fast);
                packed.write_all(text)?;
                packed.finish()
            }
            // The format of zlib, whatever its name says.
            Self::Deflate => {
                let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), fast);
                packed.write_all(text)?;
                packed.finish()
            }
            Self::Zstd => {
                let level = ruzstd::encoding::CompressionLevel::Fastest;
                Ok(ruzstd::encoding::compress_to_vec(text, level))
            }
        }
    }
}

// === impl Spending ===

impl Spending {
    pub(super) fn new(now: Instant) -> Self {
        Self { book: Mutex::new(Book { debt: Duration::ZERO, at: now }) }
    }

    pub(super) fn allows(&self, now: Instant) -> bool {
        self.change(now, |debt| *debt < MOST_DEBT)
    }

    pub(super) fn spend(&self, cost: Duration, now: Instant) {
        self.change(now, |debt| *debt = debt.saturating_add(cost));
    }

    fn change<T>(&self, now: Instant, change: impl FnOnce(&mut Duration) -> T) -> T {
        // Held for a subtraction; nothing in between can panic.
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let paid = now.saturating_duration_since(book.at) / SHARE;
        book.debt = book.debt.saturating_sub(paid);
        book.at = book.at.max(now);
        change(&mut book.debt)
    }
}

#[cfg(test)]
mod tests;
