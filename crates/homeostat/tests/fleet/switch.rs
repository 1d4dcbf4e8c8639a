//! A stand-in for link proxies.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::http::read_message;

/// A stand-in for link proxies, with the one thing about them the services know: what an open breaker says.
pub(crate) struct Switch {
    state: Arc<AtomicU64>,
}

#[derive(Clone, Copy)]
pub(crate) enum State {
    Passing = 0,
    BreakerOpen = 1,
    Broken = 2,
}

impl Switch {
    pub(crate) fn start() -> Self {
        Self { state: Arc::default() }
    }

    pub(crate) fn turn(&self, state: State) {
        self.state.store(state as u64, Ordering::SeqCst);
    }

    /// Listens in front of `callee` and gives the address.
    pub(crate) fn add(&self, callee: u16) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::clone(&self.state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                std::thread::spawn(move || pass_requests(stream, callee, &state));
            }
        });
        address
    }
}

/// Answers the requests of one connection, each by what the switch is turned to when it comes.
fn pass_requests(mut caller: TcpStream, callee: u16, state: &AtomicU64) -> Option<()> {
    while let Some(request) = read_message(&mut caller) {
        match state.load(Ordering::SeqCst) {
            0 => {
                let mut backend = TcpStream::connect(("127.0.0.1", callee)).ok()?;
                backend.write_all(&request).ok()?;
                caller.write_all(&read_message(&mut backend)?).ok()?;
            }
            1 => caller
                .write_all(
                    b"HTTP/1.1 503 Service Unavailable\r\nx-homeostat-breaker: open\r\n\
                      content-length: 0\r\n\r\n",
                )
                .ok()?,
            _ => return None,
        }
    }
    None
}
