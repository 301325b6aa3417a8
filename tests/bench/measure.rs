//! What is measured: the kinds, the loads of each, and which figures come out of a report.

use std::time::Duration;

use clap::ValueEnum;

use crate::load::{REQUEST_PORT, Report, STREAM_PORT, Way};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Resident memory of the daemons before, at the height of and 60 s after a burst; only when it is asked for.
    Burst,
    /// New connections a second: connect, one request, close.
    Connections,
    /// Latency beside a pod that floods, against latency alone; only when it is asked for.
    Flood,
    /// Resident memory of the daemons and slabs of the kernel, idle and with many open connections.
    Memory,
    /// Requests a second and their latency, on connections that stay open.
    Requests,
    /// Bytes a second on one and eight streams, both ways, and processor seconds a GB.
    Throughput,
}

/// One load.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Measure {
    Connections { at_once: u32 },
    Requests { connections: u32 },
    Stream { streams: u32, way: Way },
}

/// Processor seconds that a measurement took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    /// The daemons of both nodes; `None` without any.
    pub(crate) daemons: Option<f64>,
    /// The daemons, the client, the server and the kernel's packet threads.
    pub(crate) everything: f64,
    /// What the rest of the machine took, as a share of all processors over the time.
    pub(crate) elsewhere: f64,
}

/// A figure: its name, its unit and its value in this measurement, when it has one.
pub(crate) type Figure = (String, &'static str, Option<f64>);

/// How long a load runs before it counts.
const WARM: Duration = Duration::from_millis(300);
const GB: f64 = 1e9;

// === impl Kind ===

impl Kind {
    /// In the order in which they run: memory first, while daemons and kernel are fresh.
    pub(crate) const ALL: [Self; 6] =
        [Self::Burst, Self::Memory, Self::Throughput, Self::Requests, Self::Connections, Self::Flood];

    /// Whether it is a part of a run that asks for nothing. The others need pods that no other kind needs, and time.
    pub(crate) fn is_usual(self) -> bool {
        !self.has_neighbours()
    }

    /// Whether it needs the pods that flood.
    pub(crate) fn has_neighbours(self) -> bool {
        matches!(self, Self::Burst | Self::Flood)
    }

    /// The loads of a round. [`Kind::Memory`] and [`Kind::Burst`] have none; their connections are held and not driven.
    pub(crate) fn measures(self) -> Vec<Measure> {
        match self {
            Self::Connections => vec![Measure::Connections { at_once: 16 }],
            Self::Flood => vec![Measure::Requests { connections: 1 }, Measure::Connections { at_once: 1 }],
            Self::Burst | Self::Memory => Vec::new(),
            Self::Requests => vec![Measure::Requests { connections: 1 }, Measure::Requests { connections: 64 }],
            Self::Throughput => [1, 8]
                .into_iter()
                .flat_map(|streams| [Way::Upload, Way::Download].map(|way| Measure::Stream { streams, way }))
                .collect(),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Burst => "burst",
            Self::Connections => "new connections",
            Self::Flood => "flood",
            Self::Memory => "memory",
            Self::Requests => "requests",
            Self::Throughput => "throughput",
        }
    }
}

// === impl Measure ===

impl Measure {
    /// The client's port and the arguments that stand before and after its address.
    pub(crate) fn command(self, seconds: f64) -> (u16, &'static str, Vec<String>) {
        let (port, word, connections) = match self {
            Self::Connections { at_once } => (REQUEST_PORT, "requests", at_once),
            Self::Requests { connections } => (REQUEST_PORT, "requests", connections),
            Self::Stream { streams, .. } => (STREAM_PORT, "stream", streams),
        };
        let span = Duration::from_secs_f64(seconds);
        let mut more = vec![
            format!("--connections={connections}"),
            format!("--warm-ms={}", WARM.as_millis()),
            format!("--span-ms={}", span.as_millis()),
        ];
        more.extend(match self {
            Self::Connections { .. } => Some("--once".to_owned()),
            Self::Requests { .. } => None,
            Self::Stream { way, .. } => Some(format!("--way={}", word_of(way))),
        });
        (port, word, more)
    }

    pub(crate) fn figures(self, report: &Report, cpu: Cpu) -> Vec<Figure> {
        match self {
            Self::Connections { at_once } => {
                vec![(format!("new connections, {at_once} at once"), "1/s", Some(report.per_second))]
            }
            Self::Requests { connections } => {
                let of = |what: &str| format!("{what}, {}", counted(connections, "connection"));
                vec![
                    (of("requests"), "1/s", Some(report.per_second)),
                    (of("p50"), "µs", Some(report.p50_us)),
                    (of("p99"), "µs", Some(report.p99_us)),
                ]
            }
            Self::Stream { streams, way } => {
                let of = |what: &str| format!("{what}, {}", counted(streams, "stream"));
                let a_gb = |seconds: f64| seconds / (report.bytes as f64 / GB);
                let way = word_of(way);
                vec![
                    (of(way), "Gbit/s", Some(report.bytes_per_second * 8.0 / GB)),
                    (of(&format!("processor, daemons, {way}")), "s/GB", cpu.daemons.map(a_gb)),
                    (of(&format!("processor, everything, {way}")), "s/GB", Some(a_gb(cpu.everything))),
                ]
            }
        }
    }
}

fn word_of(way: Way) -> &'static str {
    match way {
        Way::Download => "download",
        Way::Upload => "upload",
    }
}

fn counted(count: u32, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
