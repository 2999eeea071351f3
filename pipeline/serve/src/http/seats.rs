//! Connections, of which there may be so many.

use crate::metrics::{Metrics, Open, Protocol};
use axum::serve::Listener;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Nothing can be accepted: perhaps somebody closes a file meanwhile.
const PAUSE: Duration = Duration::from_millis(50);
/// What a client beyond the number is told.
const FULL: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n\
    Content-Length: 72\r\n\r\n{\"error\":{\"message\":\"too many connections\",\"hint\":\"close some of them\"}}";

/// Accepts connections while there are seats.
pub(super) struct Seats {
    listener: TcpListener,
    free: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Seats {
    pub(super) fn new(listener: TcpListener, connections_max: usize, metrics: Arc<Metrics>) -> Self {
        Self { listener, free: Arc::new(Semaphore::new(connections_max)), metrics }
    }
}

impl Listener for Seats {
    type Io = Seated;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Seated, SocketAddr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            match Arc::clone(&self.free).try_acquire_owned() {
                Ok(seat) => {
                    let open = self.metrics.connection(Protocol::Http);
                    // Small answers must not wait for more to come; without it they are slower and as right.
                    let _ = stream.set_nodelay(true);
                    return (Seated { stream, _seat: seat, _open: open }, address);
                }
                Err(_) => {
                    self.metrics.refused(Protocol::Http);
                    // It fits what the system takes at once.
                    let _ = stream.writable().await.and_then(|()| stream.try_write(FULL.as_bytes()));
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection with a seat.
#[derive(Debug)]
pub(super) struct Seated {
    stream: TcpStream,
    _seat: OwnedSemaphorePermit,
    _open: Open,
}

impl AsyncRead for Seated {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Seated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
