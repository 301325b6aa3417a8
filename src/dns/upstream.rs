//! Asking a name server, from inside the pod's namespace and with its address.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::message::Message;
use crate::sys::netns::Netns;
use crate::sys::socket;

/// All tries of a question together: a resolver gives up, or asks again, after 5 s by default (resolv.conf(5)).
pub(super) const LIMIT: Duration = Duration::from_millis(4500);
/// One try of one server, so that there are three.
const TRY: Duration = Duration::from_millis(1500);
const TRIES: usize = 3;
/// Datagrams of a server that answer something else, after which the try is over: who guesses ids gets no more.
const GUESSES: usize = 32;
/// The largest datagram.
const DATAGRAM: usize = 65_535;

/// The sockets of one pod towards name servers.
#[derive(Debug)]
pub(super) struct Upstream {
    pub netns: Netns,
    /// By which they pass the redirect; 0 is none.
    pub mark: u32,
}

/// Why nobody answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// Configuration.
    #[error("there is no name server to ask: /etc/resolv.conf of the daemon names none")]
    NoServers,
    /// The server, or the way to it.
    #[error("the name server cannot be reached")]
    Unreachable(#[source] io::Error),
    /// The server, or the way to it.
    #[error("no name server answered within {} ms", LIMIT.as_millis())]
    Timeout,
}

// === impl Upstream ===

impl Upstream {
    /// Asks by UDP: `query` byte for byte, the answer as it came. A question is asked again where no answer comes; what
    /// `changes` something at the server goes to each of them once, for only its sender knows whether to repeat it.
    pub(super) async fn datagram(
        &self,
        query: Message<'_>,
        servers: &[SocketAddr],
        changes: bool,
    ) -> Result<Vec<u8>, Unanswered> {
        let end = Instant::now() + LIMIT;
        let mut last = Unanswered::NoServers;
        let tries = if changes { servers.len() } else { TRIES };
        for (at, server) in servers.iter().cycle().take(if servers.is_empty() { 0 } else { tries }).enumerate() {
            let patient = changes && at + 1 == tries;
            let until = if patient { end } else { end.min(Instant::now() + TRY) };
            last = match timeout_at(until, self.try_datagram(query, *server)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => Unanswered::Unreachable(error),
                Err(_) => Unanswered::Timeout,
            };
        }
        Err(last)
    }

    async fn try_datagram(&self, query: Message<'_>, server: SocketAddr) -> io::Result<Vec<u8>> {
        let mark = self.mark;
        let made = self.netns.run_async(move || socket::datagrams_to(server, mark)).await;
        let socket = UdpSocket::from_std(made.map_err(io::Error::other)??)?;
        socket.send(query.bytes()).await?;
        for _ in 0..GUESSES {
            // That nobody listens there is an error of the socket and nothing to read.
            if socket.ready(Interest::READABLE | Interest::ERROR).await?.is_error() {
                let error = socket.take_error()?;
                return Err(error.unwrap_or_else(|| io::ErrorKind::ConnectionRefused.into()));
            }
            // Room is made when something is there: many questions may wait at once.
            let mut answer = Vec::with_capacity(DATAGRAM);
            match socket.try_recv_buf(&mut answer) {
                Ok(_) if Message::new(&answer).is_some_and(|message| message.answers(query)) => {
                    answer.shrink_to_fit();
                    return Ok(answer);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "it answers other questions than are asked"))
    }

    /// Asks by TCP, each server once. The stream is for what else the server says (a zone's transfer).
    pub(super) async fn stream(
        &self,
        query: Message<'_>,
        servers: &[SocketAddr],
    ) -> Result<(Vec<u8>, TcpStream), Unanswered> {
        let end = Instant::now() + LIMIT;
        let mut last = Unanswered::NoServers;
        for (at, server) in servers.iter().enumerate() {
            let until = if at + 1 == servers.len() { end } else { end.min(Instant::now() + TRY) };
            last = match timeout_at(until, self.try_stream(query, *server)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => Unanswered::Unreachable(error),
                Err(_) => Unanswered::Timeout,
            };
        }
        Err(last)
    }

    async fn try_stream(&self, query: Message<'_>, server: SocketAddr) -> io::Result<(Vec<u8>, TcpStream)> {
        let (mark, ipv6) = (self.mark, server.is_ipv6());
        let made = self.netns.run_async(move || socket::unconnected(ipv6, mark)).await;
        let mut stream = made.map_err(io::Error::other)??.start(server, None)?.connected().await?;
        write_frame(&mut stream, query.bytes()).await?;
        let answer = read_frame(&mut stream).await?;
        let answer = answer.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        if Message::new(&answer).is_some_and(|message| message.answers(query)) {
            Ok((answer, stream))
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "it answers another question than was asked"))
        }
    }
}

/// Reads one message behind its length (RFC 1035, section 4.2.2). `None` at a clean end. At most 64 KiB, which are held
/// as they come.
pub(super) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 2];
    if stream.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut length[1..]).await?;
    let length = u16::from_be_bytes(length);
    let mut message = Vec::new();
    stream.take(length.into()).read_to_end(&mut message).await?;
    if message.len() < usize::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(message))
}

/// Writes one message behind its length, in one piece: some clients read both at once.
pub(super) async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut frame = Vec::with_capacity(2 + message.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(message);
    stream.write_all(&frame).await
}

#[cfg(test)]
mod tests;
