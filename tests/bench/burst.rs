//! What a burst of connections leaves behind in the daemons.

use std::time::Duration;

use anyhow::Context as _;

use crate::column::Path;
use crate::flood::Flood;
use crate::run::{Bench, MIB, SETTLE};
use crate::usage;

/// Connections of the warm-up: what a daemon makes once is made.
const WARM: u32 = 200;
/// After it, what it took has gone back by the daemons' own clocks.
const REST: Duration = Duration::from_secs(30);
/// After a burst, when resident memory is to be back within a tenth of idle.
const AFTER: Duration = Duration::from_secs(60);

// === impl Bench ===

impl Bench<'_> {
    /// Fresh daemons, a warm-up, a rest, a burst, its end.
    pub(crate) fn burst(&mut self, path: Path, at: usize) -> anyhow::Result<()> {
        self.check()?;
        let connections = self.args.burst;
        let column = &mut self.columns[at];
        column.restart(true)?;
        let daemons = column.daemons();
        if daemons.is_empty() {
            return Ok(());
        }
        let resident = || usage::resident(&daemons) as f64 / MIB;
        let told = || format!("{}, {}", column.name, path.name());
        drop(column.hold(path, WARM).with_context(told)?);
        std::thread::sleep(REST);
        let idle = resident();
        let running = column.flood(path, Flood::Burst(connections)).with_context(told)?;
        let height = resident();
        drop(running);
        std::thread::sleep(SETTLE);
        let ended = resident();
        std::thread::sleep(AFTER - SETTLE);
        let after = resident();
        let figures = [
            ("resident, daemons, idle after a warm-up".to_owned(), "MiB", idle),
            (format!("at the height of {connections} connections with full buffers"), "MiB", height),
            ("the height to idle".into(), "×", height / idle),
            ("1 s after its end".into(), "MiB", ended),
            ("60 s after its end".into(), "MiB", after),
            ("60 s after its end, to idle".into(), "×", after / idle),
        ];
        for (name, unit, value) in figures {
            self.table.add(path.name(), &name, unit, at, Some(value));
        }
        Ok(())
    }
}
