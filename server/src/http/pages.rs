//! Pages that are part of the binary.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// A file as it is compiled in.
#[derive(Clone, Copy, Debug)]
pub(super) struct File {
    path: &'static str,
    content_type: &'static str,
    body: &'static str,
}

/// Every page there is.
pub(super) const PAGES: [File; 2] = [
    File {
        path: "/",
        content_type: "text/html; charset=utf-8",
        body: include_str!("../../web/index.html"),
    },
    File {
        path: "/style.css",
        content_type: "text/css; charset=utf-8",
        body: include_str!("../../web/style.css"),
    },
];

/// What pages may load: what comes from here.
const POLICY: &str = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'";

/// A page that is served.
#[derive(Clone, Debug)]
pub(super) struct Page {
    file: File,
    /// Weak, because it is the same for a compressed body.
    etag: HeaderValue,
}

impl Page {
    pub(super) fn new(file: File) -> Self {
        let mut hasher = DefaultHasher::new();
        file.body.hash(&mut hasher);
        let etag = format!("W/\"{:016x}\"", hasher.finish());
        Self { file, etag: HeaderValue::from_str(&etag).expect("ASCII") }
    }

    pub(super) fn path(&self) -> &'static str {
        self.file.path
    }

    /// The page, or that the client has it.
    pub(super) fn answer(&self, request: &HeaderMap) -> Response {
        let has_it = request.get_all(IF_NONE_MATCH).iter().any(|tags| self.is_among(tags));
        // A browser asks each time, and is nearly always told that it has it.
        let kept: [(HeaderName, HeaderValue); 2] =
            [(ETAG, self.etag.clone()), (CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
        if has_it {
            return (StatusCode::NOT_MODIFIED, kept).into_response();
        }
        let about = [(CONTENT_TYPE, self.file.content_type), (CONTENT_SECURITY_POLICY, POLICY)];
        (kept, about, self.file.body).into_response()
    }

    /// Whether an `If-None-Match` names this page as it is. Strong tags are compared as weak ones.
    fn is_among(&self, tags: &HeaderValue) -> bool {
        let opaque = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
        let ours = opaque(self.etag.as_bytes());
        let tags = tags.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        tags.into_iter().any(|tag| tag == b"*" || opaque(tag) == ours)
    }
}
