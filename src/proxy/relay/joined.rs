//! Two TCP sockets joined: each direction is read here and written there until both have ended.
//!
//! Small messages go through a buffer of the thread (one read and one write), which is cheaper than
//! a pipe; bulk goes from socket to socket inside the kernel. An idle connection holds neither.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, Read as _};
use std::net::Shutdown;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::silence::Silence;
use super::{Broken, Early, Meter, Side};
use crate::sys::socket::reset_on_close;
use crate::sys::splice::{Pipe, PipePool};

/// What one read takes before a direction counts as bulk. Requests and answers of most protocols
/// are shorter; a stream of bulk data fills it at once.
const SCRATCH: usize = 16 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// Resets both sockets when the relay is given up before its end: what is cut must not look complete.
struct Unfinished<'a>(Option<[&'a TcpStream; 2]>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.into_iter().flatten().for_each(reset_on_close);
    }
}

/// Joins the client's socket and the server's until both directions have ended.
///
/// The end of one direction becomes a shutdown of writing on the other socket after the last byte
/// was handed over, and the other direction lives on. A failure on either socket resets both: the
/// caller must drop them then. So does `half_open`, where one is set, without a byte of the direction that is left.
pub async fn join(
    client: &TcpStream,
    server: &TcpStream,
    pipes: &PipePool,
    meter: &Meter,
    half_open: Option<Duration>,
) -> Result<(), Early> {
    let mut unfinished = Unfinished(Some([client, server]));
    // Pinned here and polled by hand: combinators would each keep a copy of the futures, and these
    // live as long as their connection.
    let mut up = pin!(flow(client, server, pipes, |n| meter.up(n)));
    let mut down = pin!(flow(server, client, pipes, |n| meter.down(n)));
    // A direction that waits for one socket to take bytes does not see the other one break.
    let mut client_reset = pin!(reset(client, Side::Client));
    let mut server_reset = pin!(reset(server, Side::Server));
    let (mut up_ended, mut down_ended) = (false, false);
    let mut silence = None;
    let result = poll_fn(|cx| {
        if !up_ended && let Poll::Ready(result) = up.as_mut().poll(cx) {
            result.map_err(|e| e.into_broken(Side::Client, Side::Server))?;
            up_ended = true;
        }
        if !down_ended && let Poll::Ready(result) = down.as_mut().poll(cx) {
            result.map_err(|e| e.into_broken(Side::Server, Side::Client))?;
            down_ended = true;
        }
        if up_ended && down_ended {
            return Poll::Ready(Ok(()));
        }
        if let (true, Some(limit)) = (up_ended || down_ended, half_open) {
            let silence = silence.get_or_insert_with(|| Silence::new(limit, meter));
            if silence.poll(meter, cx).is_ready() {
                return Poll::Ready(Err(Early::HalfOpen { limit }));
            }
        }
        if let Poll::Ready(broken) = client_reset.as_mut().poll(cx) {
            return Poll::Ready(Err(broken.into()));
        }
        server_reset.as_mut().poll(cx).map(|broken| Err(broken.into()))
    })
    .await;
    if result.is_ok() {
        unfinished.0 = None;
    }
    result
}

/// Which end of a direction failed.
enum FlowError {
    Reading(io::Error),
    Writing(io::Error),
}

/// What a burst left behind.
enum Burst {
    /// The source has nothing more at the moment.
    Idle,
    /// The source has ended; everything was handed over.
    Ended,
    /// More is there than the buffer of the thread takes.
    Bulk,
}

async fn flow(source: &TcpStream, sink: &TcpStream, pipes: &PipePool, count: impl Fn(usize)) -> Result<(), FlowError> {
    let mut streaming = false;
    loop {
        // A source that never runs dry must not keep the others, and the end from outside, waiting.
        tokio::task::consume_budget().await;
        source.readable().await.map_err(FlowError::Reading)?;
        // A burst after a burst of bulk is most likely bulk again: nothing of it needs to pass through here.
        let mut burst = if streaming { Burst::Bulk } else { small(source, sink, &count).await? };
        if matches!(burst, Burst::Bulk) {
            // Without a descriptor for a pipe it goes on through the buffer.
            streaming = false;
            if let Ok(mut pipe) = pipes.lease() {
                let moved;
                (burst, moved) = bulk(source, sink, &mut pipe, &count).await?;
                pipes.give_back(pipe);
                streaming = moved >= SCRATCH;
            }
        }
        if matches!(burst, Burst::Ended) {
            // Already closed by the other side is as good as shut down by us.
            drop(SockRef::from(sink).shutdown(Shutdown::Write));
            return Ok(());
        }
    }
}

/// Moves one message through the thread's buffer.
async fn small(source: &TcpStream, sink: &TcpStream, count: &impl Fn(usize)) -> Result<Burst, FlowError> {
    // Both calls are made before anything is awaited, so the buffer never leaves its thread.
    let (burst, rest) = BUFFER.with_borrow_mut(|buffer| {
        let read = match read_burst(source, buffer) {
            Ok(0) => return Ok((Burst::Ended, Vec::new())),
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok((Burst::Idle, Vec::new())),
            Err(e) => return Err(FlowError::Reading(e)),
        };
        let burst = if read == buffer.len() { Burst::Bulk } else { Burst::Idle };
        let written = match sink.try_write(&buffer[..read]) {
            Ok(written) => written,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
            Err(e) => return Err(FlowError::Writing(e)),
        };
        count(written);
        Ok((burst, buffer[written..read].to_vec()))
    })?;
    let mut rest = rest.as_slice();
    while !rest.is_empty() {
        sink.writable().await.map_err(FlowError::Writing)?;
        match sink.try_write(rest) {
            Ok(written) => {
                count(written);
                rest = &rest[written..];
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(FlowError::Writing(e)),
        }
    }
    Ok(burst)
}

/// Reads what is there. A buffer that was not filled has emptied the socket, and the runtime is told so: to find it out by another
/// read would be a third of the calls of a short message. What comes after this read makes an event of its own.
fn read_burst(source: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    let result = source.try_io(Interest::READABLE, || {
        read = (&*SockRef::from(source)).read(buffer)?;
        if read > 0 && read < buffer.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    if read > 0 { Ok(read) } else { result.map(|()| 0) }
}

/// Moves everything that is there through `pipe`, which is empty again on success. Answers with the bytes moved, too.
async fn bulk(
    source: &TcpStream,
    sink: &TcpStream,
    pipe: &mut Pipe,
    count: &impl Fn(usize),
) -> Result<(Burst, usize), FlowError> {
    let mut total = 0;
    loop {
        tokio::task::consume_budget().await;
        // Only an empty pipe is filled, so that "would block" can only mean an empty source.
        match source.try_io(Interest::READABLE, || pipe.fill(source)) {
            Ok(0) => return Ok((Burst::Ended, total)),
            Ok(moved) => total += moved,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok((Burst::Idle, total)),
            Err(e) => return Err(FlowError::Reading(e)),
        }
        while pipe.held() > 0 {
            match sink.try_io(Interest::WRITABLE, || pipe.drain(sink, false)) {
                Ok(moved) => count(moved),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    sink.writable().await.map_err(FlowError::Writing)?;
                }
                Err(e) => return Err(FlowError::Writing(e)),
            }
        }
    }
}

/// Ends when `socket` was reset; never otherwise.
pub(super) async fn reset(socket: &TcpStream, side: Side) -> Broken {
    loop {
        match socket.ready(Interest::ERROR).await {
            Ok(_) => match socket.take_error() {
                Ok(Some(source)) | Err(source) => return Broken { side, source },
                // A hang-up after both directions ended in order: the flows see to that.
                Ok(None) => std::future::pending().await,
            },
            Err(source) => return Broken { side, source },
        }
    }
}

// === impl FlowError ===

impl FlowError {
    fn into_broken(self, source_side: Side, sink_side: Side) -> Broken {
        match self {
            Self::Reading(source) => Broken { side: source_side, source },
            Self::Writing(source) => Broken { side: sink_side, source },
        }
    }
}

#[cfg(test)]
mod tests;
