//! Values as text and on an axis.

/// A value in four figures with the thousands as a letter: `1.234k`, `5.6M`, `-0.25`, `1.2e-7`.
pub(in crate::page) fn short(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if size != 0.0 && size < 1e-3 {
        return figures(value, true);
    }
    let (unit, letter) = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")]
        .into_iter()
        .find(|(unit, _)| size >= *unit)
        .unwrap_or((1.0, ""));
    if size >= 1e16 {
        return figures(value, true);
    }
    format!("{}{letter}", figures(value / unit, false))
}

/// Four figures, without zeros at the end.
fn figures(value: f64, exponent: bool) -> String {
    if exponent {
        let text = format!("{value:.3e}");
        let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{power}", digits.trim_end_matches('0').trim_end_matches('.'));
    }
    let before = if value.abs() < 1.0 { 0 } else { value.abs().log10().floor() as usize };
    let text = format!("{value:.*}", 3usize.saturating_sub(before));
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// An axis of values, upwards.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) ticks: Vec<f64>,
}

impl Axis {
    /// Over all finite values, from 0 where they are near it, with about four round lines.
    pub(super) fn over(values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if low > 0.0 && low < high / 2.0 {
            low = 0.0;
        }
        if low == high {
            let room = if low == 0.0 { 1.0 } else { low.abs() / 2.0 };
            (low, high) = (low - room, high + room);
        }
        // Halves, so that what is almost as wide as numbers go does not pass their end.
        let step = round((high / 2.0 - low / 2.0) / 2.0);
        let (first, last) = ((low / step).floor(), (high / step).ceil());
        let ticks: Vec<f64> =
            (0..=((last - first) as i64).clamp(1, 12)).map(|at| (first + at as f64) * step).collect();
        Self { low: first * step, high: last * step, ticks }
    }

    /// How far up a value stands, 0 to 1.
    pub(super) fn share(&self, value: f64) -> f64 {
        let share = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// The least of 1, 2 and 5 times a power of ten that is not smaller.
fn round(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * power).find(|round| *round >= step).unwrap_or(step)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_have_four_figures() {
        let all = [0.0, 1.0, -0.25, 1234.0, 5.6e6, 123_456.0, 1.25e-7, 3e17, f64::NAN].map(short);
        assert_eq!(all, ["0", "1", "-0.25", "1.234k", "5.6M", "123.5k", "1.25e-7", "3e17", "NaN"]);
    }

    #[test]
    fn axes_begin_at_nothing_where_values_are_near_it() {
        let axis = Axis::over([3.0, 9.0].into_iter());
        assert_eq!((axis.low, axis.high, axis.ticks), (0.0, 10.0, vec![0.0, 5.0, 10.0]));
        let axis = Axis::over([100.0, 103.0].into_iter());
        assert!(axis.low >= 98.0 && axis.high <= 104.0, "{axis:?}");
        assert!(Axis::over([7.0].into_iter()).share(7.0) > 0.2);
    }

    proptest! {
        #[test]
        fn every_axis_holds_its_values(values in proptest::collection::vec(any::<f64>(), 0..6)) {
            let axis = Axis::over(values.iter().copied());
            prop_assert!((2..=13).contains(&axis.ticks.len()), "{:?}", axis);
            for value in values {
                prop_assert!((0.0..=1.0).contains(&axis.share(value)));
                prop_assert!(!short(value).is_empty());
            }
        }
    }
}
