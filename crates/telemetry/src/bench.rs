//! The steps of taking in spans, one by one, for `benches/parts.rs`. Not for use.

use crate::batch::Batch;
use crate::block::{Block, Encoder};
use crate::model::Signal;
use crate::otlp::{Limits, walk_traces};

/// A batch and what is made of it.
#[derive(Debug)]
pub struct Parts {
    batch: Batch,
    encoder: Encoder,
    block: Vec<u8>,
}

impl Default for Parts {
    fn default() -> Self {
        Self { batch: Batch::new(Signal::Spans), encoder: Encoder::default(), block: Vec::new() }
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
}
