//! A panic of one task, caught where it happens and counted.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

/// How many panics were caught since the start. A clone counts into the same number.
#[derive(Clone, Debug, Default)]
pub struct Panics(Arc<AtomicU64>);

/// What a task said when it panicked: a bug of ours, always.
#[derive(Debug, thiserror::Error)]
#[error("panicked: {message}")]
pub struct Panic {
    message: String,
}

// === impl Panics ===

impl Panics {
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Runs `work` to its end; a panic becomes an error, is counted and logged with `task`.
    pub(super) async fn caught<F: Future>(&self, task: &str, work: F) -> Result<F::Output, Panic> {
        let mut work = pin!(work);
        // The future is never polled again after a panic, so nobody sees a half-made state of it.
        let result = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(payload) => Poll::Ready(Err(Panic { message: message(&*payload) })),
        })
        .await;
        if let Err(panic) = &result {
            self.0.fetch_add(1, Ordering::Relaxed);
            tracing::error!(task, error = %panic, "a task panicked: please report this as a bug");
        }
        result
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}
