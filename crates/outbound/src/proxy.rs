//! The proxy that requests go through, where the environment names one.
//!
//! In: `ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY` (the first that is set) and `NO_PROXY`. Out: the proxy, which is never asked for
//! this machine: what goes to it in the clear would be read there, and a proxy's own loopback is another machine.

use ureq::Proxy;

/// How this machine is called by those who mean it.
pub(crate) const THIS_MACHINE: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The proxy of the environment; `None` where it names none.
pub fn proxy() -> Option<Proxy> {
    let excepted = ["NO_PROXY", "no_proxy"].into_iter().find_map(|name| std::env::var(name).ok());
    but_for_this_machine(&Proxy::try_from_env()?, &excepted.unwrap_or_default())
}

/// The same proxy, asked neither for this machine nor for the `excepted` (separated by commas).
pub(crate) fn but_for_this_machine(named: &Proxy, excepted: &str) -> Option<Proxy> {
    let mut proxy = Proxy::builder(named.protocol()).host(named.host()).port(named.port());
    if let Some(name) = named.username() {
        proxy = proxy.username(name);
    }
    if let Some(password) = named.password() {
        proxy = proxy.password(password);
    }
    let excepted = excepted.split(',').map(str::trim).filter(|host| !host.is_empty());
    THIS_MACHINE.into_iter().chain(excepted).fold(proxy, |proxy, host| proxy.no_proxy(host)).build().ok()
}
