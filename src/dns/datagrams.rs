//! Questions over UDP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;

use super::counted::Transport;
use super::pod::{Inner, Step, Whence};

/// The largest datagram.
const DATAGRAM: usize = 65_535;
/// Pauses after an error, which is the machine's want of memory: at once again would spin.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers what comes to one socket. What the mesh or nobody can answer is answered at once; what waits for a name server
/// is a task, of which a pod has so many and no more.
pub(super) async fn serve(pod: Arc<Inner>, socket: Arc<UdpSocket>) {
    let Ok(local) = socket.local_addr() else { return };
    loop {
        match receive(&socket).await {
            Ok((message, client)) => handle(&pod, &socket, local, message, client),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::debug!(target: "dns", pod = %pod.pod.key, %error, "cannot receive");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn receive(socket: &UdpSocket) -> io::Result<(Vec<u8>, SocketAddr)> {
    socket.readable().await?;
    let mut message = Vec::with_capacity(DATAGRAM);
    let (_, client) = socket.try_recv_buf_from(&mut message)?;
    Ok((message, client))
}

fn handle(pod: &Arc<Inner>, socket: &Arc<UdpSocket>, local: SocketAddr, mut message: Vec<u8>, client: SocketAddr) {
    match pod.look(&message, Transport::Udp) {
        Step::Nothing => {}
        Step::Reply(reply) => {
            send(socket, &reply, client);
            // Whom the pod asks is of interest though it had no need to be asked: names of endpoints are asked for there.
            if pod.origins.is_old() {
                let of = Arc::clone(pod);
                // Without room for it the next question will do.
                let look = async move { of.origins.of_datagram(local, client).await.map_or((), |_| ()) };
                pod.questions.spawn(look).ok();
            }
        }
        Step::Ask(counted) => {
            message.shrink_to_fit();
            let message = Arc::<[u8]>::from(message);
            let task = {
                let (pod, socket, message) = (Arc::clone(pod), Arc::clone(socket), Arc::clone(&message));
                async move {
                    let whence = Whence::Datagram { local, client };
                    if let Some(reply) = pod.ask(&message, whence, &counted).await {
                        send(&socket, &reply, client);
                    }
                }
            };
            if pod.questions.spawn(task).is_err()
                && let Some(reply) = pod.shed(&message)
            {
                send(socket, &reply, client);
            }
        }
    }
}

/// From the listener's own address, which connection tracking turns into that of the server that was asked.
fn send(socket: &UdpSocket, reply: &[u8], client: SocketAddr) {
    // A full buffer, or a client that is gone: it asks again, or does not.
    drop(socket.try_send_to(reply, client));
}
