//! Pages that are part of the binary: what is built from `server/web` and committed in its `dist`.
//!
//! | file | path | how long a browser keeps it |
//! |---|---|---|
//! | `index.html` | `/` | it asks each time, and is nearly always told that it has it |
//! | `NAME.html` | `/NAME` | the same |
//! | `assets/NAME-HASH.EXT` | as it is called | for good: what has changed is called otherwise |
//! | all others | as they are called | it asks each time |

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::Router;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderName, IF_NONE_MATCH, REFERRER_POLICY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// A file as it is compiled in.
#[derive(Clone, Copy, Debug)]
pub(super) struct File {
    /// Where it lies in the folder.
    pub path: &'static str,
    pub body: &'static [u8],
}

/// Every file of the folder, by path.
pub(super) const FILES: &[File] = &include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// What pages may load and run: what comes from here, and pictures they made. They may connect to
/// any room server.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; \
                      img-src 'self' data: blob:; style-src 'self'; form-action 'self'; \
                      frame-ancestors 'none'; base-uri 'none'";

/// What no page of ours asks a browser for.
const PERMISSIONS: &str = "camera=(), geolocation=(), microphone=(), payment=(), usb=()";

/// Where files are whose names change with what is in them.
const ASSETS: &str = "assets/";

/// The client for pages of other hosts, which may load it from here. It is nobody's secret, and
/// whether they may connect is another question.
const CLIENT: &str = "sdk.js";

/// What browsers are to make of a file, by the end of its name.
const CONTENT_TYPES: [(&str, &str); 9] = [
    ("html", HTML),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("txt", "text/plain; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("ico", "image/x-icon"),
    ("woff2", "font/woff2"),
];

const HTML: &str = "text/html; charset=utf-8";

/// A route for each of these files.
pub(super) fn routes(files: &[File]) -> Router {
    let mut router = Router::new();
    for file in files {
        let page = Page::new(*file);
        let answer = move |headers: HeaderMap| async move { page.answer(&headers) };
        router = router.route(&address_of(file.path), get(answer));
    }
    router
}

/// The path under which a file is served.
fn address_of(path: &str) -> String {
    match path.strip_suffix(".html") {
        Some("index") => "/".to_owned(),
        Some(name) => format!("/{name}"),
        None => format!("/{path}"),
    }
}

/// What a file is; `None` for an end that nobody has thought of.
fn content_type_of(path: &str) -> Option<&'static str> {
    let (_, end) = path.rsplit_once('.')?;
    CONTENT_TYPES.iter().find(|(known, _)| *known == end).map(|(_, content_type)| *content_type)
}

/// A file that is served.
#[derive(Clone, Debug)]
struct Page {
    body: &'static [u8],
    /// Weak, because it is the same for a compressed body.
    etag: HeaderValue,
    /// How long it is kept; all answers say so.
    kept: &'static str,
    /// What comes with the body.
    about: HeaderMap,
}

impl Page {
    fn new(File { path, body }: File) -> Self {
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let etag = format!("W/\"{:016x}\"", hasher.finish());
        let etag = HeaderValue::from_str(&etag).expect("ASCII");
        let content_type = content_type_of(path).unwrap_or("application/octet-stream");
        let is_asset = path.starts_with(ASSETS);
        let kept = if is_asset { "public, max-age=31536000, immutable" } else { "no-cache" };
        let mut about = HeaderMap::new();
        let mut say = |name, value| about.insert(name, HeaderValue::from_static(value));
        say(CONTENT_TYPE, content_type);
        // Of a script, because it may run as a worker.
        say(CONTENT_SECURITY_POLICY, POLICY);
        if content_type == HTML {
            // A room's name may be in its address.
            say(REFERRER_POLICY, "same-origin");
            say(HeaderName::from_static("permissions-policy"), PERMISSIONS);
        }
        if path == CLIENT {
            say(ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        }
        Self { body, etag, kept, about }
    }

    /// The file, or that the client has it.
    fn answer(&self, request: &HeaderMap) -> Response {
        let has_it = request.get_all(IF_NONE_MATCH).iter().any(|tags| self.is_among(tags));
        let kept: [(HeaderName, HeaderValue); 2] =
            [(ETAG, self.etag.clone()), (CACHE_CONTROL, HeaderValue::from_static(self.kept))];
        if has_it {
            return (StatusCode::NOT_MODIFIED, kept).into_response();
        }
        (kept, self.about.clone(), self.body).into_response()
    }

    /// Whether an `If-None-Match` names this file as it is. Strong tags are compared as weak ones.
    fn is_among(&self, tags: &HeaderValue) -> bool {
        let opaque = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
        let ours = opaque(self.etag.as_bytes());
        let tags = tags.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        tags.into_iter().any(|tag| tag == b"*" || opaque(tag) == ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_in_is_of_a_known_kind_and_has_an_address_of_its_own() {
        let mut addresses: Vec<String> = FILES.iter().map(|file| address_of(file.path)).collect();
        assert!(addresses.iter().any(|address| address == "/"), "{addresses:?}");
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), FILES.len(), "{addresses:?}");
        for File { path, body } in FILES {
            assert!(content_type_of(path).is_some(), "{path}");
            assert!(!body.is_empty(), "{path}");
            // Braces would be parameters of a route.
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
            assert!(path.bytes().all(is_plain), "{path}");
        }
    }

    /// A browser never asks for such a file again, so its name must change with it.
    #[test]
    fn files_that_are_kept_for_good_have_a_hash_in_their_names() {
        for File { path, .. } in FILES.iter().filter(|file| file.path.starts_with(ASSETS)) {
            let stem = path.rsplit_once('.').map(|(stem, _)| stem).unwrap_or_default();
            let hash = stem.rsplit_once('-').map(|(_, hash)| hash).unwrap_or_default();
            let is_hash = hash.len() >= 8 && hash.bytes().all(|byte| byte.is_ascii_alphanumeric());
            assert!(is_hash, "{path}");
        }
    }

    /// What stands in quotes behind this, wherever it does.
    fn quoted_behind<'a>(text: &'a str, before: &str) -> impl Iterator<Item = &'a str> {
        let behind = text.match_indices(before).map(|(at, _)| &text[at + before.len()..]);
        behind.filter_map(|rest| rest.split_once('"').map(|(quoted, _)| quoted))
    }

    fn text_of(file: &File) -> &'static str {
        std::str::from_utf8(file.body).unwrap_or_else(|_| panic!("{} is UTF-8", file.path))
    }

    /// Built pages and what they load are committed together, or browsers find half of it.
    #[test]
    fn whatever_a_page_loads_is_there() {
        let is_there = |path: &str| FILES.iter().any(|file| file.path == path);
        for file in FILES.iter().filter(|file| file.path.ends_with(".html")) {
            let text = text_of(file);
            let loaded = ["src=\"", "href=\""].map(|before| quoted_behind(text, before));
            let loaded: Vec<&str> = loaded.into_iter().flatten().collect();
            let assets = loaded.iter().map(|path| path.trim_start_matches(['.', '/']));
            let assets: Vec<&str> = assets.filter(|path| path.starts_with(ASSETS)).collect();
            assert!(!assets.is_empty(), "{} loads nothing: {loaded:?}", file.path);
            for path in assets {
                assert!(is_there(path), "{path} of {}", file.path);
            }
        }
        let scripts = FILES.iter().filter(|file| file.path.ends_with(".js"));
        for file in scripts.filter(|file| file.path.starts_with(ASSETS)) {
            for before in ["from\"./", "import\"./", "import(\"./"] {
                for name in quoted_behind(text_of(file), before) {
                    assert!(is_there(&format!("{ASSETS}{name}")), "{name} of {}", file.path);
                }
            }
        }
    }

    /// What the policy forbids would fail in browsers only, and without a word to us.
    #[test]
    fn pages_need_nothing_that_their_policy_forbids() {
        for file in FILES.iter().filter(|file| file.path.ends_with(".html")) {
            let (path, text) = (file.path, text_of(file));
            for forbidden in ["<style", " style=", "javascript:", " onclick=", " onload="] {
                assert!(!text.contains(forbidden), "{forbidden} in {path}");
            }
            for script in text.split("<script").skip(1) {
                let (opening, _) = script.split_once('>').expect("a tag ends");
                assert!(opening.contains(" src="), "<script{opening}> in {path}");
            }
        }
    }

    #[test]
    fn files_have_the_addresses_people_type() {
        for (path, address) in [
            ("index.html", "/"),
            ("arena.html", "/arena"),
            ("sdk.js", "/sdk.js"),
            ("assets/arena-1a2b3c4d.js", "/assets/arena-1a2b3c4d.js"),
            ("about/index.html", "/about/index"),
        ] {
            assert_eq!(address_of(path), address, "{path}");
        }
    }
}
