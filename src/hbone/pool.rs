//! Outgoing connections of one pod, shared by its tunnels.
//!
//! A short lock guards the books (`books`) and is never held while something is awaited. Dials and drivers run in the
//! pool's own task, so a caller that goes away takes nothing from the others: they wait for the dial and not for each
//! other.

mod books;
mod config;
mod error;
mod key;

use std::any::Any;
use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::books::{Books, Handed, Limits, Taken};
pub use self::config::Config;
pub use self::error::PoolError;
pub use self::key::{Key, Through};
use super::client::{Answer, Driver, Request, Tunnel};
use super::error::{ConnectionError, TunnelError};
use super::settings::CLIENT_STREAMS;
use super::tunnel::TunnelStream;
use super::window::Budget;
use crate::model::spiffe::Identity;

/// Opens connections for a pool.
pub trait Dial: Send + Sync + 'static {
    /// A TLS stream whose peer was verified to be one of the key's expected identities.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    type Error: Error + Send + Sync + 'static;

    /// Connects and makes the handshake, with deadlines of its own.
    fn dial(&self, key: &Key) -> impl Future<Output = Result<Self::Stream, Self::Error>> + Send;

    /// Which of the expected identities the peer has proven.
    fn peer(stream: &Self::Stream) -> Option<Identity>;

    /// When the connection is no longer to be used, which its peer does not say.
    fn watch(&self, _stream: &Self::Stream) -> Watch {
        Watch::never()
    }
}

/// When a connection is no longer to be used.
pub struct Watch {
    /// It ends at once, with its streams.
    pub cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// It takes no new streams; it ends with the last one that it has.
    pub retire: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// The pool of one pod. Cheap to clone.
pub struct Pool<E: Error + 'static> {
    shared: Arc<Shared<E>>,
}

/// The task behind a [`Pool`].
#[must_use = "nothing is dialled unless this runs"]
pub struct PoolTask<D: Dial> {
    budget: Budget,
    dialler: Arc<D>,
    orders: mpsc::UnboundedReceiver<Arc<Key>>,
    shared: Arc<Shared<D::Error>>,
}

struct Shared<E: Error + 'static> {
    books: Mutex<Books<Lease<E>, PoolError<E>>>,
    config: Config,
    /// Keys to dial. Bounded by `max_connections`, which the books count dials against.
    orders: mpsc::UnboundedSender<Arc<Key>>,
    /// A connection has become idle and no sweep was planned.
    idle: tokio::sync::Notify,
}

/// One stream's place on a connection. Its drop makes room for the next.
struct Lease<E: Error + 'static> {
    connection: u64,
    key: Arc<Key>,
    /// How many streams the connection had with this one.
    ordinal: usize,
    shared: Arc<Shared<E>>,
    tunnel: Tunnel,
}

/// Tries of one CONNECT. The second and third only follow when the peer has not looked at the one before.
const TRIES: usize = 3;

// === impl Watch ===

impl Watch {
    pub fn never() -> Self {
        Self { cut: Box::pin(std::future::pending()), retire: Box::pin(std::future::pending()) }
    }
}

// === impl Pool ===

impl<E: Error> Clone for Pool<E> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<E: Error + Send + Sync + 'static> Pool<E> {
    /// Builds a pool and its task; nothing runs yet. All its streams are charged to `budget`.
    pub fn build<D: Dial<Error = E>>(config: Config, budget: Budget, dialler: D) -> (Self, PoolTask<D>) {
        let (sender, orders) = mpsc::unbounded_channel();
        let limits = Limits {
            connections: config.max_connections,
            waiters: config.max_waiters,
            streams: config.max_streams.clamp(1, CLIENT_STREAMS),
            fresh: config.fresh,
        };
        let books = Mutex::new(Books::new(limits));
        let shared = Arc::new(Shared { books, config, orders: sender, idle: tokio::sync::Notify::new() });
        let task = PoolTask { budget, dialler: Arc::new(dialler), orders, shared: Arc::clone(&shared) };
        (Self { shared }, task)
    }

    /// Opens a tunnel on a connection for `key`, a new one when none has room. Dropped, it leaves no trace; a dial
    /// that was begun for it goes on for the others, or waits idle for the next.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub async fn connect(&self, key: &Arc<Key>, request: &Request) -> Result<(TunnelStream, Answer), PoolError<E>> {
        let mut tries = 1;
        loop {
            let lease = self.lease(key).await?;
            let tunnel = lease.tunnel.clone();
            let unsettled = !tunnel.is_settled();
            // The peer's limit may have come after the place was given out; then the stream would wait for another's end.
            let result = if lease.ordinal > tunnel.limit() {
                drop(lease);
                Err(TunnelError::NotTaken)
            } else {
                tunnel.connect(request, Some(Box::new(lease) as Box<dyn Any + Send + Sync>)).await
            };
            // A limit of 1 is no change from the one before it was known, so nobody else tells the waiters.
            if unsettled && tunnel.is_settled() {
                self.shared.rebalance(key);
            }
            match result {
                Ok(tunnel) => return Ok(tunnel),
                Err(error) if error.is_retryable() && tries < TRIES => tries += 1,
                Err(source) => return Err(PoolError::Tunnel { destination: key.destination(), source }),
            }
        }
    }

    /// Open connections, with and without streams.
    pub fn connections(&self) -> usize {
        self.shared.lock().connections()
    }

    async fn lease(&self, key: &Arc<Key>) -> Result<Lease<E>, PoolError<E>> {
        let taken = self.shared.lock().take(key, Instant::now());
        let waiting = match taken {
            Taken::Full { limit } => return Err(PoolError::Full { limit }),
            Taken::Given(place) => return Ok(self.shared.lease(key, place)),
            Taken::Wait { answer, dials } => {
                self.shared.order(key, dials)?;
                answer
            }
        };
        waiting.await.unwrap_or(Err(PoolError::Closed))
    }
}

// === impl Shared ===

impl<E: Error + 'static> Shared<E> {
    fn lock(&self) -> MutexGuard<'_, Books<Lease<E>, PoolError<E>>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lease(self: &Arc<Self>, key: &Arc<Key>, place: books::Place) -> Lease<E> {
        let books::Place { connection, ordinal, tunnel } = place;
        Lease { connection, key: Arc::clone(key), ordinal, shared: Arc::clone(self), tunnel }
    }

    /// Sees to those who wait for `key` after a connection of it has gone or stopped taking streams.
    fn rebalance(&self, key: &Arc<Key>) {
        let (dials, stuck) = self.lock().rebalance(key, Instant::now());
        // An error means that the task has ended; it has answered the waiters then.
        drop(self.order(key, dials));
        for waiter in stuck {
            drop(waiter.send(Err(PoolError::Full { limit: self.config.max_connections })));
        }
    }

    /// Takes a connection out; its streams go on. Those who waited for its room get another.
    fn retire(&self, key: &Arc<Key>, connection: u64) {
        self.lock().remove(connection);
        self.rebalance(key);
    }

    fn order(&self, key: &Arc<Key>, dials: usize) -> Result<(), PoolError<E>> {
        (0..dials).try_for_each(|_| self.orders.send(Arc::clone(key)).map_err(|_| PoolError::Closed))
    }

    /// Gives places to waiters. A waiter that went away in between gives its place back by the lease's drop.
    fn hand(self: &Arc<Self>, key: &Arc<Key>, handed: Handed<Lease<E>, PoolError<E>>) {
        let Handed { dials, places } = handed;
        for (waiter, place) in places {
            drop(waiter.send(Ok(self.lease(key, place))));
        }
        // An error means that the task has ended; it has answered the waiters then.
        drop(self.order(key, dials));
    }
}

// === impl Lease ===

impl<E: Error + 'static> Drop for Lease<E> {
    fn drop(&mut self) {
        let now = Instant::now();
        let shared = &self.shared;
        let mut books = shared.lock();
        let sweep = books.release(self.connection, now, shared.config.idle);
        let next = books.next_waiter(self.connection);
        drop(books);
        if sweep {
            shared.idle.notify_one();
        }
        match next {
            // A waiter that has gone away gives the place back by the drop of what it did not take.
            Some((waiter, place)) => drop(waiter.send(Ok(shared.lease(&self.key, place)))),
            // While the peer's settings have not come, its driver's end decides for all who wait.
            None if self.tunnel.is_settled() => shared.rebalance(&self.key),
            None => {}
        }
    }
}

// === impl PoolTask ===

type Dialled<S, E> = Result<(Tunnel, Box<Driver<S>>, Watch), PoolError<E>>;

enum Done<S, E: Error + 'static> {
    Dialled(Arc<Key>, Dialled<S, E>),
    /// With the error of a connection whose peer never said a word of HTTP/2.
    Ended(u64, Arc<Key>, Option<ConnectionError>),
}

impl<D: Dial> PoolTask<D> {
    /// Dials and drives until `shutdown`; then waiters get [`PoolError::Closed`] and every connection ends abruptly.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut tasks: JoinSet<Done<D::Stream, D::Error>> = JoinSet::new();
        // A task that panics takes its result with it, so what it was for is written down here.
        let mut dials: HashMap<Id, Arc<Key>> = HashMap::new();
        loop {
            let sweep = self.shared.lock().sweep_at();
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(key) = self.orders.recv() => {
                    let dial = dial(Arc::clone(&self.dialler), Arc::clone(&key), self.budget.clone(), self.shared.config.dial);
                    dials.insert(tasks.spawn(dial).id(), key);
                }
                Some(done) = tasks.join_next_with_id() => match done {
                    Ok((id, Done::Dialled(key, result))) => {
                        dials.remove(&id);
                        self.dialled(&key, result, &mut tasks);
                    }
                    Ok((_, Done::Ended(connection, key, unsettled))) => {
                        self.shared.lock().remove(connection);
                        if let Some(source) = unsettled {
                            // As good as a dial that failed: those who wait for its room are told the same.
                            let error = PoolError::Open { destination: key.destination(), source };
                            let waiters = self.shared.lock().give_up(&key);
                            for waiter in waiters {
                                drop(waiter.send(Err(error.clone())));
                            }
                        }
                        self.shared.rebalance(&key);
                    }
                    Err(error) => {
                        tracing::error!(%error, "a connection's task ended abnormally");
                        if let Some(key) = dials.remove(&error.id()) {
                            self.dialled(&key, Err(PoolError::Closed), &mut tasks);
                        }
                    }
                },
                () = self.shared.idle.notified() => {}
                () = async { sleep_until(sweep.unwrap_or_else(Instant::now)).await }, if sweep.is_some() => {
                    let expired = self.shared.lock().sweep(Instant::now(), self.shared.config.idle);
                    // Outside of the lock: the last handle of a connection wakes its driver.
                    drop(expired);
                }
            }
        }
        self.orders.close();
        let waiters = self.shared.lock().close();
        for waiter in waiters {
            drop(waiter.send(Err(PoolError::Closed)));
        }
    }

    fn dialled(
        &self,
        key: &Arc<Key>,
        result: Dialled<D::Stream, D::Error>,
        tasks: &mut JoinSet<Done<D::Stream, D::Error>>,
    ) {
        match result {
            Ok((tunnel, driver, mut watch)) => {
                let cut = tunnel.cut().clone();
                let (connection, handed) =
                    self.shared.lock().dialled(key, tunnel, Instant::now(), self.shared.config.idle);
                let driven = Arc::clone(key);
                let shared = Arc::clone(&self.shared);
                tasks.spawn(async move {
                    let (served, books) = (Arc::clone(&driven), Arc::clone(&shared));
                    let on_limit = move || {
                        let handed = books.lock().serve(&served, connection);
                        books.hand(&served, handed);
                    };
                    let mut retired = false;
                    let mut running = Box::pin(driver.run(on_limit));
                    let error = loop {
                        tokio::select! {
                            biased;
                            () = &mut watch.cut => {
                                shared.retire(&driven, connection);
                                cut.cancel();
                                break None;
                            }
                            ended = &mut running => break ended.err(),
                            () = &mut watch.retire, if !retired => {
                                retired = true;
                                shared.retire(&driven, connection);
                            }
                        }
                    };
                    if let Some(error) = &error {
                        tracing::debug!(destination = %driven.destination(), %error, "a connection ended");
                    }
                    let unsettled = error.filter(|error| matches!(error, ConnectionError::Idle { .. }));
                    Done::Ended(connection, driven, unsettled)
                });
                self.shared.hand(key, handed);
            }
            Err(error) => {
                let waiters = self.shared.lock().failed(key);
                for waiter in waiters {
                    drop(waiter.send(Err(error.clone())));
                }
            }
        }
    }
}

async fn dial<D: Dial>(dialler: Arc<D>, key: Arc<Key>, budget: Budget, limit: Duration) -> Done<D::Stream, D::Error> {
    let destination = key.destination();
    let opened = async {
        let failed = |error| PoolError::Dial { destination, source: Arc::new(error) };
        let stream = dialler.dial(&key).await.map_err(failed)?;
        let (peer, watch) = (D::peer(&stream), dialler.watch(&stream));
        // Within the limit as well: in a tunnel whose far end takes no bytes, the preface would wait for ever.
        let opened = Tunnel::open(stream, &budget).await;
        let (tunnel, driver) = opened.map_err(|source| PoolError::Open { destination, source })?;
        Ok((tunnel.with_peer(peer), Box::new(driver), watch))
    };
    let result = timeout(limit, opened).await.unwrap_or(Err(PoolError::DialTimeout { destination, limit }));
    Done::Dialled(key, result)
}

/// Answers of the pool to a waiter.
type Waiter<L, E> = oneshot::Sender<Result<L, E>>;

#[cfg(test)]
mod tests;
