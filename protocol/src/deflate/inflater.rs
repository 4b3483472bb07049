//! Compressed messages to plain ones, within a bound.

use flate2::{Decompress, FlushDecompress, Status};

use super::FLUSH_TAIL;

/// Inflates messages: those of any number of connections that keep no context, or those of one
/// that does. It holds nothing before its first message and 47 KiB from then on.
#[derive(Debug, Default)]
pub struct Inflater {
    stream: Option<Decompress>,
    keeps_context: bool,
}

/// Why a message did not come out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InflateError {
    /// It is longer than allowed.
    #[error("the message inflates to more than its limit")]
    TooBig,
    /// The bytes are no deflate stream.
    #[error("the bytes are no deflate stream")]
    Broken,
}

impl Inflater {
    /// For the messages of one connection, which may refer to each other.
    #[must_use]
    pub fn keeping_context() -> Self {
        Self { stream: None, keeps_context: true }
    }

    /// Appends what a message's payload stands for to `output`, at most `bytes_max`.
    ///
    /// # Errors
    /// Why it does not; `output` then ends with a part of it. An inflater that keeps its context
    /// is of no use any more.
    pub fn inflate(
        &mut self,
        compressed: &[u8],
        bytes_max: usize,
        output: &mut Vec<u8>,
    ) -> Result<(), InflateError> {
        // 32 KiB of window, whatever was agreed on: a sender with a smaller one reaches less far.
        let stream = self.stream.get_or_insert_with(|| Decompress::new(false));
        if !self.keeps_context {
            stream.reset(false);
        }
        // One byte more than allowed may come out: that is how too many are noticed.
        let capacity_max = output.len() + bytes_max + 1;
        let guess = (compressed.len() * 4).max(256).min(capacity_max - output.len());
        output.reserve_exact(guess);
        inflate_part(stream, compressed, capacity_max, output)?;
        inflate_part(stream, &FLUSH_TAIL, capacity_max, output)
    }
}

fn inflate_part(
    stream: &mut Decompress,
    mut rest: &[u8],
    capacity_max: usize,
    output: &mut Vec<u8>,
) -> Result<(), InflateError> {
    loop {
        if output.len() >= capacity_max {
            return Err(InflateError::TooBig);
        }
        if output.len() == output.capacity() {
            let more = output.len().max(4096).min(capacity_max - output.len());
            output.reserve_exact(more);
        }
        let (taken_before, length_before) = (stream.total_in(), output.len());
        let status = stream
            .decompress_vec(rest, output, FlushDecompress::Sync)
            .map_err(|_| InflateError::Broken)?;
        let taken = (stream.total_in() - taken_before) as usize;
        rest = &rest[taken..];
        if status == Status::StreamEnd {
            // A block that calls itself the last one is allowed (RFC 7692 section 7.2.3.4); what
            // follows begins another stream.
            stream.reset(false);
        } else if output.len() < output.capacity() {
            if rest.is_empty() {
                break;
            }
            if taken == 0 && output.len() == length_before {
                return Err(InflateError::Broken);
            }
        }
    }
    if output.len() >= capacity_max {
        return Err(InflateError::TooBig);
    }
    Ok(())
}
