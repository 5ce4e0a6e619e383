//! An I/O stream that reports reads and blocked writes to the connection's [`Activity`].

use super::timeouts::Activity;
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reports reads and blocked writes.
#[derive(Debug)]
pub struct ObservedIo<I> {
    io: I,
    activity: Activity,
    /// Whether the last write was not accepted.
    blocked: bool,
}

impl<I> ObservedIo<I> {
    pub fn new(io: I, activity: Activity) -> Self {
        ObservedIo { io, activity, blocked: false }
    }

    fn note(&mut self, written: &Poll<Result<usize>>) {
        if written.is_pending() != self.blocked {
            self.blocked = written.is_pending();
            self.activity.wrote(!self.blocked);
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for ObservedIo<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.activity.read();
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for ObservedIo<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
