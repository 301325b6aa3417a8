//! A small HTTP/1.1 server for read-only pages.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

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

/// What is served at one address.
pub trait Site: Send + Sync + 'static {
    /// The answer to a GET of the request's path, or `None` when there is no such page. It runs on a worker of
    /// the control pool and must not wait.
    fn answer(&self, request: &Parts) -> Option<Answer>;
}

/// A page's text.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub content_type: &'static str,
    pub body: String,
}

// === impl Answer ===

impl Answer {
    pub fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }

    fn into_response(self, head_only: bool) -> Response<Full<Bytes>> {
        let length = HeaderValue::from(self.body.len());
        let body = if head_only { Bytes::new() } else { self.body.into() };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CONTENT_LENGTH, length);
        // The pages show text of others: a browser must not guess that some of it is a script.
        headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        response
    }
}

/// The set of tasks for [`serve`]: `drain` stops accepting, `force` cuts.
pub fn tasks(pool: Handle, panics: Panics, drain: &CancellationToken, force: &CancellationToken) -> Tasks {
    Tasks::new("admin", CONNECTIONS, pool, panics, drain, force)
}

/// Serves `site` on `listener` until `tasks` drains. The listener is bound by the caller, before anything else is
/// started, so that a port in use is an error at start-up. A connection carries one request.
pub async fn serve(listener: TcpListener, site: Arc<dyn Site>, tasks: Tasks) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let accepted = tokio::select! {
            () = tasks.draining().cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            // Full: the stream is dropped, which closes it, and the client may try again.
            Ok((stream, _)) => drop(tasks.spawn(connection(stream, Arc::clone(&site)))),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the admin pages");
                tokio::time::sleep(BACKOFF).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, site: Arc<dyn Site>) {
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (head, _) = request.into_parts();
        let response = respond(&*site, &head);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A client that hangs up, stalls or sends garbage loses its own connection; nobody needs to hear of it.
    drop(tokio::time::timeout(TIMEOUT, served).await);
}

fn respond(site: &dyn Site, head: &Parts) -> Response<Full<Bytes>> {
    let Some(answer) = site.answer(head) else {
        return Answer::text(StatusCode::NOT_FOUND, "no such page\n").into_response(head.method == Method::HEAD);
    };
    match head.method {
        Method::GET => answer.into_response(false),
        Method::HEAD => answer.into_response(true),
        _ => {
            let refused = Answer::text(StatusCode::METHOD_NOT_ALLOWED, "this page can only be read: use GET\n");
            let mut response = refused.into_response(false);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
    }
}

#[cfg(test)]
mod tests;
