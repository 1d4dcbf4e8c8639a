//! A live page as a browser has it open: a stream of server-sent events on a connection of its own.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Server;
use super::changes::Switched;
use super::stream::{Kind, Told};
use crate::bench::known::Known;
use crate::cli::Failure;
use crate::client::Client;

/// Of each kind of thing that has a page of its own.
const OF_A_KIND: usize = 12;

/// What no browser has open live: it is no page, leads elsewhere, or is one only with parameters.
const NOT_LIVE: [&str; 4] = ["/palette", "/experiments/preview", "/traces/compare", "/emergency-stop"];

/// The id of the part of every page that says whether repair is automatic.
const TOP: &str = "top-state";

/// Part of a page that changed.
#[derive(Deserialize)]
struct Patch {
    id: String,
    html: String,
}

/// The addresses of pages: each page, and those of some issues, remediations, services and objectives.
pub(super) fn addresses(client: &Client) -> Result<Vec<String>, Failure> {
    let known = Known::ask(client, OF_A_KIND)?;
    let paths: Vec<&str> = gateway::pages().filter(|path| !NOT_LIVE.contains(path)).collect();
    let numbered = (0..OF_A_KIND).flat_map(|number| paths.iter().map(move |path| (*path, number)));
    Ok(numbered.filter_map(|(path, number)| known.filled(path, number)).collect())
}

/// Keeps one open until it is to stop.
pub(super) async fn follow(
    server: Server,
    page: String,
    switch: watch::Receiver<Switched>,
    stopping: watch::Receiver<bool>,
) -> Told {
    let mut told = Told::nothing(Kind::Page);
    let ended = hear(&server, &page, switch, stopping, &mut told).await;
    told.end(ended.map_err(|why| format!("{page}: {why}")))
}

async fn hear(
    server: &Server,
    page: &str,
    switch: watch::Receiver<Switched>,
    mut stopping: watch::Receiver<bool>,
    told: &mut Told,
) -> Result<(), String> {
    let said = |error: &dyn std::error::Error| error.to_string();
    let mut sender = connect(server).await.map_err(|error| said(&error))?;
    let encoded = page.replace('?', "%3F").replace('=', "%3D").replace('&', "%26");
    let request = Request::get(format!("/events?page={encoded}"))
        .header(header::HOST, format!("localhost:{}", server.address.port()))
        .header(header::AUTHORIZATION, format!("Bearer {}", server.token))
        .body(Empty::<Bytes>::new())
        .map_err(|error| said(&error))?;
    let response = sender.send_request(request).await.map_err(|error| said(&error))?;
    if response.status() != StatusCode::OK {
        return Err(format!("refused with {}", response.status()));
    }
    let (mut body, mut text, mut last) = (response.into_body(), Vec::new(), 0);
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
        };
        let frame = frame.ok_or("the server ended it")?.map_err(|error| said(&error))?;
        text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        told.hears();
        while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
            let message: Vec<u8> = text.drain(..end + 2).collect();
            let Some(patch) = message.strip_prefix(b"event: patch\ndata: ") else { continue };
            let now = *switch.borrow();
            // Before the first switch it is told how the page is.
            if now.number == 0 {
                continue;
            }
            told.events += 1;
            let patch: Patch = serde_json::from_slice(patch).map_err(|error| said(&error))?;
            let shown = if now.on { "<strong>on</strong>" } else { "<strong>off</strong>" };
            if patch.id == TOP && last < now.number && patch.html.contains(shown) {
                last = now.number;
                told.late.push(now.at.elapsed());
            }
        }
    }
}

async fn connect(server: &Server) -> std::io::Result<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(server.address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = Builder::new()
        .max_buf_size(64 << 10)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(std::io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}
