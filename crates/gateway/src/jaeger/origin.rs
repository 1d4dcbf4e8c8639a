//! The distinct makers of a trace's spans.

use std::collections::HashMap;
use std::sync::Arc;

use telemetry::Resource;

/// Resources in the order in which they were first met, each once.
#[derive(Debug, Default)]
pub(super) struct Origins {
    distinct: Vec<Arc<Resource>>,
    /// Spans of one block share their resource, so most are known by where they lie.
    by_place: HashMap<usize, usize>,
    by_service: HashMap<String, Vec<usize>>,
}

impl Origins {
    /// The number of a resource.
    pub(super) fn number(&mut self, resource: &Arc<Resource>) -> usize {
        // Kept alive by the trace while it is written, so that no other resource comes to lie there.
        let place = Arc::as_ptr(resource).addr();
        if let Some(&number) = self.by_place.get(&place) {
            return number;
        }
        let alike = self.by_service.entry(resource.service.clone()).or_default();
        let known = alike.iter().copied().find(|&number| self.distinct[number] == *resource);
        let number = known.unwrap_or_else(|| {
            self.distinct.push(Arc::clone(resource));
            alike.push(self.distinct.len() - 1);
            self.distinct.len() - 1
        });
        self.by_place.insert(place, number);
        number
    }

    /// All of them, by number.
    pub(super) fn all(&self) -> &[Arc<Resource>] {
        &self.distinct
    }
}
