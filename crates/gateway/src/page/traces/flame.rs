//! A trace as an icicle: spans with the same way from the root, by service and operation, put together.
//!
//! The width of a box is the time its spans took, next to what its siblings took; not when. Children that ran at the
//! same time may take more than their parent: then the parent's box is as wide as they are together, and what it took
//! itself stands in words.

use std::collections::BTreeMap;

use maud::{Markup, html};
use telemetry::{StatusCode, Trace};

use super::units;
use super::waterfall::Colours;
use crate::body::Query;
use crate::page::sentence::{count, shortened};
use crate::problem::Problem;

const ROW_HEIGHT: usize = 22;
/// Levels drawn at once.
const LEVELS: usize = 40;
/// Boxes narrower than this share are left out, and counted.
const NARROWEST: f64 = 0.001;
/// The width of a character as a share of a picture of 1000 px.
const CHARACTER: f64 = 0.0072;

/// Spans put together.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) spans: usize,
    pub(super) errors: usize,
    /// Nanoseconds its spans took together.
    pub(super) total: u64,
    /// Nanoseconds they took themselves.
    pub(super) own: u64,
    /// A child for each service and operation.
    pub(super) children: BTreeMap<(String, String), usize>,
}

/// A tree of nodes, the one above all roots first.
#[derive(Debug)]
pub(super) struct Tree(pub(super) Vec<Node>);

impl Tree {
    /// Puts a trace together by service and operation.
    pub(super) fn of(trace: &Trace) -> Self {
        let mut nodes = vec![Node::default()];
        let mut node_of_row = Vec::with_capacity(trace.rows().len());
        for (span, row) in trace.spans().iter().zip(trace.rows()) {
            let parent: usize = row.parent.map_or(0, |parent| node_of_row[parent]);
            let fresh = nodes.len();
            let key = (span.service().to_owned(), span.name.clone());
            let index = *nodes[parent].children.entry(key).or_insert(fresh);
            if index == fresh {
                nodes.push(Node::default());
            }
            let node = &mut nodes[index];
            node.spans += 1;
            node.errors += usize::from(span.status == StatusCode::Error);
            node.total += span.duration_nano;
            node.own += row.self_nano;
            node_of_row.push(index);
        }
        Self(nodes)
    }

    /// How wide each node is: what it took, or its children together where that is more.
    fn widths(&self) -> Vec<u64> {
        let mut widths: Vec<u64> = self.0.iter().map(|node| node.total).collect();
        // Children come after their parents.
        for index in (0..self.0.len()).rev() {
            let children: u64 = self.0[index].children.values().map(|child| widths[*child]).sum();
            widths[index] = widths[index].max(children);
        }
        widths
    }
}

/// A box on the picture.
struct Drawn<'a> {
    node: &'a Node,
    name: Option<&'a (String, String)>,
    index: usize,
    level: usize,
    start: f64,
    width: f64,
}

pub(super) fn draw(trace: &Trace, colours: &Colours, query: &Query) -> Result<Markup, Problem> {
    let tree = Tree::of(trace);
    let top = query.count("node", 0, tree.0.len() - 1)?.unwrap_or(0);
    let (boxes, left_out) = place(&tree, top);
    let levels = boxes.iter().map(|drawn| drawn.level).max().unwrap_or(0) + 1;
    Ok(html! {
        h2 { "Flame" span class="quiet" { "time by way from the root, spans with the same service and operation put together; " (count(tree.0.len() - 1, "box", "boxes")) } }
        @if top > 0 { p class="facts" { a href="?tab=flame" { "Show the whole trace" } } }
        svg class="flame" height=(levels * ROW_HEIGHT) role="group" aria-label="Flame view" {
            @for drawn in &boxes { (draw_box(drawn, colours)) }
        }
        @if left_out > 0 { p class="quiet" { (count(left_out, "box is", "boxes are")) " too narrow or too deep to be drawn; open a box to see what is below it." } }
        (table(&boxes))
    })
}

fn draw_box(drawn: &Drawn<'_>, colours: &Colours) -> Markup {
    let Some((service, operation)) = drawn.name else { return html! {} };
    let node = drawn.node;
    let label = format!("{service}: {operation}");
    let title = format!(
        "{label}: {}, took {} together, {} itself{}",
        count(node.spans, "span", "spans"),
        units::duration(node.total),
        units::duration(node.own),
        if node.errors > 0 { format!(", {}", count(node.errors, "error", "errors")) } else { String::new() }
    );
    let room = (drawn.width / CHARACTER) as usize;
    let marked = if node.errors > 0 { format!("■ {label}") } else { label };
    html! {
        a href={ "?tab=flame&node=" (drawn.index) } aria-label=(title) {
            title { (title) }
            svg x=(units::at(drawn.start)) width=(units::at(drawn.width)) y=(drawn.level * ROW_HEIGHT) height=(ROW_HEIGHT) {
                rect class={ (colours.class(service)) @if node.errors > 0 { " failed" } } width="100%" height=(ROW_HEIGHT - 1) {}
                @if room >= 4 { text x="4" y="15" { (shortened(&marked, room)) } }
            }
        }
    }
}

/// The boxes below a node, and how many are not drawn.
fn place(tree: &Tree, top: usize) -> (Vec<Drawn<'_>>, usize) {
    let widths = tree.widths();
    let whole = widths[top].max(1) as f64;
    let name_of: BTreeMap<usize, &(String, String)> =
        tree.0.iter().flat_map(|node| node.children.iter().map(|(name, index)| (*index, name))).collect();
    let (mut boxes, mut left_out) = (Vec::new(), 0);
    // Levels begin at the chosen box; above all roots there is nothing to draw.
    let mut waiting = vec![(top, usize::from(top > 0), 0.0)];
    while let Some((index, level, start)) = waiting.pop() {
        let node = &tree.0[index];
        let width = widths[index] as f64 / whole;
        if index != 0 {
            boxes.push(Drawn {
                node,
                name: name_of.get(&index).copied(),
                index,
                level: level - 1,
                start,
                width,
            });
        }
        let mut at = start;
        let mut children: Vec<usize> = node.children.values().copied().collect();
        children.sort_by_key(|child| std::cmp::Reverse(widths[*child]));
        for child in children {
            let width = widths[child] as f64 / whole;
            if width < NARROWEST || level >= LEVELS {
                left_out += 1;
            } else {
                waiting.push((child, level + 1, at));
            }
            at += width;
        }
    }
    (boxes, left_out)
}

/// What takes the most itself, for those who cannot see the picture.
fn table(boxes: &[Drawn<'_>]) -> Markup {
    const SHOWN: usize = 15;
    let mut ranked: Vec<&Drawn<'_>> = boxes.iter().collect();
    ranked.sort_by_key(|drawn| (std::cmp::Reverse(drawn.node.own), drawn.index));
    html! {
        h2 { "Most time of their own" }
        div class="scroll" { table class="stacks" {
            thead { tr { th { "Service" } th { "Operation" } th class="number" { "Itself" } th class="number" { "Together" } th class="number" { "Spans" } th { "Errors" } } }
            tbody {
                @for drawn in ranked.iter().take(SHOWN) {
                    @if let Some((service, operation)) = drawn.name {
                        tr {
                            td { (service) }
                            td class="name" { a href={ "?tab=flame&node=" (drawn.index) } { (operation) } }
                            td class="number" data-label="Itself" { (units::duration(drawn.node.own)) }
                            td class="number" data-label="Together" { (units::duration(drawn.node.total)) }
                            td class="number" data-label="Spans" { (units::grouped(drawn.node.spans)) }
                            td data-label="Errors" { (super::errors(drawn.node.errors)) }
                        }
                    }
                }
            }
        } }
    }
}
