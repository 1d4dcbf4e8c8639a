//! Items and their relations as a picture: layers from what holds to what is held.
//!
//! In: the items that are there, and relations. Out: SVG. Links are drawn as the lines they are.

use std::collections::{BTreeMap, BTreeSet};

use domain::ResourceId;
use domain::cmdb::{Item, ItemKind, Relation, RelationKind};
use maud::{Markup, html};

use super::address;
use crate::page::sentence::{count, shortened};
use crate::page::services::resource_words;
use crate::page::traces::layout;

const NODE: (usize, usize) = (168, 44);
const GAP: (usize, usize) = (96, 12);
const MARGIN: usize = 16;

/// More than this make a picture nobody reads: then services and what holds them are drawn alone.
const DRAWN: usize = 60;

/// The longest name that fits a box, in characters.
const NAME: usize = 20;

/// The picture of items and relations.
pub(super) fn draw<'a>(items: &[&Item], relations: impl Iterator<Item = &'a Relation>) -> Markup {
    let lean = items.len() > DRAWN;
    let shown = |item: &&&Item| match item.kind() {
        ItemKind::Link => false,
        ItemKind::Instance | ItemKind::Volume => !lean,
        ItemKind::Infrastructure | ItemKind::Service | ItemKind::Node => true,
    };
    let mut nodes: BTreeMap<String, &Item> =
        items.iter().filter(shown).map(|item| (item.id.to_string(), *item)).collect();
    let lines: Vec<Line> = relations.filter_map(|relation| Line::of(relation, &nodes)).collect();
    if nodes.is_empty() {
        return html! {};
    }
    // What belongs to nothing else would be a column of boxes that says nothing.
    let tied: BTreeSet<&str> = lines.iter().flat_map(|line| [&*line.from, &*line.to]).collect();
    let before = nodes.len();
    if !tied.is_empty() {
        nodes.retain(|name, _| tied.contains(&**name));
    }
    let alone = before - nodes.len();
    if nodes.len() > DRAWN {
        return html! { p class="empty" { (nodes.len()) " items are too many for one picture; the list below has them all." } };
    }
    let names: BTreeSet<&str> = nodes.keys().map(String::as_str).collect();
    let pairs: Vec<(&str, &str)> = lines.iter().map(|line| (&*line.from, &*line.to)).collect();
    let places = layout::place(&names, &pairs);
    let layers = places.values().map(|place| place.layer).max().unwrap_or(0) + 1;
    let tallest = places.values().map(|place| place.slot + 1).max().unwrap_or(1);
    let (width, height) = (
        layers * NODE.0 + (layers - 1) * GAP.0 + 2 * MARGIN,
        tallest * NODE.1 + (tallest - 1) * GAP.1 + 2 * MARGIN,
    );
    let corner = |name: &str| {
        let place = places.get(name)?;
        Some((MARGIN + place.layer * (NODE.0 + GAP.0), MARGIN + place.slot * (NODE.1 + GAP.1)))
    };
    html! {
        @if let Some(left_out) = left_out(lean, alone) { p class="quiet" { (left_out) } }
        div class="scroll" tabindex="0" role="region" aria-label="Picture of the items" {
            svg class="cmdb" width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) } role="group" aria-label="Items and how they belong together; the list below has them all" {
                defs { marker id="leads" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse" { path d="M0 0L8 4L0 8z" {} } }
                @for line in &lines {
                    @if let (Some(from), Some(to)) = (corner(&line.from), corner(&line.to)) {
                        path class={ "line " (line.kind.name()) } d=(curve(from, to)) marker-end="url(#leads)" {
                            title { (line.from) " " (line.word()) " " (line.to) }
                        }
                    }
                }
                @for (name, item) in &nodes { @if let Some(corner) = corner(name) { (node(item, corner)) } }
            }
        }
    }
}

/// What the picture does not show.
fn left_out(lean: bool, alone: usize) -> Option<String> {
    let items = count(alone, "item that belongs to no other", "items that belong to no other");
    let is = if alone == 1 { "is" } else { "are" };
    let what = match (lean, alone) {
        (false, 0) => return None,
        (true, 0) => "Instances and volumes are left out of the picture".to_owned(),
        (true, _) => format!("Instances and volumes are left out of the picture, and so {is} {items}"),
        (false, _) => format!("{items} {is} left out of the picture"),
    };
    Some(format!("{what}; the list below has them."))
}

/// One line, from what holds to what is held.
struct Line {
    kind: RelationKind,
    from: String,
    to: String,
}

impl Line {
    fn of(relation: &Relation, nodes: &BTreeMap<String, &Item>) -> Option<Self> {
        let end = |id: &ResourceId| Some(id.to_string()).filter(|name| nodes.contains_key(name));
        let (from, to) = (end(&relation.from)?, end(&relation.to)?);
        Some(match relation.kind {
            RelationKind::PartOf => Self { kind: relation.kind, from: to, to: from },
            kind => Self { kind, from, to },
        })
    }

    fn word(&self) -> &'static str {
        match self.kind {
            RelationKind::Runs => "runs",
            RelationKind::DependsOn => "depends on",
            RelationKind::Mounts => "mounts",
            RelationKind::PartOf => "has",
        }
    }
}

/// To the right from side to side; back, or within a layer, in a bow below the boxes.
fn curve((x1, y1): (usize, usize), (x2, y2): (usize, usize)) -> String {
    let middle = NODE.1 / 2;
    if x2 > x1 {
        let (sx, sy, ex, ey) = (x1 + NODE.0, y1 + middle, x2, y2 + middle);
        let bend = (ex - sx) / 2;
        return format!("M{sx} {sy}C{} {sy} {} {ey} {} {ey}", sx + bend, ex - bend, ex - 1);
    }
    let (sx, sy, ex, ey) = (x1 + NODE.0 / 2, y1 + NODE.1, x2 + NODE.0 / 2, y2 + NODE.1);
    let low = sy.max(ey) + 2 * GAP.1;
    format!("M{sx} {sy}C{sx} {low} {ex} {low} {ex} {ey}")
}

fn node(item: &Item, (x, y): (usize, usize)) -> Markup {
    let words = resource_words(&item.id);
    let name = shortened(&words, NAME);
    html! {
        a class={ "node " (item.kind()) } href=(address(&item.id)) {
            title { (item.id) ", version " (item.version) }
            rect x=(x) y=(y) width=(NODE.0) height=(NODE.1) rx="6" {}
            text class="name" x=(x + 12) y=(y + 18) { (name) }
            text x=(x + 12) y=(y + 34) { (item.kind()) }
        }
    }
}
