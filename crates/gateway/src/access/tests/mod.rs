//! What a reviewer would ask of signing in, sessions, tokens and second factors.

mod canary;
mod second_factor;
mod signing_in;
mod tokens;

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};
use domain::{Identity, Role};

use super::fixture::HandClock;
use super::*;

const HERE: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const PASSWORD: &str = "correct horse battery staple";
const LOCAL: &str = "the-local-token-of-the-tests";

fn access() -> (Access, Arc<HandClock>) {
    fixture::access(LOCAL)
}

fn add(access: &Access, name: &str, roles: &[Role]) {
    let request = UserRequest {
        name: name.to_owned(),
        display_name: String::new(),
        roles: roles.to_vec(),
        password: Some(Secret::new(PASSWORD)),
    };
    access.create_user(request).unwrap();
}

fn sent(name: &str, password: &str) -> SignIn {
    SignIn {
        name: name.to_owned(),
        password: Secret::new(password),
        code: None,
        address: HERE,
        user_agent: "Firefox".to_owned(),
        before: Vec::new(),
    }
}

fn with_code(name: &str, code: &str) -> SignIn {
    SignIn { code: Some(Secret::new(code)), ..sent(name, PASSWORD) }
}

fn bearer(access: &Access, token: &str) -> Result<Identity, AccessError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    access.identify(&headers, &SessionCookie::of_port(4000), HERE)
}

/// Who a cookie's value is.
fn by_cookie(access: &Access, value: &Secret) -> String {
    let mut headers = HeaderMap::new();
    let cookie = format!("theme=dark; __Host-homeostat={}", value.expose());
    headers.insert(header::COOKIE, HeaderValue::from_str(&cookie).unwrap());
    access.identify(&headers, &SessionCookie::of_port(4000), HERE).unwrap().name
}

fn code<T: std::fmt::Debug>(result: Result<T, AccessError>) -> &'static str {
    result.unwrap_err().code()
}
