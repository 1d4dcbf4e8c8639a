//! The operations that run on one socket.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::Bound;
use std::task::Poll;

use async_graphql::Response;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

/// Operations by the ids that the client gave them.
#[derive(Default)]
pub(super) struct Running {
    operations: BTreeMap<String, BoxStream<'static, Response>>,
    /// Who was heard last: the next one is asked first.
    last: String,
}

impl Running {
    pub(super) fn has(&self, id: &str) -> bool {
        self.operations.contains_key(id)
    }

    pub(super) fn len(&self) -> usize {
        self.operations.len()
    }

    pub(super) fn begin(&mut self, id: String, answers: BoxStream<'static, Response>) {
        self.operations.insert(id, answers);
    }

    /// Ends one; it may have ended by itself.
    pub(super) fn end(&mut self, id: &str) {
        self.operations.remove(id);
    }

    /// The next answer of any, or the end of one; waits for ever where none runs.
    pub(super) async fn next(&mut self) -> (String, Option<Response>) {
        let (id, answer) = poll_fn(|context| {
            let behind = (Bound::Excluded(self.last.clone()), Bound::Unbounded);
            let before: (Bound<String>, _) = (Bound::Unbounded, Bound::Included(self.last.clone()));
            for range in [behind, before] {
                for (id, answers) in self.operations.range_mut::<String, _>(range) {
                    if let Poll::Ready(answer) = answers.poll_next_unpin(context) {
                        return Poll::Ready((id.clone(), answer));
                    }
                }
            }
            Poll::Pending
        })
        .await;
        if answer.is_none() {
            self.operations.remove(&id);
        }
        self.last.clone_from(&id);
        (id, answer)
    }
}
