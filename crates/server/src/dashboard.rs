//! The page for people, and the files that it is made of. It needs no token, as it holds no data: what it shows, it asks the
//! other paths for, with the token that its reader gives it.

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use xxhash_rust::xxh3::xxh3_64;

use crate::problem::{Problem, ProblemBody, ProblemType};

/// What a browser may do for the page: run and show what this node serves, ask this node, and nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// A file of the page.
#[derive(Debug)]
struct File {
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($content_type:ident: $($name:literal)+;)+) => {
        &[$($(File {
            name: $name,
            content_type: $content_type,
            text: include_str!(concat!("../dashboard/", $name)),
        }),+),+]
    };
}

const PAGE: File = File { name: "", content_type: HTML, text: include_str!("../dashboard/index.html") };

const FILES: &[File] = files! {
    CSS: "dashboard.css";
    IMAGE: "icon.svg";
    SCRIPT:
        "alarms.js" "api.js" "app.js" "conflicts.js" "dialog.js" "difference.js" "dom.js" "exact.js" "facts.js" "inspector.js"
        "islands.js" "keys.js" "links.js" "login.js" "members.js" "sparkline.js" "story.js" "tail.js" "theme.js" "topology.js"
        "watch.js";
};

/// The dashboard.
#[utoipa::path(
    get, path = "/", tag = "dashboard",
    responses((status = 200, body = String, content_type = "text/html"), (status = 304, description = "It is still the same")),
)]
pub(crate) async fn page(headers: HeaderMap) -> Response {
    PAGE.response(&headers)
}

/// A file of the dashboard.
#[utoipa::path(
    get, path = "/dashboard/{file}", tag = "dashboard", params(("file" = String, Path, description = "Its name")),
    responses(
        (status = 200, body = String, content_type = "text/javascript"),
        (status = 304, description = "It is still the same"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let file = FILES.iter().find(|file| file.name == name);
    let detail = "the dashboard has no such file";
    file.map(|file| file.response(&headers)).ok_or_else(|| Problem::new(ProblemType::NoSuchPath, detail))
}

impl File {
    /// Browsers may keep it, and ask each time whether it is still the same: the next version of the node has another one.
    fn response(&self, asked: &HeaderMap) -> Response {
        let tag = format!("\"{:016x}\"", xxh3_64(self.text.as_bytes()));
        let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let mut known =
            known.flat_map(|value| value.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
        let mut response = if known.any(|known| known == tag || known == "*") {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, self.content_type)], self.text).into_response()
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, HeaderValue::try_from(tag).expect("hexadecimal is visible ASCII"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::PathBuf};

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served_and_no_other() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("dashboard");
        let there =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let there: BTreeSet<String> = there.filter(|name| name != "index.html").collect();
        let served: BTreeSet<String> = FILES.iter().map(|file| file.name.to_owned()).collect();
        assert_eq!(there, served);
    }

    #[test]
    fn no_file_asks_another_site_or_makes_markup_of_text() {
        for file in FILES.iter().chain([&PAGE]) {
            let forbidden = [
                "https://",
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "<style",
                " style=",
                " onclick=",
            ];
            for text in forbidden {
                assert!(!file.text.contains(text), "{} has {text}", file.name);
            }
            let others = file.text.matches("http://").count();
            let own = file.text.matches("http://www.w3.org/2000/svg").count();
            assert_eq!(others, own, "{} names another site", file.name);
        }
    }
}
