//! Small pictures drawn on the server: the health gauge, bars, the trend.
//!
//! Only geometry attributes are used, no inline style: the content policy forbids it.

use maud::{Markup, html};

use super::marks::Meaning;

/// The gauge's half circle: radius 60 around (74, 72).
const RADIUS: f64 = 60.0;
const CENTRE: (f64, f64) = (74.0, 72.0);

/// What a score means (specification G5): above 90 quiet, 70 to 90 attention, below 70 bad.
pub(crate) fn of_score(score: Option<u8>) -> Meaning {
    match score {
        None => Meaning::Unknown,
        Some(91..) => Meaning::Good,
        Some(70..=90) => Meaning::Attention,
        Some(_) => Meaning::Bad,
    }
}

/// The word for a score.
pub(crate) fn score_word(score: Option<u8>) -> &'static str {
    match of_score(score) {
        Meaning::Good => "healthy",
        Meaning::Attention => "degraded",
        Meaning::Bad => "critical",
        _ => "unknown",
    }
}

/// The overall score as a half circle.
pub(crate) fn gauge(score: Option<u8>) -> Markup {
    let text = score.map_or("–".to_owned(), |score| score.to_string());
    let word = score_word(score);
    html! {
        svg class={ "gauge " (of_score(score).class()) } viewBox="0 0 148 88" role="img"
            aria-label={ "Health " (text) " of 100: " (word) } {
            path class="track" d=(arc(100)) {}
            @if let Some(score) = score.filter(|score| *score > 0) {
                path class="value" d=(arc(score)) {}
            }
            text x="74" y="66" { (text) }
            text class="word" x="74" y="84" { (word) }
        }
    }
}

fn arc(score: u8) -> String {
    let angle = std::f64::consts::PI * (1.0 - f64::from(score.min(100)) / 100.0);
    let (x, y) = (CENTRE.0 + RADIUS * angle.cos(), CENTRE.1 - RADIUS * angle.sin());
    format!("M{:.1} {:.1}A{RADIUS} {RADIUS} 0 0 1 {x:.1} {y:.1}", CENTRE.0 - RADIUS, CENTRE.1)
}

/// A component's score as a thin bar; the number stands beside it.
pub(crate) fn bar(score: Option<u8>) -> Markup {
    html! {
        svg class={ "bar " (of_score(score).class()) } viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" {
            rect class="track" width="100" height="4" {}
            @if let Some(score) = score { rect class="value" width=(score) height="4" {} }
        }
    }
}

/// What is left of something as a thin bar; the number stands beside it.
pub(crate) fn of_share(meaning: Meaning, share: Option<f64>) -> Markup {
    html! {
        svg class={ "bar " (meaning.class()) } viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" {
            rect class="track" width="100" height="4" {}
            @if let Some(share) = share { rect class="value" width=(format!("{:.1}", share.clamp(0.0, 1.0) * 100.0)) height="4" {} }
        }
    }
}

/// Scores over time as a line, with the threshold of 70 dashed. The axis ends at 100 and begins at 60, or
/// at the ten below the lowest score. `points` are a position in the window (0 to 1) and a score.
pub(crate) fn trend(points: &[(f64, u8)]) -> Markup {
    let line: Vec<String> =
        points.iter().map(|(x, score)| format!("{:.2},{}", x * 1000.0, 100 - u32::from(*score))).collect();
    let lowest = points.iter().map(|(_, score)| *score).min().unwrap_or(60).min(60) / 10 * 10;
    html! {
        svg viewBox={ "0 -2 1000 " (104 - lowest) } preserveAspectRatio="none" role="img" aria-label=(trend_words(points)) {
            line x1="0" x2="1000" y1="30" y2="30" { title { "below 70 an incident review opens" } }
            polyline points=(line.join(" ")) {}
        }
    }
}

/// Figures over time, as a line without axes beside the newest of them.
pub(crate) struct Spark<'a> {
    /// A position in the window (0 to 1) and a value that is not below 0; at least two.
    pub(crate) points: &'a [(f64, f64)],
    /// What it is judged by, dashed.
    pub(crate) limit: Option<f64>,
    /// What it shows, for those who cannot see it.
    pub(crate) label: &'a str,
}

/// A line of figures from 0 to the highest.
pub(crate) fn spark(spark: &Spark<'_>) -> Markup {
    let values = spark.points.iter().map(|(_, value)| *value);
    let highest = values.clone().chain(spark.limit).fold(0.0_f64, f64::max).max(f64::MIN_POSITIVE);
    let place = |value: f64| 30.0 - value / highest * 28.0;
    let line: Vec<String> =
        spark.points.iter().map(|(x, value)| format!("{:.2},{:.2}", x * 200.0, place(*value))).collect();
    let lowest = values.clone().fold(f64::INFINITY, f64::min);
    let words = format!("{}: between {lowest:.1} and {:.1}", spark.label, values.fold(0.0_f64, f64::max));
    html! {
        svg class="spark" viewBox="0 0 200 32" preserveAspectRatio="none" role="img" aria-label=(words) {
            title { (words) }
            @if let Some(limit) = spark.limit { line class="limit" x1="0" x2="200" y1=(format!("{:.2}", place(limit))) y2=(format!("{:.2}", place(limit))) {} }
            polyline points=(line.join(" ")) {}
        }
    }
}

fn trend_words(points: &[(f64, u8)]) -> String {
    let scores = points.iter().map(|(_, score)| *score);
    match (scores.clone().min(), scores.max()) {
        (Some(low), Some(high)) => format!("Health over the last 24 hours, between {low} and {high}"),
        _ => "Health over the last 24 hours: no records".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gauge_ends_left_at_nothing_above_at_half_and_right_at_all() {
        assert!(arc(50).ends_with("74.0 12.0"), "{}", arc(50));
        assert!(arc(100).ends_with("134.0 72.0"), "{}", arc(100));
        assert!(gauge(None).into_string().contains("unknown"));
    }

    #[test]
    fn a_line_of_figures_ends_above_at_the_highest() {
        let text = spark(&Spark { points: &[(0.0, 0.0), (1.0, 4.0)], limit: Some(1.0), label: "failed" });
        let text = text.into_string();
        assert!(text.contains("points=\"0.00,30.00 200.00,2.00\""), "{text}");
        assert!(text.contains("y1=\"23.00\"") && text.contains("failed: between 0.0 and 4.0"), "{text}");
        let flat = spark(&Spark { points: &[(0.0, 0.0), (1.0, 0.0)], limit: None, label: "failed" });
        assert!(flat.into_string().contains("points=\"0.00,30.00 200.00,30.00\""));
    }

    #[test]
    fn scores_mean_what_the_specification_says() {
        let of = |score| of_score(Some(score));
        assert_eq!([of(100), of(91)], [Meaning::Good; 2]);
        assert_eq!([of(90), of(70)], [Meaning::Attention; 2]);
        assert_eq!([of(69), of(0)], [Meaning::Bad; 2]);
        assert_eq!(of_score(None), Meaning::Unknown);
    }
}
