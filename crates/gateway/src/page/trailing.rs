//! Addresses of pages that were typed with a slash behind.
//!
//! In: an address. Out: the page's own on this server, where there is one; it is made of what the page table knows, so that
//! it leads to no other server.

use axum::http::Uri;

use super::PATHS;

/// The address without the slash at its end, with its query, where a page may be there.
pub(crate) fn without_slash(uri: &Uri) -> Option<String> {
    let path = uri.path().strip_suffix('/')?;
    let query = uri.query().map_or(String::new(), |query| format!("?{query}"));
    PATHS.iter().any(|(page, _)| *page != "/" && is_at(page, path)).then(|| format!("{path}{query}"))
}

/// Whether a path is that of a page, whose placeholders take one part that is not empty, or the rest of them.
fn is_at(page: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    for expected in page.split('/') {
        let is_placeholder = expected.starts_with('{');
        match parts.next() {
            Some(part) if is_placeholder && !part.is_empty() => {
                if expected.starts_with("{*") {
                    return parts.all(|part| !part.is_empty());
                }
            }
            Some(part) if part == expected && !is_placeholder => {}
            _ => return false,
        }
    }
    parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_are_led_to_and_never_another_server() {
        let led = |address: &str| without_slash(&address.parse().unwrap());
        for (address, to) in [
            ("/docs/", "/docs"),
            ("/issues/?state=open&q=a/", "/issues?state=open&q=a/"),
            ("/services/cart/", "/services/cart"),
            ("/docs/guides/first-hour/", "/docs/guides/first-hour"),
        ] {
            assert_eq!(led(address).as_deref(), Some(to));
        }
        for address in [
            "/",
            "//",
            "//evil.example/",
            "//issues/",
            "/issues//",
            "/nothing/",
            "/issues",
            "/api/v3/",
            "/docs//x/",
        ] {
            assert_eq!(led(address), None, "{address}");
        }
    }
}
