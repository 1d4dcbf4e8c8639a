//! From spans in any order to rows in the order of the tree.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::{Oddity, Row};
use crate::model::{Span, SpanId, SpanKind};

/// The spans in the order of the tree, and the place of each.
pub(super) fn plant(mut spans: Vec<Span>) -> (Vec<Span>, Vec<Row>) {
    spans.sort_by_key(|span| (span.start_unix_nano, span.span_id));
    let mut family = Family::of(&spans);
    family.cut_circles(&spans);
    let order = family.depth_first();
    let mut row_of = vec![0; spans.len()];
    for (row, &index) in order.iter().enumerate() {
        row_of[index] = row;
    }
    let mut rows: Vec<Row> = Vec::with_capacity(spans.len());
    for &index in &order {
        let parent = family.parent[index].map(|parent| row_of[parent]);
        let depth = parent.map_or(0, |parent| rows[parent].depth + 1);
        rows.push(Row { parent, depth, subtree: 1, self_nano: 0, oddity: family.oddity[index] });
    }
    let mut unordered: Vec<Option<Span>> = spans.into_iter().map(Some).collect();
    let spans: Vec<Span> = order.iter().filter_map(|&index| unordered[index].take()).collect();
    for row in (0..rows.len()).rev() {
        if let Some(parent) = rows[row].parent {
            rows[parent].subtree += rows[row].subtree;
        }
    }
    for row in 0..rows.len() {
        if rows[row].parent.is_some_and(|parent| runs_outside(&spans[row], &spans[parent])) {
            rows[row].oddity.get_or_insert(Oddity::OutsideParent);
        }
        rows[row].self_nano = self_time(&spans, &rows, row);
    }
    (spans, rows)
}

/// The children of a row, by start.
pub(super) fn children(rows: &[Row], row: usize) -> impl Iterator<Item = usize> {
    let end = row + rows[row].subtree;
    let first = Some(row + 1).filter(|&child| child < end);
    std::iter::successors(first, move |&child| Some(child + rows[child].subtree).filter(|&next| next < end))
}

fn runs_outside(span: &Span, parent: &Span) -> bool {
    span.start_unix_nano < parent.start_unix_nano || span.end_unix_nano() > parent.end_unix_nano()
}

/// The time of a span in which none of its children ran. Children are sorted by start, so one sweep does.
fn self_time(spans: &[Span], rows: &[Row], row: usize) -> u64 {
    let (start, end) = (spans[row].start_unix_nano, spans[row].end_unix_nano());
    let (mut idle, mut covered) = (0, start);
    for child in children(rows, row) {
        let child = &spans[child];
        let from = child.start_unix_nano.clamp(covered, end);
        idle += from - covered;
        covered = child.end_unix_nano().clamp(from, end);
    }
    idle + (end - covered)
}

/// Who descends from whom, by index into the spans sorted by start.
struct Family {
    parent: Vec<Option<usize>>,
    oddity: Vec<Option<Oddity>>,
}

impl Family {
    fn of(spans: &[Span]) -> Self {
        let mut oddity = vec![None; spans.len()];
        // The other side of a call that has the same id on both sides, as Zipkin's libraries send it.
        let mut calling: Vec<Option<usize>> = vec![None; spans.len()];
        let mut by_id: HashMap<SpanId, usize> = HashMap::with_capacity(spans.len());
        for (index, span) in spans.iter().enumerate() {
            match by_id.entry(span.span_id) {
                Entry::Vacant(entry) => {
                    entry.insert(index);
                }
                Entry::Occupied(mut entry) => {
                    let first = *entry.get();
                    match (spans[first].kind, span.kind) {
                        (SpanKind::Client, SpanKind::Server) => {
                            calling[index] = Some(first);
                            entry.insert(index);
                        }
                        (SpanKind::Server, SpanKind::Client) if calling[first].is_none() => {
                            calling[first] = Some(index);
                        }
                        _ => oddity[index] = Some(Oddity::SharedId),
                    }
                }
            }
        }
        let mut parent = calling;
        for (index, span) in spans.iter().enumerate() {
            if let (None, Some(id)) = (parent[index], span.parent) {
                parent[index] = by_id.get(&id).copied();
                if parent[index].is_none() {
                    oddity[index] = Some(Oddity::MissingParent);
                }
            }
        }
        Self { parent, oddity }
    }

    /// Makes the earliest span of each circle a root.
    fn cut_circles(&mut self, spans: &[Span]) {
        /// In which walk up a span was first met; 0 for none yet.
        type Walk = usize;
        let mut met: Vec<Walk> = vec![0; spans.len()];
        for start in 0..spans.len() {
            let walk: Walk = start + 1;
            let mut at = start;
            while met[at] == 0 {
                met[at] = walk;
                match self.parent[at] {
                    Some(parent) => at = parent,
                    None => break,
                }
            }
            // Ended on a span of this very walk that has a parent: that span is in a circle.
            if met[at] == walk && self.parent[at].is_some() {
                self.cut(at);
            }
        }
    }

    /// Cuts the circle that `member` is in above its earliest span: spans are sorted by start, so the lowest index.
    fn cut(&mut self, member: usize) {
        let (mut at, mut earliest) = (member, member);
        while let Some(parent) = self.parent[at].filter(|&parent| parent != member) {
            at = parent;
            earliest = earliest.min(at);
        }
        self.parent[earliest] = None;
        self.oddity[earliest] = Some(Oddity::Circle);
    }

    /// Parents before children, children by start; without recursion, because a trace may be as deep as it is long.
    fn depth_first(&self) -> Vec<usize> {
        let count = self.parent.len();
        // Each list holds the latest first, so that the earliest is the last one pushed and the first one taken.
        let mut latest_child: Vec<Option<usize>> = vec![None; count];
        let mut earlier: Vec<Option<usize>> = vec![None; count];
        let mut latest_root = None;
        for (index, parent) in self.parent.iter().enumerate() {
            let list = match parent {
                Some(parent) => &mut latest_child[*parent],
                None => &mut latest_root,
            };
            earlier[index] = list.replace(index);
        }
        let mut order = Vec::with_capacity(count);
        let mut waiting: Vec<usize> = std::iter::successors(latest_root, |&index| earlier[index]).collect();
        while let Some(index) = waiting.pop() {
            order.push(index);
            waiting.extend(std::iter::successors(latest_child[index], |&child| earlier[child]));
        }
        order
    }
}
