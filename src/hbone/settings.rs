//! The numbers of a connection, each with its reason. Those that a peer sees are checked in `docs/features/hbone.md`.

use std::time::Duration;

/// Receive window of a new stream, 256 KiB: full speed at 1 Gbit/s and 2 ms, and cheap when an app does not read.
pub const STREAM_WINDOW: u32 = 256 << 10;
/// Receive window that a stream can grow to, 4 MiB: 10 Gbit/s at 3 ms.
pub const MAX_STREAM_WINDOW: u32 = 4 << 20;
/// Receive window of a connection, the largest there is (RFC 9113 section 6.9.1), so that streams which stall never
/// hold up another. Memory is bounded by the streams' windows and the [`Budget`](super::Budget).
pub const CONNECTION_WINDOW: u32 = Sizes::MOST_WINDOW;
/// Largest frame that we accept, 256 KiB: one frame a read of the far relay. Larger frames would only make the ninth
/// stream wait for the eighth; a frame is in memory whole before its first byte goes on.
pub const MAX_FRAME: u32 = 256 << 10;
/// Header list that a client accepts in an answer, 16 KiB decoded.
pub const CLIENT_HEADER_LIST: u32 = 16 << 10;
/// Header list that a server accepts in a request, 64 KiB decoded.
pub const SERVER_HEADER_LIST: u32 = 64 << 10;
/// Streams at once that a server allows on one connection.
pub const SERVER_STREAMS: u32 = 200;
/// Streams at once that a client puts on one connection, or the peer's limit when it is lower. Half of what a server
/// of ours allows: streams that are being closed still count over there.
pub const CLIENT_STREAMS: usize = 100;
/// Streams that a client opens before the peer's settings have come: one goes out at once, and no more, since the
/// library would hold back what is above the peer's limit until other streams end.
pub(super) const FIRST_STREAMS: usize = 1;
/// Unsent bytes of one stream that are taken before `send` waits, 512 KiB: two frames. A connection holds at most
/// its streams times this.
pub const SEND_BUFFER: usize = 512 << 10;
/// Streams that the peer reset and that nobody took up yet; more is an attack (rapid reset, CVE-2023-44487).
pub const PENDING_RESETS: usize = 20;
/// Streams that we reset and still remember, so that late frames for them are not taken for errors.
pub const REMEMBERED_RESETS: usize = 50;
/// Resets that the peer's errors may make us send over the life of a connection.
pub const LOCAL_ERROR_RESETS: usize = 1024;
/// Streams that the peer gave up before they were answered, less those that it did not; one more ends the connection.
pub const ABANDONED: u32 = 400;

/// Overhead of small DATA frames that wait to be read, 16 MiB a connection: a frame below 256 bytes is charged what it
/// lacks of that, so 65,536 frames of one byte. The library's own default is half of the connection's window, and ours
/// is as good as endless; without this, a peer could make a few bytes of payload cost gigabytes of bookkeeping.
pub const SMALL_FRAMES: usize = 16 << 20;

/// Silence after which the peer is asked with PING, 10 s; only while streams are open.
pub const KEEPALIVE: Duration = Duration::from_secs(10);
/// No answer to a PING for this long: the connection is dead.
pub const DEAD: Duration = Duration::from_secs(20);
/// A client's wait for the server's settings, 5 s. Below [`ANSWER`], so that those who wait for room on a connection
/// hear of a silent peer together.
pub const SETTINGS: Duration = Duration::from_secs(5);
/// Wait for the answer to a CONNECT, 10 s. The far side gives its app as long to accept, and answers 503 by then.
pub const ANSWER: Duration = Duration::from_secs(10);
/// A server's wait for the HTTP/2 preface and then for the first CONNECT, 10 s each.
pub const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// The longest that a connection may go on without a CONNECT that was accepted, also while one is looked at, 30 s: a peer that
/// policy refuses must not keep a place by always having one in the air.
pub const UNACCEPTED: Duration = Duration::from_secs(30);
/// How long after its first GOAWAY a server takes streams that were sent before the peer could know of it, 1 s. The PONG of
/// the PING behind it ends that before; this is for peers that never send one, and some round trips for all others.
pub const LATE: Duration = Duration::from_secs(1);
/// Connection without a stream: a client gives it back after this, 5 min.
pub const IDLE: Duration = Duration::from_secs(300);
/// A server ends a connection without a stream after this, 30 min: clients of others may never do so.
pub const SERVER_IDLE: Duration = Duration::from_secs(1800);

/// What peers are told that they may send before some of it has gone to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes that a stream's window may grow to, 1 to 2^31-1. It starts at [`STREAM_WINDOW`], or here when this is less.
    pub stream_window: u32,
    /// Bytes of the window of all streams of a connection together, 65,535 to 2^31-1: HTTP/2 begins with the least and has no way
    /// to take some back. Below the streams' windows together, streams whose apps do not read stop the others.
    pub connection_window: u32,
    /// Bytes of the largest frame, 16,384 to 16,777,215 (SETTINGS_MAX_FRAME_SIZE, RFC 9113 section 6.5.2).
    pub frame: u32,
}

pub(super) fn client(sizes: Sizes) -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(sizes.first_window())
        .initial_connection_window_size(sizes.connection_window)
        .max_frame_size(sizes.frame)
        .max_header_list_size(CLIENT_HEADER_LIST)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(SMALL_FRAMES)
        .initial_max_send_streams(FIRST_STREAMS)
        .max_concurrent_reset_streams(REMEMBERED_RESETS)
        .max_local_error_reset_streams(Some(LOCAL_ERROR_RESETS))
        .enable_push(false);
    builder
}

pub(super) fn server(sizes: Sizes) -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(sizes.first_window())
        .initial_connection_window_size(sizes.connection_window)
        .max_frame_size(sizes.frame)
        .max_header_list_size(SERVER_HEADER_LIST)
        .max_concurrent_streams(SERVER_STREAMS)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(SMALL_FRAMES)
        .max_concurrent_reset_streams(REMEMBERED_RESETS)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(LOCAL_ERROR_RESETS));
    builder
}

// === impl Sizes ===

impl Sizes {
    /// Of a stream's window and of a connection's: no more is possible (RFC 9113 section 6.9.1).
    pub const MOST_WINDOW: u32 = (1 << 31) - 1;
    /// Of a connection's window: what it begins with (RFC 9113 section 6.9.2).
    pub const LEAST_CONNECTION_WINDOW: u32 = 65_535;
    pub const LEAST_FRAME: u32 = 1 << 14;
    pub const MOST_FRAME: u32 = (1 << 24) - 1;

    /// The window of a stream that has not shown that it needs more.
    pub fn first_window(&self) -> u32 {
        self.stream_window.min(STREAM_WINDOW)
    }

    /// A value that the protocol does not have becomes the nearest that it has.
    pub(super) fn within_protocol(self) -> Self {
        Self {
            stream_window: self.stream_window.clamp(1, Self::MOST_WINDOW),
            connection_window: self.connection_window.clamp(Self::LEAST_CONNECTION_WINDOW, Self::MOST_WINDOW),
            frame: self.frame.clamp(Self::LEAST_FRAME, Self::MOST_FRAME),
        }
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self { stream_window: MAX_STREAM_WINDOW, connection_window: CONNECTION_WINDOW, frame: MAX_FRAME }
    }
}

#[cfg(test)]
mod tests;
