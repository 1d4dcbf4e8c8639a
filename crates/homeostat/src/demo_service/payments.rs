//! The payments service: checks a card, charges it, writes it into the ledger.
//!
//! In: `POST /payments` with a [`Charge`]. Out: an [`Authorisation`] as JSON; 402 where the card is no
//! card. The authorisation is derived from the charge alone: charging twice gives the same code and is one
//! payment. No ledger line, no charge: a full volume fails payments. Deliberately absent: a bank.

use std::io;

use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::answer::{Answer, Request};
use super::append_log::AppendLog;
use super::server::Application;
use super::settings::Settings;
use super::wall_us;

/// Rounds of SHA-256 per authorisation: about 0.1 ms of processor time, the price of a signature.
const ROUNDS: u32 = 300;

/// What is to be paid.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Charge {
    /// For which order.
    pub(super) order: String,
    /// How much.
    pub(super) amount_cents: u32,
    /// With which card.
    pub(super) card: String,
}

/// That it was paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Authorisation {
    /// The same for the same charge.
    pub(super) code: String,
}

/// The service.
pub(super) struct Payments {
    ledger: AppendLog,
}

impl Payments {
    /// The service with its ledger in the volume.
    pub(super) fn new(settings: &Settings) -> Self {
        Self { ledger: AppendLog::new(settings.volume.join("ledger/ledger.log")) }
    }

    fn charge(&self, charge: &Charge) -> Answer {
        let Some(last_digits) = checked_card(&charge.card) else {
            return Answer::error(StatusCode::PAYMENT_REQUIRED, "the card number is not valid");
        };
        let code = authorise(charge);
        let line = format!("{} {} {} ****{last_digits} {code}", wall_us(), charge.order, charge.amount_cents);
        match self.ledger.write(&line) {
            Ok(()) => Answer::json(&Authorisation { code }),
            Err(error) => {
                let status = match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        StatusCode::INSUFFICIENT_STORAGE
                    }
                    _ => StatusCode::INTERNAL_SERVER_ERROR,
                };
                Answer::error(status, &format!("cannot write the ledger: {error}"))
            }
        }
    }
}

impl Application for Payments {
    async fn answer(&self, request: Request) -> Answer {
        match (&request.method, request.path.as_str()) {
            (&Method::POST, "/payments") => match request.json() {
                Ok(charge) => self.charge(&charge),
                Err(unreadable) => unreadable,
            },
            _ => Answer::not_found(),
        }
    }
}

/// The last four digits of a card number of 12 to 19 digits that passes the Luhn check (ISO/IEC 7812-1).
fn checked_card(card: &str) -> Option<&str> {
    if !(12..=19).contains(&card.len()) || !card.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let sum: u32 = card
        .bytes()
        .rev()
        .map(|c| u32::from(c - b'0'))
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => digit,
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    sum.is_multiple_of(10).then(|| &card[card.len() - 4..])
}

fn authorise(charge: &Charge) -> String {
    let text = format!("{} {} {}", charge.order, charge.amount_cents, charge.card);
    let digest = (0..ROUNDS).fold(Sha256::digest(text), |digest, _| Sha256::digest(digest));
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_checked_by_luhn() {
        assert_eq!(checked_card("4242424242424242"), Some("4242"));
        assert_eq!(checked_card("79927398713000"), None);
        for wrong in ["4242424242424241", "4242", "", "42424242424242422424", "4242x24242424242"] {
            assert_eq!(checked_card(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_same_charge_gets_the_same_code_and_another_one_does_not() {
        let charge = Charge { order: "o".into(), amount_cents: 7, card: "4242424242424242".into() };
        assert_eq!(authorise(&charge), authorise(&charge));
        assert_ne!(authorise(&charge), authorise(&Charge { amount_cents: 8, ..charge.clone() }));
    }
}
