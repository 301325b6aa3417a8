//! A request's body that says when it grows, and that bounds each message before it is all there.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::watch;
use tonic::Status;

use super::router::Body;

/// Bytes of messages: of a stream's first one, and of those after it.
#[derive(Clone, Copy, Debug)]
pub struct Largest {
    pub first: usize,
    pub later: usize,
}

/// Changes with each piece of the body. Among a request's extensions.
#[derive(Clone, Debug)]
pub struct Progress(pub watch::Receiver<()>);

/// The body.
#[derive(Debug)]
pub struct Metered {
    inner: Body,
    lengths: Lengths,
    progress: watch::Sender<()>,
}

/// Where messages begin: each has a byte of flags and four of its length before it.
#[derive(Debug)]
struct Lengths {
    largest: Largest,
    messages: u64,
    head: Vec<u8>,
    /// Of the message that is being read.
    left: usize,
}

const HEAD: usize = 5;

// === impl Metered ===

impl Metered {
    /// The request with its body metered, and a [`Progress`] among its extensions.
    pub fn wrap(request: http::Request<Body>, largest: Largest) -> http::Request<Self> {
        let (progress, receiver) = watch::channel(());
        let lengths = Lengths { largest, messages: 0, head: Vec::new(), left: 0 };
        let mut request = request.map(|inner| Self { inner, lengths, progress });
        request.extensions_mut().insert(Progress(receiver));
        request
    }
}

impl hyper::body::Body for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            this.progress.send_replace(());
            if let Err(status) = this.lengths.pass(data) {
                return Poll::Ready(Some(Err(status)));
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

// === impl Lengths ===

impl Lengths {
    fn pass(&mut self, mut data: &[u8]) -> Result<(), Status> {
        while !data.is_empty() {
            if self.left > 0 {
                let (_, rest) = data.split_at(self.left.min(data.len()));
                self.left -= data.len() - rest.len();
                data = rest;
                continue;
            }
            let (some, rest) = data.split_at((HEAD - self.head.len()).min(data.len()));
            self.head.extend(some);
            data = rest;
            if let [_, length @ ..] = self.head.as_slice()
                && let Ok(length) = <[u8; 4]>::try_from(length)
            {
                self.left = u32::from_be_bytes(length) as usize;
                self.head.clear();
                let most = if self.messages == 0 { self.largest.first } else { self.largest.later };
                self.messages += 1;
                if self.left > most {
                    let text = format!("a message of {} bytes: {most} is the limit", self.left);
                    return Err(Status::resource_exhausted(text));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
        bytes.resize(HEAD + length, 7);
        bytes
    }

    #[test]
    fn the_first_message_may_be_large_and_later_ones_may_not() {
        let all = [message(100), message(0), message(10), message(11)].concat();
        for piece in 1..all.len() {
            let largest = Largest { first: 100, later: 10 };
            let mut lengths = Lengths { largest, messages: 0, head: Vec::new(), left: 0 };
            // It is found by its head, before its body is there.
            let good = all.len() - 11 - 1;
            assert!(all[..good].chunks(piece).all(|data| lengths.pass(data).is_ok()), "{piece}");
            assert!(lengths.pass(&all[good..=good]).is_err(), "{piece}");
            let mut lengths = Lengths { largest, messages: 0, head: Vec::new(), left: 0 };
            assert!(lengths.pass(&message(101)[..HEAD]).is_err());
        }
    }
}
