//! `/api/v1/targets`: what is scraped.

use metrics::scrape::{Health, Scraper, TargetState};
use serde_json::{Value, json};

use super::answer::whole;
use super::rules::time;
use super::{Answer, Asked};

/// Who scrapes, asked what.
pub trait ScrapeTargets: Send + Sync {
    /// Every target with what is known of it.
    fn targets(&self) -> Vec<TargetState>;
}

impl ScrapeTargets for Scraper {
    fn targets(&self) -> Vec<TargetState> {
        Self::targets(self)
    }
}

/// `GET /api/v1/targets?state=&scrapePool=`: none is ever dropped, since there is no relabelling.
pub(crate) fn targets(asked: &Asked<'_>) -> Answer {
    let state = asked.form.text("state").unwrap_or("any").to_ascii_lowercase();
    let pool = asked.form.text("scrapePool");
    let known = asked.app.targets.as_ref().filter(|_| state != "dropped").map(|targets| targets.targets());
    let known = known.unwrap_or_default();
    let wanted = known.iter().filter(|known| pool.is_none_or(|pool| pool == known.target.job));
    let active: Vec<Value> = wanted.map(target).collect();
    Ok(whole(json!({"activeTargets": active, "droppedTargets": [], "droppedTargetCounts": {}}), &[]))
}

fn target(known: &TargetState) -> Value {
    let TargetState { target, labels, health, error, asked_ms, took, .. } = known;
    let health = match health {
        Health::Unknown => "unknown",
        Health::Up => "up",
        Health::Down => "down",
    };
    let interval = duration(target.interval);
    let timeout = duration(target.timeout);
    let (scheme, rest) = target.url.split_once("://").unwrap_or(("http", &target.url));
    json!({
        "discoveredLabels": {
            "__address__": rest.split('/').next(),
            "__scheme__": scheme, "__scrape_interval__": interval, "__scrape_timeout__": timeout,
            "job": target.job,
        },
        "labels": labels,
        "scrapePool": target.job,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": error.as_deref().unwrap_or_default(),
        "lastScrape": time(*asked_ms),
        "lastScrapeDuration": took.as_secs_f64(),
        "health": health,
        "scrapeInterval": interval,
        "scrapeTimeout": timeout,
    })
}

/// `1m30s`, as Prometheus writes it: the units that are in it, none twice.
fn duration(span: std::time::Duration) -> String {
    let mut rest = span.as_millis();
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, ms) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest >= ms {
            text.push_str(&format!("{}{unit}", rest / ms));
            rest %= ms;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn spans_are_written_with_the_units_they_have() {
        let shown = |ms| super::duration(std::time::Duration::from_millis(ms));
        assert_eq!([shown(15_000), shown(90_000), shown(100), shown(0)], ["15s", "1m30s", "100ms", "0s"]);
    }
}
