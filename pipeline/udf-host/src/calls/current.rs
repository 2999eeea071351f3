//! The build of an async function that is called for rows without a result.

use super::AsyncFunction;
use std::sync::{Arc, Mutex, PoisonError};

/// Which build is called from now on. Cloning shares it.
#[derive(Clone, Debug)]
pub struct CurrentFunction(Arc<Mutex<Arc<AsyncFunction>>>);

impl CurrentFunction {
    pub(crate) fn new(function: AsyncFunction) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(function))))
    }

    /// The build.
    #[must_use]
    pub fn get(&self) -> Arc<AsyncFunction> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on it is that of `other`. What is in flight is answered by the one that it was given to.
    pub fn switch(&self, other: &Self) {
        let function = other.get();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = function;
    }
}
