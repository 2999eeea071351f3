//! Sources and sinks outside the log: positions, clients, delivery.
//!
//! A [`Source`] gives records and the position after them; a [`Sink`] takes lines, each exactly once. What the bytes mean is `codec`'s
//! business: this crate must not know formats or SQL.

mod directory;
mod error;
mod file_sink;
mod file_source;
#[cfg(feature = "fluvio")]
pub mod fluvio;
mod folder_source;
mod generated;
mod impulse;
mod in_order;
mod lines;
mod nexmark;
mod pace;
mod publish;
mod sink;
mod source;

pub use directory::{DirectorySink, Encode};
pub use error::ConnectError;
pub use file_sink::FileSink;
pub use file_source::FileSource;
pub use folder_source::{FolderSource, files_of};
pub use generated::{Generated, MadeUp};
pub use impulse::{Impulse, ImpulseSettings};
pub use in_order::{InOrder, LineChunk, LineSource};
pub use lines::Lines;
pub use nexmark::{Nexmark, NexmarkSettings};
pub(crate) use pace::Pace;
pub use publish::{Event, Publish};
pub use sink::{Recovered, STATE_BYTES_MAX, Sink};
pub use source::{Chunk, Place, Polled, Source, SourceHealth};
