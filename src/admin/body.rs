//! The body of an answer: whole, or written while it is sent.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc;

/// What an answer says.
pub enum Body {
    Whole(Bytes),
    /// Written on a thread for blocking work while it is sent. An error cuts the answer, so that a client does not take
    /// half of it for all.
    Written(Box<Writer>),
}

/// What writes a body.
pub type Writer = dyn FnOnce(&mut Sink) -> io::Result<()> + Send;

/// Where a body is written. It waits for a client that reads slowly, and fails when it has gone.
pub struct Sink {
    chunk: Vec<u8>,
    to: mpsc::Sender<io::Result<Bytes>>,
}

/// A body as hyper takes it.
pub(super) enum Sent {
    Whole(Option<Bytes>),
    Chunks(mpsc::Receiver<io::Result<Bytes>>),
}

/// Bytes of a chunk.
const CHUNK: usize = 64 * 1024;
/// Chunks on their way; with [`CHUNK`] the memory of an answer of any length.
const CHUNKS: usize = 4;

// === impl Body ===

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Whole(text.into())
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::Whole(text.into())
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Whole(bytes.into())
    }
}

impl Body {
    pub fn written(write: impl FnOnce(&mut Sink) -> io::Result<()> + Send + 'static) -> Self {
        Self::Written(Box::new(write))
    }

    /// Starts writing. `place` is held until the writer has ended.
    pub(super) fn send(self, place: impl Send + 'static) -> Sent {
        let write = match self {
            Self::Whole(bytes) => return Sent::Whole(Some(bytes)),
            Self::Written(write) => write,
        };
        let (to, chunks) = mpsc::channel(CHUNKS);
        let mut sink = Sink { chunk: Vec::with_capacity(CHUNK), to };
        // It ends by itself: with its work, or with the client.
        drop(tokio::task::spawn_blocking(move || {
            if let Err(error) = write(&mut sink).and_then(|()| sink.flush()) {
                drop(sink.to.blocking_send(Err(error)));
            }
            drop(place);
        }));
        Sent::Chunks(chunks)
    }
}

// === impl Sink ===

impl Sink {
    /// False when the client has gone.
    pub fn is_wanted(&self) -> bool {
        !self.to.is_closed()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == CHUNK {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.to.blocking_send(Ok(chunk.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

// === impl Sent ===

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Whole(bytes) => {
                Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Chunks(chunks) => chunks.poll_recv(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Chunks(_) => SizeHint::default(),
        }
    }
}
