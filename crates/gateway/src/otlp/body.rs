//! Bodies of requests: put together within limits of bytes and time.
//!
//! In: frames as hyper reads them. Out: the whole body in one piece, because the store walks it in place. One that
//! came in one frame is not copied; others are copied once, into a buffer that is used again.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;

use super::counts::Reason;
use super::refused::Refused;

/// Buffers kept for later bodies: 16 MiB at most, with [`KEPT_BYTES`].
const KEPT: usize = 16;

/// A buffer that grew beyond this is not kept: 1 MiB, five times the usual batch.
const KEPT_BYTES: usize = 1 << 20;

/// How long the rest of a refused body is read: a client on the same machine sends 16 MiB within 0.1 s.
const REST_TIME: Duration = Duration::from_secs(1);

/// Bytes of unfinished bodies in one receiver, and buffers for them.
pub(crate) struct Room {
    free: Cell<usize>,
    limit: usize,
    buffers: RefCell<Vec<Vec<u8>>>,
}

impl Room {
    pub(crate) fn new(limit: usize) -> Self {
        Self { free: Cell::new(limit), limit, buffers: RefCell::default() }
    }
}

/// Bytes taken out of a [`Room`], until dropped.
struct Held {
    room: Rc<Room>,
    bytes: usize,
}

impl Held {
    fn add(&mut self, bytes: usize) -> Result<(), Refused> {
        let Some(free) = self.room.free.get().checked_sub(bytes) else {
            return Err(Refused::no_room(self.room.limit));
        };
        self.room.free.set(free);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.free.set(self.room.free.get() + self.bytes);
    }
}

/// A whole body.
pub(crate) struct Gathered {
    form: Form,
    held: Held,
}

enum Form {
    /// As it came.
    Frame(Bytes),
    /// Put together from several frames.
    Buffer(Vec<u8>),
}

impl Deref for Gathered {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.form {
            Form::Frame(bytes) => bytes,
            Form::Buffer(buffer) => buffer,
        }
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        if let Form::Buffer(buffer) = &mut self.form {
            let mut buffers = self.held.room.buffers.borrow_mut();
            if buffers.len() < KEPT && buffer.capacity() <= KEPT_BYTES {
                buffer.clear();
                buffers.push(std::mem::take(buffer));
            }
        }
    }
}

/// Puts a body of at most `limit` bytes together, within `time`.
pub(crate) async fn gather<B>(
    mut body: B,
    limit: usize,
    time: Duration,
    room: &Rc<Room>,
) -> Result<Gathered, Refused>
where
    B: Body<Data = Bytes> + Unpin,
{
    match tokio::time::timeout(time, gather_all(&mut body, limit, room)).await {
        Ok(Ok(gathered)) => Ok(gathered),
        Ok(Err(refused)) => {
            let _ = tokio::time::timeout(REST_TIME, pass_over(&mut body, limit)).await;
            Err(refused)
        }
        Err(_) => {
            let message = format!("the body did not end within {} s", time.as_secs_f64());
            Err(Refused::new(Reason::Slow, message))
        }
    }
}

/// Reads what is left of a refused body and keeps none of it. A connection closed with bytes unread is reset, and the
/// client would never see why it was refused.
async fn pass_over<B>(body: &mut B, limit: usize)
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut passed = 0;
    while let Some(Ok(frame)) = body.frame().await {
        passed += frame.data_ref().map_or(0, Bytes::len);
        if passed > limit {
            return;
        }
    }
}

async fn gather_all<B>(body: &mut B, limit: usize, room: &Rc<Room>) -> Result<Gathered, Refused>
where
    B: Body<Data = Bytes> + Unpin,
{
    let announced = body.size_hint().upper().map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let too_large = || Refused::too_large("the body", limit);
    if announced > limit {
        return Err(too_large());
    }
    let form = Form::Frame(Bytes::new());
    let mut gathered = Gathered { form, held: Held { room: Rc::clone(room), bytes: 0 } };
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refused::new(Reason::Incomplete, "the body ended too early"))?;
        let Ok(data) = frame.into_data() else { continue };
        if gathered.len() + data.len() > limit {
            return Err(too_large());
        }
        gathered.held.add(data.len())?;
        gathered.append(data, announced);
    }
    Ok(gathered)
}

impl Gathered {
    fn append(&mut self, data: Bytes, announced: usize) {
        match &mut self.form {
            Form::Buffer(buffer) => buffer.extend_from_slice(&data),
            Form::Frame(first) if first.is_empty() => *first = data,
            Form::Frame(first) => {
                let mut buffer = self.held.room.buffers.borrow_mut().pop().unwrap_or_default();
                // Not what was announced alone: a client could announce much and send nothing.
                buffer.reserve(announced.min(KEPT_BYTES).max(first.len() + data.len()));
                buffer.extend_from_slice(first);
                buffer.extend_from_slice(&data);
                self.form = Form::Buffer(buffer);
            }
        }
    }
}

/// A body that is one piece, with trailers or without.
pub(crate) struct Reply {
    pub(crate) data: Option<Bytes>,
    pub(crate) trailers: Option<hyper::HeaderMap>,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        let frame = match self.data.take() {
            Some(data) => Some(hyper::body::Frame::data(data)),
            None => self.trailers.take().map(hyper::body::Frame::trailers),
        };
        std::task::Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}
