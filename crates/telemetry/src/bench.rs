//! The steps of taking in spans, one by one, for `benches/parts.rs`. Not for use.

use crate::batch::Batch;
use crate::block::{Block, Encoder};
use crate::derive::State;
use crate::model::{Signal, SpanKind};
use crate::otlp::{Limits, walk_traces};

/// A batch and what is made of it.
#[derive(Debug)]
pub struct Parts {
    batch: Batch,
    encoder: Encoder,
    block: Vec<u8>,
    state: State,
    now: u64,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            batch: Batch::new(Signal::Spans),
            encoder: Encoder::default(),
            block: Vec::new(),
            state: State::new(),
            now: 0,
        }
    }
}

impl Parts {
    /// Walks a request into the batch.
    pub fn walk(&mut self, request: &[u8]) {
        walk_traces(request, &Limits::default(), &mut self.batch).expect("a request of the bench's own");
    }

    /// Empties the batch.
    pub fn clear(&mut self) {
        self.batch.clear();
    }

    /// Writes the batch as a block; answers its bytes.
    pub fn encode(&mut self) -> usize {
        self.block.clear();
        self.encoder.encode(&self.batch, &mut self.block);
        self.block.len()
    }

    /// Reads the block; answers its rows.
    pub fn decode(&self) -> usize {
        let block = Block::read(&self.block).expect("a block of our own");
        block.batch().expect("a block of our own").rows()
    }

    /// Makes every span a call to what sends no spans.
    pub fn call_out(&mut self) {
        self.batch.kind.fill(SpanKind::Client as u8);
    }

    /// Derives from the batch, then makes it the one that would come next at a million spans a second: a little later,
    /// of other traces.
    pub fn derive(&mut self) {
        let newest = self.batch.start.iter().copied().max().unwrap_or(0);
        self.now = self.now.max(newest);
        self.state.observe(&self.batch, self.now, |_, _, _| {});
        let later = 1000 * self.batch.rows() as u64;
        self.now += later;
        for (trace, start) in self.batch.trace.iter_mut().zip(&mut self.batch.start) {
            trace[0] = trace[0].wrapping_add(1);
            trace[1] = trace[1].wrapping_add(u8::from(trace[0] == 0));
            trace[2] = trace[2].wrapping_add(u8::from(trace[0] == 0 && trace[1] == 0));
            *start += later;
        }
    }
}
