//! Search over the products: how alike a query and a product's words are.
//!
//! In: products, a query. Out: the best products. Real work on purpose: every product is scored anew for
//! every query by shared trigrams, so that an instance short of CPU is a slow one. Deliberately absent: an
//! index, which would make it free.

use super::database::Product;

/// How many products a page shows.
pub(super) const RESULTS: usize = 12;

/// Three letters in a row.
type Trigram = [char; 3];

/// The products most like `query`, best first; the first ones where the query is empty.
pub(super) fn search<'a>(products: &'a [Product], query: &str) -> Vec<&'a Product> {
    let mut wanted = Vec::new();
    each_trigram(query, |trigram| wanted.push(trigram));
    wanted.sort_unstable();
    wanted.dedup();
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

/// The share of `wanted` (sorted, each once) that `text` has, 0 to 1.
fn share(wanted: &[Trigram], text: &str) -> f64 {
    let mut found = vec![false; wanted.len()];
    each_trigram(text, |trigram| {
        if let Ok(index) = wanted.binary_search(&trigram) {
            found[index] = true;
        }
    });
    found.iter().filter(|found| **found).count() as f64 / wanted.len() as f64
}

/// Calls `visit` with every three letters in a row of every word, a word's borders counting as letters.
fn each_trigram(text: &str, mut visit: impl FnMut(Trigram)) {
    let mut last = [' '; 2];
    for letter in text.chars().flat_map(char::to_lowercase).chain([' ']) {
        let letter = if letter.is_alphanumeric() { letter } else { ' ' };
        // With a border in the middle there is no word in it.
        if last[1] != ' ' {
            visit([last[0], last[1], letter]);
        }
        last = [last[1], letter];
    }
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
