//! A small HTTP/1.1 server for pages, and for the few orders that Istio's tools give.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, ORIGIN, VARY};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::body::{Body, Sent};
use crate::runtime::Panics;
use crate::runtime::tasks::Tasks;

/// How long a client may take to send its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest head, and the buffer a connection has: the smallest that hyper takes.
const HEAD_BYTES: usize = 8192;
/// How long one request may take in all: a client that does not read gives its place back.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Connections at once. A probe, a scraper and a few people need a handful; 64 × 8 KiB is nothing.
const CONNECTIONS: usize = 64;
/// The wait after accept(2) failed, for lack of files for example.
const BACKOFF: Duration = Duration::from_millis(100);

/// Bodies that are written while they are sent, at once at one site: each takes one of the few threads for blocking
/// work, which pods' enrolments need too.
const WRITTEN: usize = 2;

/// What is served at one address.
pub trait Site: Send + Sync + 'static {
    /// The answer to a request whose method the path takes, or `None` when there is no such page. It runs on a worker
    /// of the control pool and must not wait.
    fn answer(&self, request: &Parts) -> Option<Answer>;

    /// How a path may be asked.
    fn verb(&self, path: &str) -> Verb {
        let _ = path;
        Verb::Read
    }
}

/// How many of a site's clients are served at once. Clones share one bound, whichever address a client came to.
#[derive(Clone, Debug)]
pub struct Places {
    tasks: Tasks,
    writers: Arc<Semaphore>,
}

/// Which methods a path takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// All of them.
    Any,
    /// POST alone: it changes something.
    Order,
    /// GET and HEAD.
    Read,
}

/// A page.
pub struct Answer {
    pub status: StatusCode,
    pub content_type: &'static str,
    pub body: Body,
    /// `gzip` and others, when the body is packed so.
    pub encoding: Option<&'static str>,
    /// How long the request may take.
    pub patience: Duration,
}

// === impl Answer ===

impl Answer {
    pub fn new(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Self {
        Self { status, content_type, body: body.into(), encoding: None, patience: TIMEOUT }
    }

    pub fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body.into())
    }

    /// `place` is held while the body is written.
    fn into_response(self, head_only: bool, place: impl Send + 'static) -> Response<Sent> {
        let length = match &self.body {
            Body::Whole(bytes) => Some(HeaderValue::from(bytes.len())),
            Body::Written(_) => None,
        };
        let body = if head_only { Body::from("") } else { self.body };
        let mut response = Response::new(body.send(place));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length);
        }
        if let Some(encoding) = self.encoding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
            headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        }
        // The pages show text of others: a browser must not guess that some of it is a script.
        headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        response
    }
}

/// The places for [`serve`]: `drain` stops accepting, `force` cuts.
pub fn places(pool: Handle, panics: Panics, drain: &CancellationToken, force: &CancellationToken) -> Places {
    let tasks = Tasks::new("admin", CONNECTIONS, pool, panics, drain, force);
    Places { tasks, writers: Arc::new(Semaphore::new(WRITTEN)) }
}

/// Serves `site` on `listener` until `places` drain. The listener is bound by the caller, before anything else is
/// started, so that a port in use is an error at start-up. A connection carries one request.
pub async fn serve(listener: TcpListener, site: Arc<dyn Site>, places: Places) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let Places { tasks, writers } = places;
    loop {
        let accepted = tokio::select! {
            () = tasks.draining().cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            // Full: the stream is dropped, which closes it, and the client may try again.
            Ok((stream, _)) => drop(tasks.spawn(connection(stream, Arc::clone(&site), Arc::clone(&writers)))),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the admin pages");
                tokio::time::sleep(BACKOFF).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, site: Arc<dyn Site>, writers: Arc<Semaphore>) {
    let deadline = Arc::new(Mutex::new(Instant::now() + TIMEOUT));
    let until = || *deadline.lock().unwrap_or_else(PoisonError::into_inner);
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        let (head, _) = request.into_parts();
        let (response, patience) = respond(&*site, &head, &writers);
        *deadline.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + patience;
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    // A client that hangs up, stalls or sends garbage loses its own connection; nobody needs to hear of it.
    loop {
        let at = until();
        tokio::select! {
            _ = &mut served => return,
            () = sleep_until(at) => if until() <= at { return },
        }
    }
}

/// The response, and how long it may take.
fn respond(site: &dyn Site, head: &Parts, writers: &Arc<Semaphore>) -> (Response<Sent>, Duration) {
    let whole = |answer: Answer| (answer.into_response(head.method == Method::HEAD, ()), TIMEOUT);
    let allow = |methods: &'static str, text: &'static str| {
        let (mut response, patience) = whole(Answer::text(StatusCode::METHOD_NOT_ALLOWED, text));
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
        (response, patience)
    };
    let verb = site.verb(head.uri.path());
    if verb == Verb::Order && head.method != Method::POST {
        return allow("POST", "this changes something: use POST\n");
    }
    // A page of some other site, opened by a browser on this host, must not order anything here.
    if verb == Verb::Order && head.headers.contains_key(ORIGIN) {
        return whole(Answer::text(StatusCode::FORBIDDEN, "orders are not taken from pages of a browser\n"));
    }
    let Some(answer) = site.answer(head) else {
        return whole(Answer::text(StatusCode::NOT_FOUND, "no such page\n"));
    };
    if verb == Verb::Read && !matches!(head.method, Method::GET | Method::HEAD) {
        return allow("GET, HEAD", "this page can only be read: use GET\n");
    }
    if matches!(answer.body, Body::Whole(_)) || head.method == Method::HEAD {
        return whole(answer);
    }
    let patience = answer.patience;
    match Arc::clone(writers).try_acquire_owned() {
        Ok(place) => (answer.into_response(false, place), patience),
        Err(_) => whole(Answer::text(StatusCode::SERVICE_UNAVAILABLE, "others are reading: ask again\n")),
    }
}

#[cfg(test)]
mod tests;
