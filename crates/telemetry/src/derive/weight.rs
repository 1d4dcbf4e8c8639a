//! How many spans a received span stands for.
//!
//! In: W3C `tracestate`. Where its `ot` member has a rejection threshold `th` (OpenTelemetry: "TraceState:
//! Probabilistic Sampling", 2024), the source kept the share 1 − th/2^56 of all traces, and the span stands for the
//! inverse of that. A span without one stands for itself.

/// One span, in the fixed-point unit of all counts: 1/65,536. Whole numbers keep sums the same in any order.
pub(crate) const ONE: u64 = 1 << 16;

/// The most one span can stand for. A threshold beyond says more about who wrote it than about traffic.
const WEIGHT_MAX: u64 = ONE << 20;

/// The weight of a span with this `tracestate`.
pub(crate) fn of(trace_state: &[u8]) -> u64 {
    threshold(trace_state).map_or(ONE, |threshold| {
        const ALL: u64 = 1 << 56;
        let kept = ALL - threshold;
        (((u128::from(ONE) << 56) + u128::from(kept / 2)) / u128::from(kept)).min(WEIGHT_MAX.into()) as u64
    })
}

/// The threshold of the `ot` member, 0 to 2^56 − 1.
fn threshold(trace_state: &[u8]) -> Option<u64> {
    let ot = trace_state.split(|&b| b == b',').find_map(|member| member.trim_ascii().strip_prefix(b"ot="))?;
    let digits = ot.split(|&b| b == b';').find_map(|field| field.strip_prefix(b"th:"))?;
    if digits.is_empty() || digits.len() > 14 {
        return None;
    }
    let number = digits
        .iter()
        .try_fold(0u64, |number, &digit| Some(number << 4 | u64::from(char::from(digit).to_digit(16)?)))?;
    // Trailing zeros may be left out.
    Some(number << (4 * (14 - digits.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_says_what_share_was_kept() {
        for (state, weight) in [
            ("", ONE),
            ("ot=th:0", ONE),
            ("ot=th:8", 2 * ONE),
            ("ot=th:c", 4 * ONE),
            ("rojo=1, ot=rv:aaaaaaaaaaaaaa;th:fd70a3d70a3d71", 100 * ONE),
            ("ot=th:ffffffffffffff", WEIGHT_MAX),
        ] {
            assert_eq!(of(state.as_bytes()), weight, "{state}");
        }
    }

    #[test]
    fn what_is_no_threshold_weighs_one() {
        for state in ["ot=rv:12", "ot=th:", "ot=th:xyz", "ot=th:123456789abcdef", "th:8", "rot=th:8"] {
            assert_eq!(of(state.as_bytes()), ONE, "{state}");
        }
    }
}
