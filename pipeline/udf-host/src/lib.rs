//! Functions that are written in Rust and called from SQL over Arrow batches.
//!
//! A [`Function`] is linked into the binary and trusted. A [`Loaded`] one is a source in a project's `udfs/` ([`Folder`]), in the form that
//! Arroyo takes; it is compiled ([`Building`]), kept with what it is ([`Shelf`]), and runs in a worker process
//! ([`serve_worker`]) unless its [`Settings`] trust it.
//!
//! ```text
//! source ─▶ declaration, identity          what SQL sees, who it is
//!    │            │
//!    ▼            ▼
//!  build ─▶ shelf: library and record ─▶ caller ─┬─▶ worker ─▶ library ─▶ raw     a process of its own
//!                                                └──────────▶ library ─▶ raw     in this one
//! ```
//!
//! An async function is not pure: whoever calls it records what it gives. Its rows are in flight many at a time ([`Calls`]).
//!
//! What a pipeline's functions depend on beside their arguments is its [`Timeline`].
//!
//! Who a function is stands beside it: a hash of its source and of what it is built with, which SQL can put on every result with
//! `udf_version('name')`. This crate must not know plans or tasks.

mod aggregate;
mod build;
mod builds;
mod caller;
mod calls;
mod declaration;
mod folder;
mod identity;
mod library;
mod loaded;
mod lock;
mod native;
mod raw;
mod settings;
mod shelf;
mod source;
mod timeline;
mod value;
mod version;
mod worker;

pub use build::{BuildError, Building};
pub use builds::Builds;
pub use caller::CallError;
pub use calls::{Answer, AsyncFunction, Calls, CurrentFunction, Permits};
pub use declaration::{Argument, AsyncOptions, Declaration, DeclarationError, Kind};
pub use folder::Folder;
pub use identity::{IdentityError, Package, content_hash};
pub use loaded::{Call, LoadError, Loaded};
pub use native::{Function, native};
pub use settings::{Isolation, Settings};
pub use shelf::{Record, Shelf, ShelfError};
pub use source::{Form, Source, SourceError};
pub use timeline::{Timeline, Verdict};
pub use value::{Value, ValueType};
pub use version::version_function;
pub use worker::serve_worker;
