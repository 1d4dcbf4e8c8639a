//! Search over the products: how alike a query and a product's words are.
//!
//! In: products, a query. Out: the best products. Real work on purpose: every product is scored anew for
//! every query by shared trigrams, so that an instance short of CPU is a slow one. Deliberately absent: an
//! index, which would make it free.

use std::collections::HashSet;

use super::database::Product;

/// How many products a page shows.
pub(super) const RESULTS: usize = 12;

/// The products most like `query`, best first; the first ones where the query is empty.
pub(super) fn search<'a>(products: &'a [Product], query: &str) -> Vec<&'a Product> {
    let wanted = trigrams(query);
    if wanted.is_empty() {
        return products.iter().take(RESULTS).collect();
    }
    let mut scored: Vec<(f64, &Product)> = products
        .iter()
        .map(|product| {
            // The name says what it is; the description only helps.
            let score = 3.0 * share(&wanted, &product.name) + share(&wanted, &product.description);
            (score, product)
        })
        .filter(|(score, _)| *score > 0.0)
        .collect();
    scored.sort_by(|(a, one), (b, other)| b.total_cmp(a).then(one.id.cmp(&other.id)));
    scored.into_iter().take(RESULTS).map(|(_, product)| product).collect()
}

/// The share of `wanted` that `text` has, 0 to 1.
fn share(wanted: &HashSet<[char; 3]>, text: &str) -> f64 {
    let found = trigrams(text);
    wanted.intersection(&found).count() as f64 / wanted.len() as f64
}

/// Every three letters in a row of every word, its borders counting as letters.
fn trigrams(text: &str) -> HashSet<[char; 3]> {
    let mut found = HashSet::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let letters: Vec<char> = std::iter::once(' ')
            .chain(word.chars().flat_map(char::to_lowercase))
            .chain(std::iter::once(' '))
            .collect();
        found.extend(letters.windows(3).map(|three| [three[0], three[1], three[2]]));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn products() -> Vec<Product> {
        ["oak lamp", "oak mug", "copper lamp", "silk cushion"]
            .into_iter()
            .zip(1..)
            .map(|(name, id)| Product { id, name: name.into(), description: String::new(), price_cents: 1 })
            .collect()
    }

    #[track_caller]
    fn check(query: &str, best: &[&str]) {
        let products = products();
        let names: Vec<&str> = search(&products, query).into_iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, best);
    }

    #[test]
    fn the_best_match_comes_first_and_strangers_not_at_all() {
        check("copper lamp", &["copper lamp", "oak lamp"]);
        check("Lmap oak", &["oak lamp", "oak mug"]);
        check("zzz", &[]);
        check("", &["oak lamp", "oak mug", "copper lamp", "silk cushion"]);
    }
}
