//! What a path on the command line can be besides a path: a URL.
//!
//! A `PathBuf` keeps `s3://bucket/key` and `https://host/a.nc?signature=...` as they are; only their name and how they are shown
//! differ from a file's. What follows `?` may be a secret, so it is never shown.

use std::path::Path;

/// Whether a path is a URL (`scheme://...`).
pub fn is_url(path: &Path) -> bool {
    path.to_str().and_then(|text| text.split_once("://")).is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

/// The last part of a path, or of a URL without its query: what its ending is looked for in.
pub fn file_name(path: &Path) -> String {
    if !is_url(path) {
        return path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    }
    let text = path.to_string_lossy();
    let (_, rest) = text.split_once("://").unwrap_or_default();
    let rest = if is_web(&text) { without_query(rest) } else { rest };
    let (_, key) = rest.trim_end_matches('/').split_once('/').unwrap_or_default();
    key.rsplit('/').next().unwrap_or_default().into()
}

/// Whether a path has this ending, written without its dot, in any case.
pub fn ends_with(path: &Path, ending: &str) -> bool {
    file_name(path).to_lowercase().ends_with(&format!(".{ending}"))
}

/// The file's name without its ending, where that can be a variable's name everywhere.
pub(crate) fn variable_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let good = stem.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && stem.chars().all(plain);
    if good { stem.into_owned() } else { "data".into() }
}

/// A path or URL as it may be printed: without a query, a user's name and a password.
pub fn shown(path: &Path) -> String {
    let text = path.to_string_lossy();
    if is_url(path) { redacted(&text) } else { text.into_owned() }
}

/// A text in which every URL has lost its query, and what stands before an `@` in its host.
pub(crate) fn redacted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out += before;
        // Blanks end a URL in a message; a path given by the user may hold them, but then no query follows.
        let url = after.split(|c: char| c.is_whitespace() || "\"'<>".contains(c)).next().unwrap_or_default();
        let scheme = before.to_ascii_lowercase();
        let web = scheme.ends_with("http://") || scheme.ends_with("https://");
        let plain = if web { without_query(url) } else { url };
        // In `abfss://container@account` it is no secret.
        let user = plain.split('/').next().and_then(|host| host.rfind('@')).filter(|_| web);
        out += &plain[user.map_or(0, |at| at + 1)..];
        if plain.len() < url.len() {
            out += "?...";
        }
        rest = &after[url.len()..];
    }
    out + rest
}

/// Whether a URL is a web server's, which has queries; `?` and `#` may be part of a key elsewhere.
pub(crate) fn is_web(url: &str) -> bool {
    let lower = url.get(..8).unwrap_or(url).to_ascii_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://")
}

fn without_query(url: &str) -> &str {
    &url[..url.find(['?', '#']).unwrap_or(url.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths() {
        let cases = [
            ("a/b.zarr", false, "b.zarr", "a/b.zarr"),
            ("what?.nc", false, "what?.nc", "what?.nc"),
            ("s3://bucket/k/b.zarr/", true, "b.zarr", "s3://bucket/k/b.zarr/"),
            ("s3://bucket/what?.zarr", true, "what?.zarr", "s3://bucket/what?.zarr"),
            ("s3://bucket", true, "", "s3://bucket"),
            ("abfss://c@account/x.zarr.zip", true, "x.zarr.zip", "abfss://c@account/x.zarr.zip"),
            ("https://h/a.nc?X-Sig=se/cret", true, "a.nc", "https://h/a.nc?..."),
            ("HTTPS://u:pw@h/a/b.zarr#x", true, "b.zarr", "HTTPS://h/a/b.zarr?..."),
            ("-", false, "-", "-"),
            ("1://x", false, "x", "1://x"),
        ];
        for (text, url, name, seen) in cases {
            let path = Path::new(text);
            assert_eq!((is_url(path), file_name(path).as_str(), shown(path).as_str()), (url, name, seen), "{text}");
        }
        let text = "GET https://h/k?sig=1&x=2 failed (see https://u:p@h/z) in 3 s";
        assert_eq!(redacted(text), "GET https://h/k?... failed (see https://h/z) in 3 s");
        assert!(ends_with(Path::new("https://h/A.ZARR.zip?x=.nc"), "zarr.zip"));
    }
}
