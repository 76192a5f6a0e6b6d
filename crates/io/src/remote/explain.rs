//! What a server's refusal means, and what to do about it.

use std::error::Error as _;
use std::io::{Error as IoError, ErrorKind};
use std::path::Path;

use object_store::client::{HttpError, HttpErrorKind};

use crate::error::Error;
use crate::location::{redacted, shown};

/// Most letters of what a server says that are shown.
const MOST: usize = 300;

/// The error for what went wrong with `key` below `url`; the key may be empty.
pub(super) fn explain(url: &Path, key: &str, e: object_store::Error) -> Error {
    let (kind, what) = reason(&shown(url), &e);
    let mut place = shown(url);
    if !key.is_empty() {
        place = format!("{}/{key}", place.trim_end_matches('/'));
    }
    Error::Io { path: place.into(), reason: IoError::new(kind, what) }
}

/// What the client library says of it, in one line and without secrets.
pub(super) fn said(e: &object_store::Error) -> String {
    let text = redacted(&e.to_string());
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = line.char_indices().nth(MOST) {
        line.truncate(at);
        line += "...";
    }
    line
}

fn reason(url: &str, e: &object_store::Error) -> (ErrorKind, String) {
    use object_store::Error as E;
    let text = e.to_string();
    let scheme = url.split("://").next().unwrap_or_default().to_ascii_lowercase();
    let credentials = match scheme.as_str() {
        "s3" | "s3a" => {
            "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, with temporary ones AWS_SESSION_TOKEN too, or AWS_SKIP_SIGNATURE=true for a public bucket"
        }
        "gs" => {
            "set GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT, or GOOGLE_SKIP_SIGNATURE=true for a public bucket"
        }
        "http" | "https" => "use a signed URL, or one with a user's name and password",
        _ => {
            "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, or AZURE_SKIP_SIGNATURE=true for a public container"
        }
    };
    // A machine that is no cloud's own asks in vain for credentials there.
    if text.contains("169.254.169.254")
        || text.contains("metadata.google.internal")
        || text.contains("/metadata/identity")
    {
        return (ErrorKind::PermissionDenied, format!("no credentials were found; {credentials}"));
    }
    match e {
        _ if text.contains("NoSuchBucket") || text.contains("ContainerNotFound") => {
            (ErrorKind::NotFound, "there is no such bucket; check its name and the region or endpoint".into())
        }
        E::NotFound { .. } => (ErrorKind::NotFound, "there is nothing at this URL".into()),
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => {
            let code = if matches!(e, E::PermissionDenied { .. }) { 403 } else { 401 };
            let what = format!("access is refused ({code}{}): {credentials}, that may do this", code_of(&text));
            (ErrorKind::PermissionDenied, what)
        }
        E::NotSupported { .. } if text.contains("Range") || text.contains("range") => {
            (ErrorKind::Unsupported, "the server sends no parts of files (range requests); download it first".into())
        }
        _ => match http_error(e) {
            Some(HttpErrorKind::Connect | HttpErrorKind::Timeout | HttpErrorKind::Request) => {
                let innermost = redacted(&innermost(e));
                let hint = if scheme.starts_with("http") { "" } else { ", and the endpoint if one is set" };
                let what =
                    format!("the server cannot be reached ({innermost}); check the host's name and the network{hint}");
                (ErrorKind::NotConnected, what)
            }
            _ => (ErrorKind::Other, said(e)),
        },
    }
}

/// The store's own name for a refusal, from its answer.
fn code_of(text: &str) -> String {
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    code.map_or(String::new(), |(code, _)| format!(", {}", code.chars().take(60).collect::<String>()))
}

fn http_error(e: &object_store::Error) -> Option<HttpErrorKind> {
    let mut cause = e.source();
    while let Some(e) = cause {
        if let Some(http) = e.downcast_ref::<HttpError>() {
            return Some(http.kind());
        }
        cause = e.source();
    }
    None
}

fn innermost(e: &object_store::Error) -> String {
    let mut cause: &dyn std::error::Error = e;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
