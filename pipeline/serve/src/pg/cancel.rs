//! Requests to cancel, which come on a connection of their own and name another one by its key.

use pgwire::api::{ClientInfo, DefaultClient, PidSecretKeyGenerator, RandomPidSecretKeyGenerator};
use pgwire::messages::ProtocolVersion;
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::startup::SecretKey;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

type Keys = HashMap<i32, (SecretKey, Arc<Notify>)>;

/// The connections that can be told to cancel.
#[derive(Debug, Default)]
pub(super) struct Cancels {
    generator: RandomPidSecretKeyGenerator,
    keys: Mutex<Keys>,
}

/// A connection that can be told; it can no more when this is dropped.
#[derive(Debug)]
pub(super) struct Cancel {
    all: Arc<Cancels>,
    pub(super) pid: i32,
    pub(super) key: SecretKey,
    /// Wakes the query that runs, if one does.
    pub(super) asked: Arc<Notify>,
}

impl Cancels {
    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn register(self: &Arc<Self>, address: SocketAddr) -> Cancel {
        let mut client = DefaultClient::<()>::new(address, false);
        client.set_protocol_version(ProtocolVersion::PROTOCOL3_0);
        let (pid, key) = self.generator.generate(&client);
        let asked = Arc::new(Notify::new());
        self.keys().insert(pid, (key.clone(), Arc::clone(&asked)));
        Cancel { all: Arc::clone(self), pid, key, asked }
    }

    pub(super) fn cancel(&self, request: &CancelRequest) {
        if let Some((key, asked)) = self.keys().get(&request.pid)
            && *key == request.secret_key
        {
            asked.notify_waiters();
        }
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        self.all.keys().remove(&self.pid);
    }
}
