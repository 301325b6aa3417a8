//! Connections that come to a pod: is it for this pod, may it, then dial the application with the
//! peer's address and relay.

pub(super) mod hbone;
pub(super) mod plaintext;
pub(super) mod proxy_header;
