//! A TCP socket and a tunnel's stream joined.
//!
//! An idle connection holds no buffer: bytes are asked for once there are some, and what the far
//! side's window does not take stays in the kernel.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use socket2::SockRef;
use tokio::net::TcpStream;

use super::joined::reset;
use super::silence::Silence;
use super::{Broken, Early, Meter, Side};
use crate::hbone::tunnel::{End, RecvHalf, ResetKind, SendHalf, TunnelStream};
use crate::sys::socket::reset_on_close;

/// First read of a burst: a request or a small answer.
const MIN_READ: usize = 8 * 1024;
/// Largest read, for bulk: 16 TLS records.
const MAX_READ: usize = 256 * 1024;
/// Chunks of one write; the kernel takes up to 1024 (UIO_MAXIOV), and few are ever there.
const MAX_CHUNKS: usize = 32;

/// How long what came before a reset waits for a socket that takes nothing; every byte that it takes gives it as much again.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Counts bytes of one direction.
type Count = fn(&Meter, usize);

/// What a reset of the stream by the far side means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resets {
    /// What its code says: a node proxy tells a reset from a close.
    Tell,
    /// A close after all data.
    Close,
}

/// Why a direction stopped before its end.
enum Stop {
    Socket(io::Error),
    Tunnel(ResetKind),
    /// One direction had ended, and the other was silent for this long.
    HalfOpen(Duration),
}

/// Resets both sides when the relay is given up before its end: what is cut must not look complete.
struct Unfinished<'a> {
    socket: &'a TcpStream,
    send: SendHalf,
    is_over: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.send.reset(ResetKind::Connect);
            reset_on_close(self.socket);
        }
    }
}

/// Joins `socket`, which is the `side` of the connection, with `tunnel` until both directions have ended.
///
/// FIN and END_STREAM are each other, and the opposite direction lives on. A reset of the socket becomes
/// CONNECT_ERROR and the other way round. A stream that is cancelled is a plain close after all data: so
/// ends every stream of a proxy that does not tell one from the other.
///
/// A waypoint resets every stream when it is done with it, whole or not, with whatever code (Envoy: CONNECT_ERROR after a
/// complete answer), so with [`Resets::Close`] each of them is such a close.
///
/// Once one direction has ended, `half_open` without a byte of the other one, where it is set, resets both.
pub async fn join(
    socket: &TcpStream,
    side: Side,
    tunnel: TunnelStream,
    resets: Resets,
    meter: &Meter,
    half_open: Option<Duration>,
) -> Result<(), Early> {
    let (mut recv, send) = tunnel.split();
    let mut near = Unfinished { socket, send, is_over: false };
    let (sent, received): (Count, Count) = match side {
        Side::Server => (Meter::down, Meter::up),
        Side::Client => (Meter::up, Meter::down),
    };
    let stop = {
        // Pinned and polled by hand, see `joined::join`.
        let finished = AtomicBool::new(false);
        let mut out = pin!(to_tunnel(socket, &mut near.send, resets, &finished, |n| sent(meter, n)));
        let mut back = pin!(to_socket(socket, &mut recv, resets, |n| received(meter, n)));
        let mut socket_reset = pin!(reset(socket, side));
        let (mut far_reset, mut back_ended) = (None, false);
        let (mut last_words, mut silence) = (None, None);
        poll_fn(|cx| {
            if far_reset.is_none()
                && let Poll::Ready(result) = out.as_mut().poll(cx)
            {
                match result {
                    Ok(kind) => far_reset = Some(kind),
                    Err(stop) => return Poll::Ready(Some(stop)),
                }
            }
            if !back_ended && let Poll::Ready(result) = back.as_mut().poll(cx) {
                match result {
                    Ok(()) => back_ended = true,
                    // A close that did not wait for our direction.
                    Err(Stop::Tunnel(ResetKind::Cancel)) => return Poll::Ready(None),
                    Err(stop) => return Poll::Ready(Some(stop)),
                }
            }
            match far_reset {
                _ if finished.load(Ordering::Relaxed) && back_ended => return Poll::Ready(None),
                // All that came was handed over; what could not be sent is lost, unless the far
                // side only did not want it any more.
                Some(ResetKind::Cancel) if back_ended => return Poll::Ready(None),
                Some(kind) if back_ended => return Poll::Ready(Some(Stop::Tunnel(kind))),
                // An application that does not read would keep what came, and all of this, for as long as it lives.
                Some(kind) if kind != ResetKind::Cancel => {
                    let last_words = last_words.get_or_insert_with(|| Silence::new(LAST_WORDS, meter));
                    if last_words.poll(meter, cx).is_ready() {
                        return Poll::Ready(Some(Stop::Tunnel(kind)));
                    }
                }
                _ => {}
            }
            if let (true, Some(limit)) =
                (finished.load(Ordering::Relaxed) || far_reset.is_some() || back_ended, half_open)
            {
                let silence = silence.get_or_insert_with(|| Silence::new(limit, meter));
                if silence.poll(meter, cx).is_ready() {
                    return Poll::Ready(Some(Stop::HalfOpen(limit)));
                }
            }
            socket_reset.as_mut().poll(cx).map(|broken| Some(Stop::Socket(broken.source)))
        })
        .await
    };
    near.is_over = true;
    match stop {
        None => Ok(()),
        Some(Stop::Socket(source)) => {
            near.send.reset(ResetKind::Connect);
            reset_on_close(socket);
            Err(Broken { side, source }.into())
        }
        Some(Stop::HalfOpen(limit)) => {
            near.send.reset(ResetKind::Connect);
            reset_on_close(socket);
            Err(Early::HalfOpen { limit })
        }
        Some(Stop::Tunnel(kind)) => {
            reset_on_close(socket);
            let far = if side == Side::Client { Side::Server } else { Side::Client };
            let what = match kind {
                ResetKind::Connect => "the connection behind the tunnel was reset",
                ResetKind::Lost => "the tunnel was lost",
                ResetKind::Cancel | ResetKind::Other | ResetKind::Refused => "the far side reset the stream",
            };
            Err(Broken { side: far, source: io::Error::new(io::ErrorKind::ConnectionReset, what) }.into())
        }
    }
}

// === impl Resets ===

impl Resets {
    /// A connection that is lost is no reset of the stream.
    const fn read(self, kind: ResetKind) -> ResetKind {
        match (self, kind) {
            (Self::Tell, kind) => kind,
            (Self::Close, ResetKind::Lost) => ResetKind::Lost,
            (Self::Close, _) => ResetKind::Cancel,
        }
    }
}

/// From the socket into the tunnel. Answers with the kind when the far side has reset the stream, also after `finished`
/// was set because the socket has ended: what comes back may wait for an application that does not read.
async fn to_tunnel(
    socket: &TcpStream,
    send: &mut SendHalf,
    resets: Resets,
    finished: &AtomicBool,
    count: impl Fn(usize),
) -> Result<ResetKind, Stop> {
    let mut want = MIN_READ;
    let mut buffer = BytesMut::new();
    loop {
        // Nothing is held while nothing comes.
        if buffer.capacity() > 0 && !is_readable_now(socket) {
            buffer = BytesMut::new();
            want = MIN_READ;
        }
        tokio::select! {
            biased;
            ready = socket.readable() => ready.map_err(Stop::Socket)?,
            kind = send.was_reset() => return Ok(resets.read(kind)),
        }
        let room = match send.ready(want).await {
            Ok(room) => room,
            Err(kind) => return Ok(resets.read(kind)),
        };
        buffer.reserve(room.min(want));
        match socket.try_read_buf(&mut buffer) {
            Ok(0) => match send.finish() {
                Ok(()) => break,
                Err(kind) => return Ok(resets.read(kind)),
            },
            Ok(read) => {
                want = if read >= want { (want * 2).min(MAX_READ) } else { want };
                let mut bytes = buffer.split().freeze();
                if let Err(kind) = send.send(&mut bytes).await {
                    return Ok(resets.read(kind));
                }
                count(read);
            }
            // Every burst ends here. What was granted is the connection's, and some peers' have room for few streams.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => send.give_up_room(),
            Err(e) => return Err(Stop::Socket(e)),
        }
    }
    finished.store(true, Ordering::Relaxed);
    drop(buffer);
    Ok(resets.read(send.was_reset().await))
}

/// True when the runtime has not seen the socket run empty since it was last readable.
fn is_readable_now(socket: &TcpStream) -> bool {
    let readable = pin!(socket.readable());
    matches!(readable.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(_))
}

/// From the tunnel into the socket. Windows are given back as bytes are written.
async fn to_socket(socket: &TcpStream, recv: &mut RecvHalf, resets: Resets, count: impl Fn(usize)) -> Result<(), Stop> {
    let mut end = None;
    let mut chunks: Vec<Bytes> = Vec::new();
    while end.is_none() {
        match recv.recv().await {
            Ok(bytes) => chunks.push(bytes),
            Err(e) => end = Some(e),
        }
        let mut total: usize = chunks.iter().map(Bytes::len).sum();
        while end.is_none() && total < MAX_READ && chunks.len() < MAX_CHUNKS {
            match recv.try_recv() {
                Some(Ok(bytes)) => {
                    total += bytes.len();
                    chunks.push(bytes);
                }
                Some(Err(e)) => end = Some(e),
                None => break,
            }
        }
        write_all(socket, &mut chunks, recv, &count).await?;
        // An idle connection keeps no list either.
        chunks = Vec::new();
    }
    let end = end.map(|end| match end {
        End::Reset(kind) => End::Reset(resets.read(kind)),
        End::Finished => End::Finished,
    });
    // A FIN ahead of the reset would tell the application that it has everything.
    if let Some(End::Reset(kind)) = &end
        && *kind != ResetKind::Cancel
    {
        return Err(Stop::Tunnel(*kind));
    }
    // What came before is written. A shutdown fails only on a socket that is already gone.
    drop(SockRef::from(socket).shutdown(Shutdown::Write));
    match end {
        Some(End::Reset(kind)) => Err(Stop::Tunnel(kind)),
        Some(End::Finished) | None => Ok(()),
    }
}

async fn write_all(
    socket: &TcpStream,
    chunks: &mut [Bytes],
    recv: &mut RecvHalf,
    count: &impl Fn(usize),
) -> Result<(), Stop> {
    let mut first = 0;
    while first < chunks.len() {
        let written = match write_some(socket, &chunks[first..]) {
            Ok(written) => written,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                socket.writable().await.map_err(Stop::Socket)?;
                continue;
            }
            Err(e) => return Err(Stop::Socket(e)),
        };
        count(written);
        recv.release(written);
        let mut left = written;
        while left > 0 {
            let step = left.min(chunks[first].len());
            chunks[first].advance(step);
            left -= step;
            if chunks[first].is_empty() {
                // Frees the frame now and not with the whole batch.
                chunks[first] = Bytes::new();
                first += 1;
            }
        }
    }
    Ok(())
}

/// One write of as many chunks as a call takes.
fn write_some(socket: &TcpStream, chunks: &[Bytes]) -> io::Result<usize> {
    let slices: [IoSlice<'_>; MAX_CHUNKS] =
        std::array::from_fn(|i| IoSlice::new(chunks.get(i).map_or(&[], |chunk| chunk.as_ref())));
    socket.try_write_vectored(&slices[..chunks.len().min(MAX_CHUNKS)])
}

#[cfg(test)]
mod tests;
