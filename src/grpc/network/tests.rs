use super::*;

use crate::sys::socket::listen;

fn local() -> (std::net::TcpListener, SocketAddr) {
    let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn an_address_that_refuses_gives_way_to_the_next() {
    let (_listener, open) = local();
    let (closed, shut) = local();
    drop(closed);
    let stream = first(vec![shut, shut, open]).await.unwrap().unwrap();
    assert_eq!(stream.peer_addr().unwrap(), open);
    let error = first(vec![shut]).await.unwrap().unwrap_err();
    assert!(matches!(&error, DialError::Connect { to, .. } if *to == shut), "{error:?}");
    assert!(first(vec![]).await.is_none());
}

#[tokio::test]
async fn an_address_needs_no_name_server() {
    let (_listener, open) = local();
    assert!(Network.dial("127.0.0.1", open.port()).await.is_ok());
}
