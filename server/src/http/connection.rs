//! One connection of the HTTP thread, from its first request to its end or to its upgrade.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::{Body as _, Incoming};
use hyper::header::{HeaderName, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tickloom_protocol::handshake::Head;
use tickloom_protocol::limits;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower::ServiceExt;

use super::stream::HttpStream;
use crate::tls::Tls;

/// Bytes that hyper keeps of a connection: more than any head, and a piece of a body.
const BUFFER_BYTES_MAX: usize = 16 * 1024;
const _: () = assert!(BUFFER_BYTES_MAX > limits::HEAD_BYTES_MAX, "a head must fit");

/// How a connection ended.
pub(super) enum End {
    /// It is over.
    Closed,
    /// Its last request is an upgrade, which nobody has answered.
    Upgrade {
        /// Its socket.
        stream: TcpStream,
        /// Its keys, when it is encrypted.
        tls: Option<Box<Tls>>,
        /// The upgrade's head, and what was read behind it.
        bytes: Vec<u8>,
    },
}

/// Serves requests until one of the ends has had enough. `stop` asks for the end after the
/// request that is being answered.
pub(super) async fn serve(
    stream: HttpStream,
    router: Router,
    idle_timeout: Duration,
    mut stop: watch::Receiver<bool>,
) -> End {
    let is_blocked = stream.is_blocked();
    let upgrade = Rc::new(Cell::new(None));
    let asked = Rc::clone(&upgrade);
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, asked) = (router.clone(), Rc::clone(&asked));
        async move {
            if let Some(head) = upgrade_head(&request) {
                asked.set(Some(head));
                // Not ours to answer: the connection is about to be taken from under it.
                pending::<()>().await;
            }
            router.oneshot(request.map(Body::new)).await
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle_timeout)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_headers(limits::HEAD_LINES_MAX)
        // A client that ends its half behind its last request still gets its answers.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut stopped = pin!(stop.wait_for(|stop| *stop));
    let mut is_stopping = false;
    let head = poll_fn(|cx| {
        if !is_stopping && stopped.as_mut().poll(cx).is_ready() {
            is_stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        // How it failed, its client knows, or is gone.
        if Pin::new(&mut connection).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        // Answers to earlier requests leave first: hyper has tried to write them all, and what it
        // could not write blocks the stream.
        if is_blocked.get() {
            return Poll::Pending;
        }
        match upgrade.take() {
            Some(head) => Poll::Ready(Some(head)),
            None => Poll::Pending,
        }
    });
    let head = head.await;
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    let Some(mut bytes) = head else {
        // Hyper drops what it gives up: one that sent nothing in time, for instance.
        let _ = stream.shutdown().await;
        return End::Closed;
    };
    let (transport, rewound) = stream.into_parts();
    let (stream, tls, unread) = transport.into_parts();
    for unread in [&parts.read_buf[..], &rewound, &unread] {
        bytes.extend_from_slice(unread);
    }
    End::Upgrade { stream, tls, bytes }
}

/// The head of a request that a shard would not hand over, and so must answer itself: a WebSocket
/// upgrade, valid or not.
fn upgrade_head(request: &Request<Incoming>) -> Option<Vec<u8>> {
    // One with a body is not, whatever it says: nobody could tell the body from frames.
    if !request.headers().contains_key(UPGRADE) || !request.body().is_end_stream() {
        return None;
    }
    let head = write_head(request);
    let is_plain = matches!(Head::parse(&head), Ok(Some((Head::Http(_), _)) | None));
    (!is_plain).then_some(head)
}

/// A request's head as a client may have sent it. Names are in lower case.
fn write_head<B>(request: &Request<B>) -> Vec<u8> {
    let mut head = Vec::with_capacity(1024);
    let version = if request.version() == Version::HTTP_10 { "1.0" } else { "1.1" };
    let start = format!("{} {} HTTP/{version}\r\n", request.method(), request.uri());
    head.extend_from_slice(start.as_bytes());
    for (name, value) in request.headers() {
        head.extend_from_slice(HeaderName::as_str(name).as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}
