//! Stylesheets and scripts, built into the binary. A browser keeps them and asks with their `ETag` whether they are still
//! the same.

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::problem::Problem;

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, kind and content.
const ASSETS: [(&str, &str, &str); 5] = [
    ("house.css", CSS, include_str!("../../assets/demo.css")),
    ("admin.css", CSS, include_str!("../../assets/admin.css")),
    ("admin.js", SCRIPT, include_str!("../../assets/admin.js")),
    ("uPlot.css", CSS, include_str!("vendor/uPlot.min.css")),
    ("uPlot.js", SCRIPT, include_str!("vendor/uPlot.iife.min.js")),
];

/// Where the asset of this name is.
pub(super) fn address(name: &str) -> String {
    format!("/admin/assets/{name}")
}

pub(super) async fn serve(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some((_, kind, content)) = ASSETS.iter().find(|(known, ..)| *known == name) else {
        return Problem::of_status(StatusCode::NOT_FOUND).into_response();
    };
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&Sha256::digest(content)[..12]));
    let about = [(ETAG, tag.clone()), (CACHE_CONTROL, "no-cache".to_owned()), (CONTENT_TYPE, (*kind).to_owned())];
    if headers.get_all(IF_NONE_MATCH).iter().any(|known| names(known.as_bytes(), &tag)) {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    (about, *content).into_response()
}

/// Whether this list of tags has ours, or is the star that stands for any (RFC 9110 section 13.1.2).
fn names(known: &[u8], tag: &str) -> bool {
    known.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).any(|known| {
        let known = known.strip_prefix(b"W/").unwrap_or(known);
        known == tag.as_bytes() || known == b"*"
    })
}
