//! What holds for every header that claims to hold a context.
//!
//! In: any bytes. Out: a panic where a property does not hold. The fuzz targets of `fuzz/` and the tests here
//! run the same functions; nothing that ships contains them.

use crate::propagation::{extract, inject_b3, inject_context};

/// Headers, one a line (`name: value`), are read as a context that says the same when written and read again,
/// or as none; what is written keeps the limits of the recommendation.
pub fn trace_headers(input: &[u8]) {
    let headers: Vec<(String, Vec<u8>)> = input
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let value = line[colon + 1..].strip_prefix(b" ").unwrap_or(&line[colon + 1..]);
            Some((String::from_utf8_lossy(&line[..colon]).into_owned(), value.to_vec()))
        })
        .collect();
    let Some(context) = extract(&headers) else { return };
    let mut written: Vec<(String, String)> = Vec::new();
    inject_context(&context, &mut written);
    for (name, value) in &written {
        assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{name}: {value:?}");
    }
    let state = written.iter().find(|(name, _)| name == "tracestate");
    assert!(state.is_none_or(|(_, state)| state.split(',').count() <= 32));

    let Some(again) = extract(&written) else { panic!("not read again: {written:?}") };
    assert_eq!((again.trace_id, again.span_id), (context.trace_id, context.span_id));
    assert_eq!(
        (again.sampled, again.random, again.undecided),
        (context.sampled, context.random, context.undecided)
    );
    assert_eq!((again.threshold, again.randomness), (context.threshold, context.randomness));
    assert_eq!(again.request_id(), context.request_id());
    let others = |context: &crate::Context| {
        context
            .carried
            .as_ref()
            .map(|carried| (carried.trace_state.clone(), carried.ot_rest.clone()))
            .unwrap_or_default()
    };
    assert_eq!(others(&again), others(&context));
    for (key, value) in again.baggage().iter() {
        assert_eq!(context.baggage().get(key), Some(value));
    }

    let mut b3: Vec<(String, String)> = Vec::new();
    inject_b3(&context, &mut b3);
    let b3 = extract(&b3).map(|context| (context.trace_id, context.span_id, context.sampled));
    assert_eq!(b3, Some((context.trace_id, context.span_id, context.sampled)));
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::seeds::hold;

    #[test]
    fn what_is_read_is_written_and_read_again() {
        hold("trace_headers", 20_000, super::trace_headers);
    }
}
