//! TLS in front of servers: what clients say comes to these in the clear.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// Ends its connections when it is dropped.
#[derive(Debug)]
pub(super) struct Front {
    runtime: Runtime,
    config: Arc<ServerConfig>,
}

impl Front {
    pub(super) fn new(config: Arc<ServerConfig>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_io().build()?;
        Ok(Self { runtime, config })
    }

    /// Listens in front of a server; gives the address for clients.
    pub(super) fn listen(&self, server: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let (address, acceptor) = (listener.local_addr()?, TlsAcceptor::from(Arc::clone(&self.config)));
        let _context = self.runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        self.runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                // A side that goes away ends it: nothing is wrong.
                tokio::spawn(async move { pass_on(acceptor, client, server).await.is_ok() });
            }
        });
        Ok(address)
    }
}

async fn pass_on(acceptor: TlsAcceptor, client: TcpStream, server: SocketAddr) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut client = acceptor.accept(client).await?;
    let mut server = TcpStream::connect(server).await?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}
