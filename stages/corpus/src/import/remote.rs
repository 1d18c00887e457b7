//! Files in object stores and on web servers: downloaded once into the workspace, hashed and read there.
//!
//! An object that has not changed (its entity tag, or else its time and size) is not loaded again. Credentials come from the usual
//! environment variables alone (`AWS_…`, `GOOGLE_…`, `AZURE_…`), never from the config.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use futures::{StreamExt, TryStreamExt};
use glob::{MatchOptions, Pattern};
use object_store::path::Path as Location;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt};
use url::Url;

/// How many objects are loaded at once.
const DOWNLOADS: usize = 8;

/// An object that lies in the workspace, with its path below the fixed part of the pattern.
pub type Fetched = (PathBuf, String);

/// Whether a path of the config is an address and no file.
pub fn is_address(path: &str) -> bool {
    path.contains("://")
}

/// Brings what an address names, or all objects that match it, into `folder`.
pub fn fetch(address: &str, folder: &Path) -> Result<Vec<Fetched>> {
    if !cfg!(feature = "remote") {
        bail!(
            "`{address}`: this `mill` was built without object stores; build it with the feature `remote`, which is on by default, or download the file"
        );
    }
    let (fixed, pattern) = divide(address);
    let url = Url::parse(fixed).with_context(|| format!("`{address}` is no address"))?;
    if pattern.is_some() && url.scheme().starts_with("http") {
        bail!("`{address}`: web servers do not list their files; name each one");
    }
    let credentials = std::env::vars().filter(|(name, _)| ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|prefix| name.starts_with(prefix)));
    let plain = (url.scheme() == "http").then(|| ("allow_http".to_string(), "true".to_string()));
    let (store, location) = object_store::parse_url_opts(&url, credentials.chain(plain)).map_err(|error| refused(address, error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the download")?;
    runtime.block_on(load(store.as_ref(), address, location, pattern, folder))
}

/// The part before the first folder with a wild card, and the pattern below it.
fn divide(address: &str) -> (&str, Option<&str>) {
    match address.find(['*', '[']) {
        Some(wild) => {
            let end = address[..wild].rfind('/').map_or(wild, |slash| slash + 1);
            (&address[..end], Some(&address[end..]))
        }
        None => (address, None),
    }
}

/// What is wrong, and what to do. The error's own text holds that of its causes.
fn refused(address: &str, error: Error) -> anyhow::Error {
    let prefix = match address.split("://").next() {
        _ if matches!(error, Error::NotFound { .. }) => return anyhow!("`{address}`: there is no such object"),
        Some("s3" | "s3a") => "AWS",
        Some("gs") => "GOOGLE",
        Some("az" | "adl" | "azure" | "abfs" | "abfss") => "AZURE",
        Some("http" | "https") => return anyhow!("`{address}` cannot be read: {error}"),
        _ => return anyhow!("`{address}` cannot be read; schemes: s3, gs, az, http, https"),
    };
    anyhow!(
        "`{address}` cannot be read: {error}; credentials come from the variables {prefix}_… of the environment, \
         {prefix}_SKIP_SIGNATURE=true is for what is public"
    )
}

async fn load(store: &dyn ObjectStore, address: &str, location: Location, pattern: Option<&str>, folder: &Path) -> Result<Vec<Fetched>> {
    let failed = |error| refused(address, error);
    let mut found: Vec<(ObjectMeta, String)> = Vec::new();
    match pattern {
        None => {
            let name = location.filename().with_context(|| format!("`{address}` names no object"))?.to_string();
            found.push((store.head(&location).await.map_err(failed)?, name));
        }
        Some(text) => {
            let pattern = Pattern::new(text).with_context(|| format!("`{address}` is no valid pattern"))?;
            let options = MatchOptions { require_literal_separator: true, ..MatchOptions::default() };
            let mut objects = store.list(Some(&location));
            while let Some(object) = objects.try_next().await.map_err(failed)? {
                let below =
                    object.location.prefix_match(&location).map(|parts| parts.map(|part| part.as_ref().to_string()).collect::<Vec<_>>());
                let relative = below.unwrap_or_default().join("/");
                if pattern.matches_with(&relative, options) {
                    found.push((object, relative));
                }
            }
        }
    }
    if found.is_empty() {
        bail!("`{address}` matches no object");
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    let fetched = found.iter().map(|(object, relative)| async {
        let path = download(store, address, object, folder).await?;
        Ok((path, relative.clone()))
    });
    futures::stream::iter(fetched).buffered(DOWNLOADS).try_collect().await
}

/// The file that holds this version of an object.
async fn download(store: &dyn ObjectStore, address: &str, object: &ObjectMeta, folder: &Path) -> Result<PathBuf> {
    let failed = || format!("loading `{}` of `{address}` into `{}`", object.location, folder.display());
    let server = address.split('/').take(3).collect::<Vec<_>>().join("/");
    let tag = object.e_tag.clone().unwrap_or_else(|| object.last_modified.to_string());
    let version = blake3::hash(format!("{server}\0{}\0{tag}\0{}", object.location, object.size).as_bytes()).to_hex();
    let path = folder.join(format!("{}-{}", &version[..32], object.location.filename().unwrap_or_default()));
    if path.exists() {
        return Ok(path);
    }
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(failed)?;
    let mut bytes = store.get(&object.location).await.map_err(|error| refused(address, error))?.into_stream();
    let mut loaded = 0;
    while let Some(chunk) = bytes.try_next().await.map_err(|error| refused(address, error))? {
        file.write_all(&chunk).with_context(failed)?;
        loaded += chunk.len() as u64;
    }
    if loaded != object.size {
        bail!("`{}` of `{address}` has {} bytes, and {loaded} came; it changed meanwhile, run again", object.location, object.size);
    }
    file.as_file().sync_all().with_context(failed)?;
    file.persist(&path).with_context(failed)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn objects_are_loaded_once_for_each_version() {
        let store = InMemory::new();
        let put = |name: &str, bytes: &'static [u8]| run(store.put(&Location::from(name), bytes.into())).unwrap();
        put("data/en/a.jsonl", b"one");
        put("data/zh/a.jsonl", b"two");
        put("data/zh/deep/a.jsonl", b"three");
        put("other/a.jsonl", b"four");
        let folder = tempfile::tempdir().unwrap();
        let get = |pattern: Option<&str>, at: &str| run(load(&store, "s3://b/data", Location::from(at), pattern, folder.path()));
        let relative = |fetched: &[Fetched]| fetched.iter().map(|(_, relative)| relative.clone()).collect::<Vec<_>>();
        let found = get(Some("*/*.jsonl"), "data").unwrap();
        assert_eq!(relative(&found), ["en/a.jsonl", "zh/a.jsonl"]);
        assert_eq!(std::fs::read(&found[1].0).unwrap(), b"two");
        assert_eq!(relative(&get(Some("**/*.jsonl"), "data").unwrap()).len(), 3);
        assert_eq!(relative(&get(None, "other/a.jsonl").unwrap()), ["a.jsonl"]);
        assert_eq!(get(Some("*/*.jsonl"), "data").unwrap(), found);
        put("data/zh/a.jsonl", b"new");
        let newer = get(Some("*/*.jsonl"), "data").unwrap();
        assert_eq!((newer[0] == found[0], newer[1] == found[1]), (true, false));
        assert_eq!(std::fs::read(&newer[1].0).unwrap(), b"new");
        assert!(get(Some("*.csv"), "data").unwrap_err().to_string().contains("matches no object"));
        assert_eq!(format!("{:#}", get(None, "data/missing").unwrap_err()), "`s3://b/data`: there is no such object");
    }

    #[test]
    fn addresses_and_patterns() {
        assert_eq!(divide("s3://b/data/*/x-*.jsonl"), ("s3://b/data/", Some("*/x-*.jsonl")));
        assert_eq!(divide("https://host/a.jsonl.gz"), ("https://host/a.jsonl.gz", None));
        assert!(is_address("az://c/x") && !is_address("data/x"));
    }

    #[cfg(feature = "remote")]
    #[test]
    fn a_web_server_is_asked_once() {
        use std::io::{BufRead, BufReader};
        use std::net::TcpListener;
        use std::sync::Arc;
        use std::sync::atomic::{AtomicUsize, Ordering};

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/dir/a.jsonl", listener.local_addr().unwrap());
        let gets = Arc::new(AtomicUsize::new(0));
        let counted = gets.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
                let request = lines.next().unwrap().unwrap();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                counted.fetch_add(usize::from(request.starts_with("GET")), Ordering::SeqCst);
                let body = if request.starts_with("GET") { "{\"text\":\"one\"}" } else { "" };
                let head = "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 14\r\nLast-Modified: Tue, 15 Nov 1994 12:45:26 GMT\r\nConnection: close\r\n\r\n";
                connection.write_all(format!("{head}{body}").as_bytes()).unwrap();
            }
        });
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let fetched = fetch(&address, folder.path()).unwrap();
            assert_eq!(fetched[0].1, "a.jsonl");
            assert_eq!(std::fs::read(&fetched[0].0).unwrap(), b"{\"text\":\"one\"}");
        }
        assert_eq!(gets.load(Ordering::SeqCst), 1);
        let message = |address: &str| format!("{:#}", fetch(address, folder.path()).unwrap_err());
        assert!(message("https://127.0.0.1/*.jsonl").contains("do not list"));
        assert_eq!(message("ftp://127.0.0.1/a.jsonl"), "`ftp://127.0.0.1/a.jsonl` cannot be read; schemes: s3, gs, az, http, https");
    }
}
