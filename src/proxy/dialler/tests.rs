use tokio::net::TcpListener;

use super::*;
use crate::sys::socket::listen;

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    (TcpListener::from_std(listener).unwrap(), address)
}

fn ready(dialler: &Dialler) -> usize {
    dialler.lock(false).sockets.len()
}

/// Waits until nothing is being made.
async fn settled(dialler: &Dialler) {
    while dialler.lock(false).making {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn as_many_sockets_are_made_ahead_as_were_wanted() {
    if !crate::sys::kernel_tests::may_run("sockets made ahead") {
        return;
    }
    let (listener, address) = listener().await;
    let dialler = Dialler::new(Netns::own().unwrap(), 0, Duration::from_secs(5));
    let mut held = Vec::new();
    for expect in [1, 1, 1] {
        held.push(dialler.dial(address, None).await.unwrap());
        settled(&dialler).await;
        assert_eq!(ready(&dialler), expect, "one was taken, one is made");
    }
    let burst = (0..40).map(|_| {
        let dialler = Arc::clone(&dialler);
        async move { dialler.dial(address, None).await.unwrap() }
    });
    let mut set = tokio::task::JoinSet::from_iter(burst);
    while let Some(stream) = set.join_next().await {
        held.push(stream.unwrap());
    }
    settled(&dialler).await;
    assert!(ready(&dialler) <= MOST, "{} lie ready", ready(&dialler));
    for _ in 0..held.len() {
        drop(listener.accept().await.unwrap());
    }
}

#[tokio::test]
async fn a_refusal_is_the_dials_own() {
    if !crate::sys::kernel_tests::may_run("a refused dial") {
        return;
    }
    let (listener, address) = listener().await;
    drop(listener);
    let dialler = Dialler::new(Netns::own().unwrap(), 0, Duration::from_secs(5));
    for _ in 0..3 {
        let error = dialler.dial(address, None).await.unwrap_err();
        assert!(matches!(&error, DialError::Connect(e) if e.kind() == io::ErrorKind::ConnectionRefused), "{error:?}");
    }
}
