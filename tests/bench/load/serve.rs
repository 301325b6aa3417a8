//! The server of a pod: streams on threads, requests and what is never read on one thread with epoll.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Context as _;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use super::requests::{LAST, LAST_AT, SIZE, response};
use super::{REQUEST_PORT, SERVING, STREAM_PORT, STUFF_PORT, flood, stream};

/// The kernel's own limit (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Serves until the process is killed.
pub(super) fn serve() -> anyhow::Result<()> {
    let streams = listen(STREAM_PORT)?;
    let requests = listen(REQUEST_PORT)?;
    let stuffed = listen(STUFF_PORT)?;
    requests.set_nonblocking(true)?;
    stuffed.set_nonblocking(true)?;
    super::say(SERVING)?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for stream in streams.incoming().flatten() {
                // A client that went away tells its own story.
                std::thread::spawn(|| drop(stream::server(stream)));
            }
        });
        answer(requests, stuffed)
    })
}

fn listen(port: u16) -> anyhow::Result<TcpListener> {
    let make = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&std::net::SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
        socket.listen(BACKLOG)?;
        std::io::Result::Ok(socket.into())
    };
    make().with_context(|| format!("cannot listen on port {port}"))
}

fn answer(requests: TcpListener, stuffed: TcpListener) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let requests = tokio::net::TcpListener::from_std(requests)?;
        let stuffed = tokio::net::TcpListener::from_std(stuffed)?;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = requests.accept() => {
                    let (stream, _) = accepted.context("cannot accept")?;
                    connections.spawn(async move { drop(connection(stream).await) });
                }
                accepted = stuffed.accept() => {
                    let (stream, _) = accepted.context("cannot accept")?;
                    connections.spawn(flood::stuffed(stream));
                }
            }
            // Those that ended give their memory back.
            while connections.try_join_next().is_some() {}
        }
    })
}

async fn connection(mut stream: tokio::net::TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let response = response();
    let mut request = [0; SIZE];
    loop {
        stream.read_exact(&mut request).await?;
        stream.write_all(&response).await?;
        if request[LAST_AT] == LAST {
            return Ok(());
        }
    }
}
