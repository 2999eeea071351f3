//! [`Objects`] in whatever the `object_store` crate can talk to.

use super::{ObjectInfo, Objects, check_key};
use crate::storage::StorageError;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path as ObjectPath;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use tokio::runtime::{Builder, Runtime};

/// Objects of a store under a prefix of their keys. It has a thread of its own that waits for the network.
pub struct RemoteObjects {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    location: String,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl fmt::Debug for RemoteObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "objects at {}", self.location)
    }
}

impl RemoteObjects {
    /// The objects of `store` whose keys begin with `prefix` and a `/`, or all of them for an empty prefix; `location` is said in errors.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str, location: &str) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("objects").enable_all().build()?;
        let prefix = prefix.trim_matches('/').to_owned();
        Ok(Self { store, prefix, location: location.to_owned(), runtime: Some(runtime) })
    }

    fn path(&self, key: &str) -> Result<ObjectPath, StorageError> {
        check_key(key)?;
        let key = if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) };
        ObjectPath::parse(&key).map_err(|error| self.failed("use", &key, error.into()))
    }

    fn failed(&self, operation: &'static str, key: &str, error: Error) -> StorageError {
        let path = PathBuf::from(format!("{}/{key}", self.location.trim_end_matches('/')));
        StorageError { operation, path, source: io::Error::other(error) }
    }

    /// Runs a future on the store's own thread, and waits for it.
    fn wait<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let gone = || Error::Generic { store: "remote", source: "the request was given up".into() };
        let Some(runtime) = &self.runtime else { return Err(gone()) };
        let (answer, answered) = sync_channel(1);
        runtime.spawn(async move { answer.send(future.await) });
        answered.recv().unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for RemoteObjects {
    fn drop(&mut self) {
        // Waiting for it, as dropping it would, is not allowed on a thread that runs async tasks.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Objects for RemoteObjects {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        let (store, path) = (Arc::clone(&self.store), self.path(key)?);
        let put = self.wait(async move { store.put(&path, bytes.into()).await });
        put.map(drop).map_err(|error| self.failed("write", key, error))
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StorageError> {
        let (store, path) = (Arc::clone(&self.store), self.path(key)?);
        match self.wait(async move { store.get(&path).await?.bytes().await }) {
            Err(Error::NotFound { .. }) => Ok(None),
            read => read.map(Some).map_err(|error| self.failed("read", key, error)),
        }
    }

    fn list(&self) -> Result<Vec<ObjectInfo>, StorageError> {
        let store = Arc::clone(&self.store);
        let prefix = if self.prefix.is_empty() { None } else { Some(self.prefix.clone()) };
        let under = prefix.as_ref().map(|prefix| format!("{prefix}/")).unwrap_or_default();
        let found = self.wait(async move {
            let prefix = prefix.map(ObjectPath::parse).transpose()?;
            store.list(prefix.as_ref()).try_collect::<Vec<_>>().await
        });
        let found = found.map_err(|error| self.failed("list", "", error))?;
        let object = |meta: object_store::ObjectMeta| {
            let key = meta.location.as_ref().strip_prefix(&under)?.to_owned();
            Some(ObjectInfo { key, bytes: meta.size })
        };
        let mut objects: Vec<ObjectInfo> = found.into_iter().filter_map(object).collect();
        objects.sort();
        Ok(objects)
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        let (store, path) = (Arc::clone(&self.store), self.path(key)?);
        match self.wait(async move { store.delete(&path).await }) {
            Err(Error::NotFound { .. }) => Ok(()),
            deleted => deleted.map_err(|error| self.failed("remove", key, error)),
        }
    }
}
