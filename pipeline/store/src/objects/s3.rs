//! `s3://bucket/prefix`.

use super::{Objects, RemoteObjects};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{ClientConfigKey, RetryConfig};
use std::sync::Arc;
use std::time::Duration;

/// A request that failed is tried again for so long; callers try again, too, and say meanwhile why they wait.
const AGAIN_FOR: Duration = Duration::from_secs(20);
const AGAIN_TIMES: usize = 4;
/// A request may take so long unless `AWS_TIMEOUT` says otherwise: 64 MiB over a slow line.
const REQUEST_MAX: &str = "5 minutes";

/// The objects at `location`, of which `rest` is what follows the scheme; or why not.
pub(super) fn open(location: &str, rest: &str) -> Result<Arc<dyn Objects>, String> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err("it names no bucket\n  hint: s3://bucket/prefix".to_owned());
    }
    let retry = RetryConfig { max_retries: AGAIN_TIMES, retry_timeout: AGAIN_FOR, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry);
    if std::env::var_os("AWS_TIMEOUT").is_none() {
        builder = builder.with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), REQUEST_MAX);
    }
    let store = builder
        .build()
        .map_err(|error| format!("{error}\n  hint: its options are those of the environment, AWS_REGION and others"))?;
    let objects = RemoteObjects::new(Arc::new(store), prefix, location).map_err(|error| error.to_string())?;
    Ok(Arc::new(objects))
}
