//! Addresses to listen on: this machine's own only.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use tokio::net::TcpListener;

/// A server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Others could reach the address.
    #[error(
        "{0} is not a loopback address: nobody has to say who they are here, so only this machine may ask\n  \
         hint: listen on 127.0.0.1, and let a proxy that checks users pass requests on"
    )]
    NotLoopback(IpAddr),
    /// Another process listens there.
    #[error("{0} is taken\n  hint: choose another port, or 0 for any that is free")]
    Taken(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Takes an address; port 0 is any that is free.
pub(crate) async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    if !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback(address.ip()));
    }
    let failed = |source: std::io::Error| match source.kind() {
        ErrorKind::AddrInUse => ServeError::Taken(address),
        _ => ServeError::Listen { address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}
