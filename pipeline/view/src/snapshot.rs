//! All views as of one committed epoch.

use crate::rows::ViewRows;
use chalk_event::{CommitSeq, Epoch};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// All views as of one committed epoch.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The epoch.
    pub epoch: Epoch,
    /// The last commit whose rows are in it.
    pub upto: CommitSeq,
    /// The last commit of which everything that it led to is in it, derived events included.
    pub settled: CommitSeq,
    /// The views, by name.
    pub views: BTreeMap<String, ViewRows>,
}

/// Publishes snapshots; readers get the newest, or wait for the next.
#[derive(Debug)]
pub struct Publisher(watch::Sender<Arc<Snapshot>>);

impl Publisher {
    /// Publishes `first`.
    #[must_use]
    pub fn new(first: Snapshot) -> Self {
        Self(watch::Sender::new(Arc::new(first)))
    }

    /// Makes a newer snapshot the one that readers see.
    pub fn publish(&self, snapshot: Snapshot) {
        self.0.send_replace(Arc::new(snapshot));
    }

    /// A reader of the newest snapshot.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.0.subscribe()
    }
}
