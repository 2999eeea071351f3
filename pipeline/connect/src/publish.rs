//! The protocol of topics elsewhere that clients' events go to first.

use crate::ConnectError;
use std::collections::BTreeMap;

/// Takes events; a [`crate::Source`] of the same topic gives them back.
pub trait Publish: Send {
    /// Appends events and waits until they are safe there; gives, by partition, the position after the last of them, as chunks of the
    /// source count. Events with one key stay in order. At least once: when only a part was taken, all are given again.
    ///
    /// # Errors
    /// When they were not taken, or not all, after several attempts.
    fn publish(&mut self, events: &[Event<'_>]) -> Result<BTreeMap<u32, u64>, ConnectError>;

    /// So many bytes an event may have.
    fn event_bytes_max(&self) -> usize;
}

/// An event on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// By which it is kept in order.
    pub key: Option<&'a str>,
    /// One line.
    pub text: &'a [u8],
}
