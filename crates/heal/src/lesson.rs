//! What outcomes teach: success rates of strategies, and how often a pattern of evidence was right.
//!
//! In: verified outcomes; from a drill, the true cause. Out: the same values, kept in the store as
//! documents. Confidence is never learned from our own repairs (a repair that worked does not prove that
//! the diagnosis was right); it is learned where the true cause is known, in drills, and shipped.

use decide::learn::confidence::ConfidenceTable;
use decide::learn::rates::Rates;
use store::Store;

/// The document that holds the success rates.
pub const RATES: &str = "lessons/rates";

/// The document that holds the confidence table.
pub const CONFIDENCE: &str = "lessons/confidence";

/// The confidence table recorded in drills on the demo fleet, which ships with Homeostat.
const SHIPPED: &str = include_str!("../../../drills/confidence.json");

/// What was learned so far.
#[derive(Debug, Clone)]
pub struct Lessons {
    /// How often each strategy healed.
    pub rates: Rates,
    /// How often each pattern of evidence named the true cause.
    pub confidence: ConfidenceTable,
}

impl Lessons {
    /// What the store remembers; at first the priors, and the shipped confidence.
    ///
    /// # Errors
    ///
    /// The store's, also where a lesson cannot be read.
    pub fn load(store: &Store) -> store::Result<Self> {
        let corrupt = |what: &str| {
            let what = what.to_owned();
            move |error: serde_json::Error| store::StoreError::Corrupt { what, why: error.to_string() }
        };
        let rates = match store.document(RATES)? {
            Some(text) => serde_json::from_str(&text).map_err(corrupt(RATES))?,
            None => Rates::default(),
        };
        let text = store.document(CONFIDENCE)?;
        let confidence =
            serde_json::from_str(text.as_deref().unwrap_or(SHIPPED)).map_err(corrupt(CONFIDENCE))?;
        Ok(Self { rates, confidence })
    }

    /// The success rates as their document.
    pub(crate) fn rates_document(&self) -> store::Result<String> {
        serde_json::to_string(&self.rates)
            .map_err(|error| store::StoreError::Corrupt { what: RATES.to_owned(), why: error.to_string() })
    }
}
