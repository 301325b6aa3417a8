//! A run: columns are built, kinds follow each other, and within a round the columns take turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use culvert::role::demo::lab::{Kept, Lab};
use culvert::role::demo::progress::Progress;
use culvert::runtime::signal::Signals;
use tokio::time::Instant;

use crate::column::{Column, Engine, PREFIX, Path, Plan};
use crate::figures::Table;
use crate::measure::Kind;
use crate::{Args, report, usage};

/// Between two measurements: what the last one closed is gone.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);
/// Before memory is read: lazily freed and lazily made things have happened.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);
const CULVERT: &str = env!("CARGO_BIN_EXE_culvert");
pub(crate) const MIB: f64 = 1_048_576.0;

/// One run of the bench.
pub(crate) struct Bench<'a> {
    pub(crate) args: &'a Args,
    pub(crate) columns: Vec<Column>,
    pub(crate) table: Table,
    /// What the rest of the machine took during each measurement.
    pub(crate) elsewhere: Vec<f64>,
    stopped: Arc<AtomicBool>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    anyhow::ensure!(
        nix::unistd::Uid::effective().is_root(),
        "the bench makes network namespaces, which needs root: run it with sudo"
    );
    anyhow::ensure!(args.seconds >= 0.1 && args.rounds() >= 1, "give at least 0.1 seconds and 1 round");
    let settings = args.set.iter().map(|set| {
        let pair = set.split_once('=').with_context(|| format!("--set {set}: write KEY=VALUE"))?;
        Ok((pair.0.to_owned(), pair.1.to_owned()))
    });
    let settings = settings.collect::<anyhow::Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let stopped = Arc::new(AtomicBool::new(false));
    let mut signals = {
        let _context = runtime.enter();
        Signals::catch().context("cannot catch signals")?
    };
    let flag = Arc::clone(&stopped);
    runtime.spawn(async move {
        signals.next().await;
        flag.store(true, Ordering::Relaxed);
    });

    let started = Instant::now();
    println!("{}", report::head(args, &usage::machine()));
    // What runs that were killed left behind.
    Lab::sweep(PREFIX, Kept::Remove)?;
    let directory = tempfile::Builder::new().prefix("culvert-bench-").tempdir_in("/run").context("cannot use /run")?;
    let kinds = Kind::ALL.into_iter();
    let wanted = |kind: &Kind| if args.only.is_empty() { kind.is_usual() } else { args.only.contains(kind) };
    let kinds: Vec<Kind> = kinds.filter(wanted).collect();
    let neighbours = kinds.iter().any(|kind| kind.has_neighbours());
    let mut engines = vec![("no mesh", Engine::NoMesh), ("culvert", Engine::Culvert { settings })];
    engines.extend(args.peer.clone().map(|program| ("peer", Engine::Peer { program })));
    let mut columns = Vec::new();
    for (name, engine) in engines {
        let own = directory.path().join(name.replace(' ', "-"));
        let culvert = std::path::Path::new(CULVERT);
        let plan = Plan { name, engine, culvert, directory: own, runtime: runtime.handle(), neighbours };
        columns.push(Column::build(plan).with_context(|| format!("cannot build the lab of {name}"))?);
    }
    let table = Table::new(columns.iter().map(|column| column.name.to_owned()).collect());
    let mut bench = Bench { args, columns, table, elsewhere: Vec::new(), stopped };
    for kind in kinds {
        bench.kind(kind)?;
    }
    println!("{}", report::tail(&bench.table, &bench.elsewhere, started.elapsed()));
    for column in bench.columns {
        column.teardown()?;
    }
    Ok(())
}

// === impl Bench ===

impl Bench<'_> {
    fn paths(&self) -> impl Iterator<Item = Path> + use<> {
        let wanted = self.args.path.clone();
        Path::ALL.into_iter().filter(move |path| wanted.is_empty() || wanted.contains(path))
    }

    fn kind(&mut self, kind: Kind) -> anyhow::Result<()> {
        if let Kind::Burst | Kind::Memory = kind {
            let step = Progress::on_stderr().step(kind.name());
            for path in self.paths() {
                for column in 0..self.columns.len() {
                    if kind == Kind::Memory { self.memory(path, column)? } else { self.burst(path, column)? }
                }
            }
            step.done();
            return Ok(());
        }
        for column in &mut self.columns {
            // A stream of a second writes one line; the disk must not be what is measured all the same.
            column.restart(kind == Kind::Throughput)?;
        }
        for round in 0..self.args.rounds() {
            let step =
                Progress::on_stderr().step(format!("{}, round {} of {}", kind.name(), round + 1, self.args.rounds()));
            for path in self.paths() {
                if kind == Kind::Flood { self.floods(path, round)? } else { self.round(kind, path, round)? }
            }
            step.done();
        }
        Ok(())
    }

    fn round(&mut self, kind: Kind, path: Path, round: usize) -> anyhow::Result<()> {
        for measure in kind.measures() {
            let count = self.columns.len();
            // Each column is first as often as any other. The table's rows are made by the first.
            for turn in 0..count {
                self.check()?;
                let at = (turn + round) % count;
                let column = &self.columns[at];
                let ran = column.run(path, measure, self.args.seconds);
                let (report, cpu) = ran.with_context(|| format!("{}, {}, {measure:?}", column.name, path.name()))?;
                self.elsewhere.push(cpu.elsewhere);
                for (name, unit, value) in measure.figures(&report, cpu) {
                    self.table.add(path.name(), &name, unit, at, value);
                }
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// Fresh daemons each time: memory that a busy daemon keeps for later would hide what a connection takes.
    fn memory(&mut self, path: Path, at: usize) -> anyhow::Result<()> {
        self.check()?;
        let open = self.args.open;
        let column = &mut self.columns[at];
        column.restart(false)?;
        std::thread::sleep(SETTLE);
        let daemons = column.daemons();
        let (idle, slab) = (usage::resident(&daemons), usage::kernel_slab());
        let held = column.hold(path, open).with_context(|| format!("{}, {}", column.name, path.name()))?;
        std::thread::sleep(SETTLE);
        let (busy, slab_held) = (usage::resident(&daemons), usage::kernel_slab());
        drop(held);
        std::thread::sleep(SETTLE);
        let with = |value: f64| (!daemons.is_empty()).then_some(value);
        let each = |before: u64, after: u64| (after as f64 - before as f64) / f64::from(open) / 1024.0;
        let figures = [
            ("resident, daemons, idle".to_owned(), "MiB", with(idle as f64 / MIB)),
            (format!("resident, daemons, {open} open connections"), "MiB", with(busy as f64 / MIB)),
            ("resident, daemons, an open connection".into(), "KiB", with(each(idle, busy))),
            ("kernel slab, everything, an open connection".into(), "KiB", slab.zip(slab_held).map(|(b, a)| each(b, a))),
        ];
        for (name, unit, value) in figures {
            self.table.add(path.name(), &name, unit, at, value);
        }
        Ok(())
    }

    pub(crate) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            !self.stopped.load(Ordering::Relaxed),
            "the bench was stopped, and what it had made is removed"
        );
        Ok(())
    }
}
