//! Where the services of a map stand: in layers from callers to callees, each layer ordered so that few lines cross.
//!
//! In: names and who calls whom. Out: a layer and a place for each. The same graph gives the same picture, whatever
//! changes in its figures: nothing may jump while somebody looks. Source of the method: Sugiyama, Tagawa, Toda,
//! "Methods for Visual Understanding of Hierarchical System Structures", 1981: circles cut, longest path for layers,
//! barycentres for order.

use std::collections::{BTreeMap, BTreeSet};

/// Times the layers are ordered by their neighbours, down and up: more changes nothing in graphs a person can read.
const SWEEPS: usize = 8;

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::page) struct Place {
    /// From left to right, 0 for those nobody calls.
    pub(in crate::page) layer: usize,
    /// From the top of its layer.
    pub(in crate::page) slot: usize,
}

/// A place for each name. Calls to itself and those of unknown names are left out.
pub(in crate::page) fn place<'a>(
    names: &BTreeSet<&'a str>,
    calls: &[(&'a str, &'a str)],
) -> BTreeMap<&'a str, Place> {
    let calls: BTreeSet<(&str, &str)> = calls
        .iter()
        .copied()
        .filter(|(from, to)| from != to && names.contains(from) && names.contains(to))
        .collect();
    let forward = without_circles(names, &calls);
    let layer_of = layers(names, &forward);
    let mut layers: Vec<Vec<&str>> = vec![Vec::new(); layer_of.values().max().map_or(0, |last| last + 1)];
    for (name, layer) in &layer_of {
        layers[*layer].push(name);
    }
    for sweep in 0..SWEEPS {
        order(&mut layers, &calls, sweep % 2 == 0);
    }
    let mut places = BTreeMap::new();
    for (layer, members) in layers.iter().enumerate() {
        places.extend(members.iter().enumerate().map(|(slot, name)| (*name, Place { layer, slot })));
    }
    places
}

/// The calls, those that would close a circle turned round. Visited by name, callers nobody calls first.
fn without_circles<'a>(
    names: &BTreeSet<&'a str>,
    calls: &BTreeSet<(&'a str, &'a str)>,
) -> BTreeSet<(&'a str, &'a str)> {
    let callees = |name: &str| -> Vec<&'a str> {
        calls.iter().filter(|(from, _)| *from == name).map(|(_, to)| *to).collect()
    };
    let called: BTreeSet<&str> = calls.iter().map(|(_, to)| *to).collect();
    let (first, then): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| !called.contains(*name));
    let mut forward = BTreeSet::new();
    let (mut begun, mut done): (BTreeSet<&str>, BTreeSet<&str>) = Default::default();
    for root in first.into_iter().chain(then) {
        let mut stack = vec![(root, false)];
        while let Some((name, finished)) = stack.pop() {
            if finished {
                done.insert(name);
                continue;
            }
            if !begun.insert(name) {
                continue;
            }
            stack.push((name, true));
            for callee in callees(name).into_iter().rev() {
                let open = begun.contains(callee) && !done.contains(callee);
                forward.insert(if open { (callee, name) } else { (name, callee) });
                stack.push((callee, false));
            }
        }
    }
    forward
}

/// The longest way to each name from one that nobody calls.
fn layers<'a>(names: &BTreeSet<&'a str>, forward: &BTreeSet<(&'a str, &'a str)>) -> BTreeMap<&'a str, usize> {
    let mut layer_of: BTreeMap<&str, usize> = names.iter().map(|name| (*name, 0)).collect();
    // Without circles no way is longer than there are names.
    for _ in 0..names.len() {
        let mut changed = false;
        for (from, to) in forward {
            let needed = layer_of[from] + 1;
            if layer_of[to] < needed && needed < names.len() {
                layer_of.insert(to, needed);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    layer_of
}

/// Orders each layer by the middle of its neighbours in the layer before it.
fn order(layers: &mut [Vec<&str>], calls: &BTreeSet<(&str, &str)>, downwards: bool) {
    let count = layers.len();
    for step in 1..count {
        let (fixed, moved) = if downwards { (step - 1, step) } else { (count - step, count - step - 1) };
        let slots: BTreeMap<&str, usize> =
            layers[fixed].iter().enumerate().map(|(slot, name)| (*name, slot)).collect();
        let mut keyed: Vec<(f64, usize, &str)> = Vec::new();
        for (slot, name) in layers[moved].iter().enumerate() {
            let neighbours: Vec<usize> = calls
                .iter()
                .filter_map(|(from, to)| match (*from == *name, *to == *name) {
                    (true, _) => slots.get(to).copied(),
                    (_, true) => slots.get(from).copied(),
                    _ => None,
                })
                .collect();
            let middle = match neighbours.len() {
                0 => slot as f64,
                n => neighbours.iter().sum::<usize>() as f64 / n as f64,
            };
            keyed.push((middle, slot, name));
        }
        keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(b.2)));
        layers[moved] = keyed.into_iter().map(|(_, _, name)| name).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed<'a>(calls: &[(&'a str, &'a str)]) -> BTreeMap<&'a str, Place> {
        let names = calls.iter().flat_map(|(from, to)| [*from, *to]).collect();
        place(&names, calls)
    }

    #[test]
    fn callers_stand_left_of_what_they_call() {
        let places = placed(&[("front", "cart"), ("cart", "db"), ("front", "db")]);
        assert_eq!(["front", "cart", "db"].map(|name| places[name].layer), [0, 1, 2]);
    }

    #[test]
    fn a_circle_and_a_call_to_itself_end() {
        let places = placed(&[("a", "b"), ("b", "c"), ("c", "a"), ("a", "a")]);
        assert_eq!(places.len(), 3);
        assert_eq!(["a", "b", "c"].map(|name| places[name].layer), [0, 1, 2]);
    }

    #[test]
    fn lines_that_need_not_cross_do_not() {
        let places = placed(&[("a", "z"), ("b", "y")]);
        assert_eq!(places["a"].slot < places["b"].slot, places["z"].slot < places["y"].slot);
    }

    proptest::proptest! {
        /// Whoever calls whom: each has its own place, and the order of the calls does not matter.
        #[test]
        fn each_name_has_a_place_of_its_own(mut calls in proptest::collection::vec(("[a-f]", "[a-f]"), 0..24)) {
            let pairs = |calls: &[(String, String)]| -> BTreeMap<String, (usize, usize)> {
                let calls: Vec<(&str, &str)> = calls.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
                let places = placed(&calls);
                places.into_iter().map(|(name, place)| (name.to_owned(), (place.layer, place.slot))).collect()
            };
            let first = pairs(&calls);
            let taken: BTreeSet<_> = first.values().collect();
            assert_eq!(taken.len(), first.len());
            calls.reverse();
            assert_eq!(pairs(&calls), first);
        }
    }
}
