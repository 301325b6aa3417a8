//! Streams of bytes, one thread each with blocking calls and a large buffer. The receiving end holds the clock, so
//! that bytes which only wait in a buffer do not count.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Barrier;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use tokio::time::Instant;

use super::{Load, Report};

/// Which end sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// The server.
    Download,
    /// The client.
    Upload,
}

/// What the client asks for, in nine bytes at the start of its stream.
#[derive(Clone, Copy, Debug)]
struct Order {
    way: Way,
    load: Load,
}

/// What arrived.
#[derive(Clone, Copy, Debug, Default)]
struct Received {
    /// All of it.
    bytes: u64,
    span_bytes: u64,
    span: Duration,
}

const BUFFER: usize = 256 << 10;
/// The sender goes on after the receiver's span is over: its clock starts earlier.
const SLACK: Duration = Duration::from_millis(60);

// === impl Order ===

impl Order {
    fn write(self, to: &mut impl Write) -> io::Result<()> {
        let mut bytes = [0; 9];
        bytes[0] = u8::from(self.way == Way::Upload);
        bytes[1..5].copy_from_slice(&self.load.warm_ms.to_be_bytes());
        bytes[5..].copy_from_slice(&self.load.span_ms.to_be_bytes());
        to.write_all(&bytes)
    }

    fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut bytes = [0; 9];
        from.read_exact(&mut bytes)?;
        let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let way = if bytes[0] == 1 { Way::Upload } else { Way::Download };
        Ok(Self { way, load: Load { connections: 1, warm_ms: number(1), span_ms: number(5) } })
    }
}

// === impl Received ===

impl Received {
    fn write(self, to: &mut impl Write) -> io::Result<()> {
        let nanos = u64::try_from(self.span.as_nanos()).unwrap_or(u64::MAX);
        let mut bytes = [0; 24];
        for (place, number) in bytes.chunks_exact_mut(8).zip([self.bytes, self.span_bytes, nanos]) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        to.write_all(&bytes)
    }

    fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut numbers = [0; 3];
        for number in &mut numbers {
            let mut bytes = [0; 8];
            from.read_exact(&mut bytes)?;
            *number = u64::from_be_bytes(bytes);
        }
        let [bytes, span_bytes, nanos] = numbers;
        Ok(Self { bytes, span_bytes, span: Duration::from_nanos(nanos) })
    }

    fn per_second(&self) -> f64 {
        self.span_bytes as f64 / self.span.as_secs_f64().max(1e-9)
    }
}

/// The client of all streams of one measurement.
pub(super) fn client(to: SocketAddr, way: Way, load: Load) -> anyhow::Result<Report> {
    let ready = Barrier::new(load.connections as usize);
    let received = std::thread::scope(|scope| {
        let work = || one(to, Order { way, load }, &ready).with_context(|| format!("a stream to {to} broke"));
        let threads: Vec<_> = (0..load.connections).map(|_| scope.spawn(work)).collect();
        let ends = threads.into_iter().map(|thread| thread.join().expect("a stream's thread does not panic"));
        ends.collect::<anyhow::Result<Vec<_>>>()
    })?;
    let bytes = received.iter().map(|one| one.bytes).sum();
    let bytes_per_second = received.iter().map(Received::per_second).sum();
    Ok(Report { bytes, bytes_per_second, ..Report::default() })
}

fn one(to: SocketAddr, order: Order, ready: &Barrier) -> io::Result<Received> {
    let connected = TcpStream::connect(to);
    // Also without a connection, or the other threads would wait for ever.
    ready.wait();
    let mut stream = connected?;
    stream.set_read_timeout(Some(order.load.patience()))?;
    stream.set_write_timeout(Some(order.load.patience()))?;
    order.write(&mut stream)?;
    match order.way {
        Way::Download => receive(&mut stream, order.load),
        Way::Upload => {
            send(&mut stream, order.load)?;
            Received::read(&mut stream)
        }
    }
}

/// The server's end of one stream.
pub(super) fn server(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.set_write_timeout(Some(Duration::from_secs(60)))?;
    let Order { way, load } = Order::read(&mut stream)?;
    match way {
        Way::Download => send(&mut stream, load),
        Way::Upload => receive(&mut stream, load)?.write(&mut stream),
    }
}

fn send(stream: &mut TcpStream, load: Load) -> io::Result<()> {
    let buffer = vec![0x5a; BUFFER];
    let (begun, enough) = (Instant::now(), load.warm() + load.span() + SLACK);
    while begun.elapsed() < enough {
        stream.write_all(&buffer)?;
    }
    stream.shutdown(Shutdown::Write)
}

fn receive(stream: &mut TcpStream, load: Load) -> io::Result<Received> {
    let mut buffer = vec![0; BUFFER];
    let mut received = Received::default();
    let mut began: Option<Instant> = None;
    let mut warm: Option<(Instant, u64)> = None;
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(received);
        }
        received.bytes += count as u64;
        let now = Instant::now();
        if let Some((since, before)) = warm {
            if received.span < load.span() {
                received.span = now - since;
                received.span_bytes = received.bytes - before;
            }
        } else if now - *began.get_or_insert(now) >= load.warm() {
            warm = Some((now, received.bytes));
        }
    }
}
