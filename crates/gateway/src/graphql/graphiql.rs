//! The page `/graphiql`: GraphiQL from assets that are built in, under a content security policy of its own.
//!
//! In: packed assets (see `assets/vendor/graphiql/README.md`). Out: a page that loads nothing from elsewhere.

use std::io::Read;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;
use maud::{DOCTYPE, html};

use crate::problem::Problem;

/// Scripts and requests are this server's alone. Its editor sets styles as it is typed into, and draws with pictures that
/// stand in its style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; font-src 'self'; \
     style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// What is packed: the name, the media type and the bytes.
const PACKED: [(&str, &str, &[u8]); 5] = [
    ("react.js", SCRIPT, include_bytes!("../assets/vendor/graphiql/react.min.js.gz")),
    ("react-dom.js", SCRIPT, include_bytes!("../assets/vendor/graphiql/react-dom.min.js.gz")),
    ("graphql-ws.js", SCRIPT, include_bytes!("../assets/vendor/graphiql/graphql-ws.min.js.gz")),
    ("graphiql.js", SCRIPT, include_bytes!("../assets/vendor/graphiql/graphiql.min.js.gz")),
    ("graphiql.css", STYLE, include_bytes!("../assets/vendor/graphiql/graphiql.min.css.gz")),
];

/// What is our own, and short.
const OWN: [(&str, &str, &str); 2] = [
    ("start.js", SCRIPT, include_str!("../assets/graphiql.js")),
    ("page.css", STYLE, include_str!("../assets/graphiql.css")),
];

/// `GET /graphiql`
pub(super) async fn page() -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "GraphiQL · Homeostat" }
                link rel="icon" href="/favicon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/graphiql/graphiql.css";
                link rel="stylesheet" href="/assets/graphiql/page.css";
                @for script in ["react.js", "react-dom.js", "graphql-ws.js", "graphiql.js", "start.js"] {
                    script defer src={ "/assets/graphiql/" (script) } {}
                }
            }
            body {
                main id="graphiql" {
                    p { "GraphiQL needs JavaScript. The schema is at " code { "/graphql" } " by introspection, too." }
                }
            }
        }
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ];
    (headers, page.into_string()).into_response()
}

/// `GET /assets/graphiql/{name}`
pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    // Not kept without asking: a newer binary on the same port must not meet an older script.
    let kept = (header::CACHE_CONTROL, "no-cache");
    if let Some((_, kind, text)) = OWN.iter().find(|(own, ..)| *own == name) {
        return ([(header::CONTENT_TYPE, *kind), kept], *text).into_response();
    }
    let Some((_, kind, packed)) = PACKED.iter().find(|(packed, ..)| *packed == name) else {
        return Problem::not_found(format!("there is no asset {name:?}")).into_response();
    };
    let kind = (header::CONTENT_TYPE, *kind);
    let vary = (header::VARY, "accept-encoding");
    let takes_packed = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|accepted| accepted.to_str().ok())
        .is_some_and(|accepted| accepted.contains("gzip"));
    if takes_packed {
        return ([kind, kept, vary, (header::CONTENT_ENCODING, "gzip")], *packed).into_response();
    }
    let mut text = Vec::new();
    match GzDecoder::new(*packed).read_to_end(&mut text) {
        Ok(_) => ([kind, kept, vary], text).into_response(),
        Err(error) => Problem::internal(format!("the asset {name} is damaged: {error}")).into_response(),
    }
}
