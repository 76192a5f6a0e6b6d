//! From a URL to the client that talks to its server.
//!
//! Credentials come from the environment as `object_store` reads it: `AWS_*`, `GOOGLE_*`, `AZURE_*`, or what a cloud's own machine is
//! given.

use std::path::Path as FilePath;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};
use tokio::runtime::Runtime;
use url::Url;

use super::explain::explain;
use crate::error::{Error, Result};
use crate::location;

/// Schemes with a store behind them that can be written.
const SCHEMES: &str = "s3://, gs://, az://, abfs://, or to be read http:// and https://";
/// A request is given up this long after its first try, plus one connection that hangs.
const RETRY_FOR: Duration = Duration::from_secs(40);
/// How long is waited for what; the environment can say otherwise (`AWS_TIMEOUT`, ...).
const TIMES: [(ClientConfigKey, &str, &str); 3] = [
    // A connection that is not made by then never will be.
    (ClientConfigKey::ConnectTimeout, "CONNECT_TIMEOUT", "10 seconds"),
    // A server that sends nothing for so long has died.
    (ClientConfigKey::ReadTimeout, "READ_TIMEOUT", "30 seconds"),
    // All of one request, a part of an upload on a slow line among them.
    (ClientConfigKey::Timeout, "TIMEOUT", "10 minutes"),
];

/// A builder with these times.
macro_rules! timed {
    ($builder:expr, $prefix:literal, $client:path) => {
        TIMES
            .into_iter()
            .filter(|(_, name, _)| std::env::var_os(format!("{}_{name}", $prefix)).is_none())
            .fold($builder, |builder, (key, _, value)| builder.with_config($client(key), value))
    };
}

/// Again after 0.2 s, then after longer and longer.
fn retry() -> RetryConfig {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(200), max_backoff: Duration::from_secs(8), base: 3.0 };
    RetryConfig { backoff, max_retries: 15, retry_timeout: RETRY_FOR }
}

/// The one runtime, which waits for servers and does nothing else.
pub(super) fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        // Fails if another part of the process has chosen a provider already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("remote").enable_all().build()
    });
    made.as_ref().map_err(|e| Error::invalid("no threads can be started for requests over the network", e))
}

/// A client and where the URL points to in its store.
pub(super) struct Connection {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) root: Path,
    /// Plain web servers give what is asked for and cannot list.
    pub(super) is_web: bool,
}

/// Where the environment names an S3 server.
const ENDPOINTS: [&str; 3] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];

/// The client takes any text for an endpoint, and panics at the first request.
fn check_endpoint(name: &str) -> Result<()> {
    let Ok(value) = std::env::var(name) else { return Ok(()) };
    if Url::parse(&value).is_ok_and(|u| ["http", "https"].contains(&u.scheme()) && u.has_host()) {
        return Ok(());
    }
    Err(Error::invalid(format!("{name} must be a URL, as in https://host:9000, or not set"), format!("{value:?}")))
}

/// Makes a client; nothing is sent yet.
///
/// # Errors
/// [`Error::Invalid`] for a URL of no known scheme or without a bucket, [`Error::Io`] for an environment that does not fit.
pub(super) fn connect(url: &FilePath) -> Result<Connection> {
    let text = url.to_str().ok_or_else(|| Error::invalid("a URL must be text", location::shown(url)))?;
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let scheme = scheme.to_ascii_lowercase();
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        let what = "a URL names a bucket or a host, as in s3://bucket/name.zarr";
        return Err(Error::invalid(what, location::shown(url)));
    }
    let bad =
        |e: object_store::path::Error| Error::invalid(format!("{} is no name of an object", location::shown(url)), e);
    let failed = |e| explain(url, "", e);
    // The key as it is, not as a URL would encode it.
    let key = || Path::parse(key.trim_end_matches('/')).map_err(bad);
    let here = format!("{scheme}://{bucket}");
    let (store, root): (Arc<dyn ObjectStore>, Path) = match scheme.as_str() {
        "s3" | "s3a" => {
            ENDPOINTS.into_iter().try_for_each(check_endpoint)?;
            let builder = AmazonS3Builder::from_env().with_url(here).with_retry(retry());
            let mut builder = timed!(builder, "AWS", AmazonS3ConfigKey::Client);
            // An endpoint without TLS that the user has named is meant.
            let plain = |name: &str| std::env::var(name).is_ok_and(|v| v.starts_with("http://"));
            if ENDPOINTS.into_iter().any(plain) {
                builder = builder.with_allow_http(true);
            }
            (Arc::new(builder.build().map_err(failed)?), key()?)
        }
        "gs" => {
            let builder = GoogleCloudStorageBuilder::from_env().with_url(here).with_retry(retry());
            let builder = timed!(builder, "GOOGLE", GoogleConfigKey::Client);
            (Arc::new(builder.build().map_err(failed)?), key()?)
        }
        "az" | "azure" | "abfs" | "abfss" => {
            let builder = MicrosoftAzureBuilder::from_env().with_url(here).with_retry(retry());
            let builder = timed!(builder, "AZURE", AzureConfigKey::Client);
            (Arc::new(builder.build().map_err(failed)?), key()?)
        }
        "http" | "https" => {
            let mut base = Url::parse(text).map_err(|e| Error::invalid(e.to_string(), location::shown(url)))?;
            let root = Path::from_url_path(base.path().trim_end_matches('/')).map_err(bad)?;
            // The query, which may be a signature, goes with every request.
            base.set_path("/");
            base.set_fragment(None);
            let options = ClientOptions::new().with_allow_http(true);
            let options = timed!(options, "HTTP", std::convert::identity);
            let builder = HttpBuilder::new().with_url(base).with_client_options(options).with_retry(retry());
            (Arc::new(builder.build().map_err(failed)?), root)
        }
        #[cfg(test)]
        "memory" | "memory-web" => (super::tests::bucket(bucket), key()?),
        _ => return Err(Error::invalid(format!("URLs can begin with {SCHEMES}"), location::shown(url))),
    };
    Ok(Connection { store, root, is_web: location::is_web(text) || scheme == "memory-web" })
}
