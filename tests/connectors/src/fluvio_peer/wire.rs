//! Frames: a length, a correlation number, a message.

use super::state::Shared;
use bytes::Bytes;
use fluvio_protocol::api::{Request, RequestHeader, RequestMessage};
use fluvio_protocol::link::versions::{ApiVersionKey, ApiVersionsResponse, PlatformVersion};
use fluvio_protocol::{Decoder, Encoder};
use std::io::{self, Cursor, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// The version of the platform that this is like.
const PLATFORM: &str = "0.50.1";

/// Where answers go; several threads write.
#[derive(Clone, Debug)]
pub(super) struct Answers(Arc<Mutex<TcpStream>>);

impl Answers {
    /// Answers a request.
    ///
    /// # Errors
    /// When the client is gone.
    pub(super) fn send(&self, header: &RequestHeader, message: &impl Encoder) -> io::Result<()> {
        let mut frame = vec![0; 4];
        header.correlation_id().encode(&mut frame, 0)?;
        message.encode(&mut frame, header.api_version())?;
        let len = i32::try_from(frame.len() - 4).map_err(|_| io::ErrorKind::FileTooLarge)?;
        frame[..4].copy_from_slice(&len.to_be_bytes());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&frame)
    }
}

/// A client's connection, in one of the SPU's lives.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) answers: Answers,
    /// Of the SPU; 0 for the SC, which has one life.
    pub(super) generation: u64,
}

impl Connection {
    /// Whether the server that it is to is still there.
    pub(super) fn is_over(&self, state: &super::state::State) -> bool {
        state.ended || (self.generation > 0 && self.generation != state.generation)
    }
}

/// Answers a request, of which the header is read.
pub(super) type Answer = fn(&Connection, RequestHeader, &mut Cursor<Bytes>) -> io::Result<()>;

/// Takes connections, each on a thread of its own, until the server is over.
pub(super) fn listen(listener: TcpListener, shared: &Arc<Shared>, generation: u64, answer: Answer) {
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut state = shared.state();
            if state.ended || (generation > 0 && generation != state.generation) {
                return;
            }
            let Ok([for_answers, for_end]) = stream.try_clone().and_then(|one| Ok([one, stream.try_clone()?])) else {
                continue;
            };
            // Small answers are waited for.
            let _ = stream.set_nodelay(true);
            state.connections.push(for_end);
            drop(state);
            let answers = Answers(Arc::new(Mutex::new(for_answers)));
            let connection = Connection { shared: Arc::clone(&shared), answers, generation };
            // A client that goes away ends its connection: nothing is wrong.
            std::thread::spawn(move || while serve(&stream, &connection, answer).is_ok() {});
        }
    });
}

fn serve(mut stream: &TcpStream, connection: &Connection, answer: Answer) -> io::Result<()> {
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(len)).map_err(|_| io::ErrorKind::InvalidData)?];
    stream.read_exact(&mut frame)?;
    let mut frame = Cursor::new(Bytes::from(frame));
    let header = RequestHeader::decode_from(&mut frame, 0)?;
    drop(connection.shared.wait(|state| !state.held || connection.is_over(state)));
    answer(connection, header, &mut frame)
}

/// The rest of a request.
pub(super) fn request<R: Request + Default>(
    header: RequestHeader,
    frame: &mut Cursor<Bytes>,
) -> io::Result<RequestMessage<R>> {
    let request = R::decode_from(frame, header.api_version())?;
    Ok(RequestMessage::new(header, request))
}

/// What a server can do: these requests, in any version.
pub(super) fn versions(keys: &[u16]) -> io::Result<ApiVersionsResponse> {
    let key = |&key: &u16| ApiVersionKey { api_key: key.cast_signed(), min_version: 0, max_version: i16::MAX };
    let mut version = Vec::new();
    PLATFORM.to_owned().encode(&mut version, 0)?;
    let platform_version = PlatformVersion::decode_from(&mut Cursor::new(version), 0)?;
    Ok(ApiVersionsResponse { api_keys: keys.iter().map(key).collect(), platform_version, ..Default::default() })
}
