//! The end of a tracer with the end of a scope.

use std::time::Duration;

use crate::tracer::Tracer;

/// See [`Tracer::shutdown_on_drop`].
#[derive(Debug)]
pub struct ShutdownOnDrop {
    tracer: Tracer,
    deadline: Duration,
}

impl ShutdownOnDrop {
    pub(crate) fn new(tracer: Tracer, deadline: Duration) -> Self {
        Self { tracer, deadline }
    }
}

impl Drop for ShutdownOnDrop {
    fn drop(&mut self) {
        // What could not be sent is counted; there is nobody left to tell.
        let _ = self.tracer.shutdown(self.deadline);
    }
}
