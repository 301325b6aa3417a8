//! What one pod that floods does to another of its node.
//!
//! In one round the quiet pair is measured alone and, right after, beside each flood; what is compared is of one round.

use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;

use crate::column::{NOISY, Path, STRANGER};
use crate::load::{REQUEST_PORT, Report, STREAM_PORT, STUFF_PORT};
use crate::measure::{Kind, Measure};
use crate::run::{Bench, PAUSE};

/// What a pod floods its node with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Flood {
    /// Streams that take what they can get.
    Bulk,
    /// New connections as fast as they can be had.
    Connections,
    /// TLS handshakes as fast as they can be had, of a pod that is outside of the mesh.
    Handshakes,
    /// As [`Flood::Unread`], so many at once.
    #[value(skip)]
    Burst(u32),
    /// Streams whose readers do not read: all that they sent waits somewhere.
    Unread,
}

/// A flood is on its height when it has run for so long.
const RISE: Duration = Duration::from_millis(700);

// === impl Flood ===

impl Flood {
    pub(crate) const ALL: [Self; 4] = [Self::Connections, Self::Handshakes, Self::Bulk, Self::Unread];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::Burst(_) => "burst",
            Self::Connections => "connections",
            Self::Handshakes => "handshakes",
            Self::Unread => "unread streams",
        }
    }

    /// From which pod, to which port, by which command, and how many at once.
    pub(crate) fn command(self) -> (&'static str, u16, &'static str, u32) {
        match self {
            Self::Bulk => (NOISY, STREAM_PORT, "stream", 8),
            Self::Connections => (NOISY, REQUEST_PORT, "connections", 256),
            Self::Handshakes => (STRANGER, culvert::model::ports::HBONE, "handshakes", 256),
            Self::Unread => (NOISY, STUFF_PORT, "stuff", 500),
            Self::Burst(connections) => (NOISY, STUFF_PORT, "stuff", connections),
        }
    }

    pub(crate) fn more(self) -> Vec<String> {
        let stream = [format!("--span-ms={}", u32::MAX / 2), "--warm-ms=0".into(), "--way=download".into()];
        if self == Self::Bulk { stream.into() } else { Vec::new() }
    }

    /// Whether it says that it has begun.
    pub(crate) fn tells(self) -> bool {
        self != Self::Bulk
    }

    /// Without a mesh nobody listens for handshakes.
    fn can_be_in(self, column: &str) -> bool {
        self != Self::Handshakes || column != "no mesh"
    }
}

// === impl Bench ===

impl Bench<'_> {
    /// One round of every column.
    pub(crate) fn floods(&mut self, path: Path, round: usize) -> anyhow::Result<()> {
        let count = self.columns.len();
        for turn in 0..count {
            let at = (turn + round) % count;
            let alone = self.quiet(path, at, None, &[])?;
            for flood in Flood::ALL {
                self.check()?;
                let is_wanted = self.args.flood.is_empty() || self.args.flood.contains(&flood);
                if !is_wanted || !flood.can_be_in(self.columns[at].name) {
                    continue;
                }
                let before = self.columns[at].bitten();
                let running = self.columns[at].flood(path, flood).with_context(|| format!("{flood:?}"))?;
                std::thread::sleep(RISE);
                self.quiet(path, at, Some(flood), &alone)?;
                let after = self.columns[at].bitten();
                drop(running);
                for (what, count) in after {
                    let more = count - before.get(&what).copied().unwrap_or_default();
                    if more > 0.0 {
                        let name = format!("{}: {what}", flood.name());
                        self.table.add(path.name(), &name, "times", at, Some(more));
                    }
                }
                std::thread::sleep(RISE);
            }
        }
        Ok(())
    }

    /// Measures the quiet pair once, and what became of it beside a flood.
    fn quiet(&mut self, path: Path, at: usize, flood: Option<Flood>, alone: &[Report]) -> anyhow::Result<Vec<Report>> {
        let mut reports = Vec::new();
        for (number, measure) in Kind::Flood.measures().into_iter().enumerate() {
            let column = &self.columns[at];
            let ran = column.run(path, measure, self.args.seconds);
            let (report, cpu) = ran.with_context(|| format!("{}, {flood:?}, {measure:?}", column.name))?;
            let beside = flood.map_or("alone", Flood::name);
            let what = if matches!(measure, Measure::Requests { .. }) { "a request" } else { "a connection" };
            for (share, value, before) in [
                ("p50", report.p50_us, alone.get(number).map(|alone| alone.p50_us)),
                ("p99", report.p99_us, alone.get(number).map(|alone| alone.p99_us)),
            ] {
                self.table.add(path.name(), &format!("{beside}: {share}, {what}"), "µs", at, Some(value));
                if let Some(before) = before.filter(|before| *before > 0.0) {
                    let name = format!("{beside}: {share}, {what}, to alone");
                    self.table.add(path.name(), &name, "×", at, Some(value / before));
                }
            }
            if flood.is_none() {
                self.elsewhere.push(cpu.elsewhere);
            }
            reports.push(report);
            std::thread::sleep(PAUSE);
        }
        Ok(reports)
    }
}
