//! What becomes of requests of either version.

use promql::{CounterReset, Histogram, Labels, Sample, Span, Value};

use super::super::fixture::{Message, Symbols, sample_of, series_v1};
use super::super::{Cause, Decoded, Limits, STALE_BITS, Tally, Unreadable};
use super::{Decoder, Unsupported, Version, Written, negotiate};
use crate::{Exemplar, Kind, Metadata};

const T: i64 = 1_760_000_000_000;
const UP: [(&str, &str); 3] = [("__name__", "up"), ("instance", "a:9100"), ("job", "node")];

fn request_v1(series: impl IntoIterator<Item = Message>) -> Vec<u8> {
    series.into_iter().fold(Message::new(), |request, series| request.message(1, series)).0
}

fn decoded(version: Version, message: &[u8]) -> Decoded {
    Decoder::default().decode_unpacked(version, message).expect("a message of ours")
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().copied())
}

fn float(at_ms: i64, value: f64) -> Sample {
    Sample { at_ms, value: Value::Float(value) }
}

/// The same series in both versions.
fn in_both(pairs: &[(&str, &str)], samples: &[(f64, i64)]) -> [(Version, Vec<u8>); 2] {
    let mut symbols = Symbols::default();
    let series = Message::new().packed(1, symbols.labels(pairs));
    let series = samples.iter().fold(series, |series, sample| series.message(2, sample_of(*sample)));
    [(Version::V1, request_v1([series_v1(pairs, samples)])), (Version::V2, symbols.request([series]))]
}

#[test]
fn a_series_is_taken_as_it_was_sent_in_both_versions() {
    for (version, message) in in_both(&UP, &[(1.0, T), (f64::from_bits(STALE_BITS), T + 1000)]) {
        let Decoded { batch, left, .. } = decoded(version, &message);
        let [(series, samples)] = &batch.series[..] else { panic!("{batch:?}") };
        assert_eq!((series, &samples[0]), (&labels(&UP), &float(T, 1.0)));
        let Value::Float(last) = samples[1].value else { panic!("{samples:?}") };
        assert_eq!(
            (samples[1].at_ms, last.to_bits()),
            (T + 1000, STALE_BITS),
            "the bits of a marker are kept"
        );
        assert!(left.is_empty() && batch.exemplars.is_empty() && batch.metadata.is_empty());
    }
}

#[test]
fn a_body_is_unpacked_and_what_is_no_snappy_is_refused() {
    let mut decoder = Decoder::default();
    for (version, message) in in_both(&UP, &[(1.0, T)]) {
        let mut packed = snap::raw::Encoder::new().compress_vec(&message).expect("short");
        assert_eq!(decoder.decode(version, &packed).expect("packed by us").tally(), Tally::SAMPLE);
        packed[0] = b'0';
        assert!(matches!(decoder.decode(version, &packed), Err(Unreadable::Packing(_))));
        packed[0] = 0xff;
        assert!(decoder.decode(version, &packed).is_err());
    }
    let bomb = snap::raw::Encoder::new().compress_vec(&vec![0; 17 << 20]).expect("short");
    assert!(bomb.len() < 1 << 20);
    let refused = decoder.decode(Version::V1, &bomb).map(|_| ());
    assert_eq!(refused, Err(Unreadable::TooMuch { what: "bytes", limit: 16 << 20 }));
    assert!(decoder.unpacked.capacity() <= 1 << 20, "what is refused is not unpacked");
}

#[test]
fn the_same_labels_are_the_same_ones_whichever_version_they_come_in() {
    let mut decoder = Decoder::default();
    let mut addresses = Vec::new();
    for (version, message) in in_both(&UP, &[(1.0, T)]) {
        for _ in 0..2 {
            let decoded = decoder.decode_unpacked(version, &message).expect("ours");
            let (labels, _) = &decoded.batch.series[0];
            addresses.push(labels.iter().map(|(_, value)| value.as_ptr()).collect::<Vec<_>>());
        }
    }
    assert!(addresses.windows(2).all(|pair| pair[0] == pair[1]), "texts are held once");
}

#[test]
fn labels_in_any_order_are_taken() {
    let unsorted = [("job", "node"), ("__name__", "up"), ("instance", "a:9100"), ("empty", "")];
    for (version, message) in in_both(&unsorted, &[(1.0, T)]) {
        let mut decoder = Decoder::default();
        for _ in 0..2 {
            let decoded = decoder.decode_unpacked(version, &message).expect("ours");
            assert!(decoded.left.is_empty());
            assert_eq!(decoded.batch.series[0].0, labels(&UP));
        }
    }
}

#[test]
fn a_series_that_is_none_is_left_out_and_the_rest_is_taken() {
    let good = series_v1(&UP, &[(1.0, T)]);
    for (bad, cause) in [
        (&[("job", "node")][..], Cause::NoName),
        (&[], Cause::NoName),
        (&[("__name__", ""), ("job", "a")], Cause::NoName),
        (&[("__name__", "up"), ("job", "a"), ("job", "a")], Cause::DuplicateLabel),
        (&[("__name__", "up"), ("", "a")], Cause::EmptyLabelName),
    ] {
        let exemplar = Message::new().double(2, 1.0).varint(3, T as u64);
        let bad = series_v1(bad, &[(1.0, T), (2.0, T + 1)]).message(3, exemplar);
        let Decoded { batch, left, .. } = decoded(Version::V1, &request_v1([bad, good.clone()]));
        assert_eq!(batch.series.len(), 1);
        assert_eq!(left.tally, Tally { samples: 2, exemplars: 1, ..Tally::NONE });
        assert_eq!(left.count(cause), 3, "{left}");
        assert!(left.told()[0].starts_with("series 0 "), "{left}");
    }
    let Decoded { left, .. } = decoded(Version::V1, &request_v1([good, Message::new()]));
    assert_eq!((left.count(Cause::NoName), left.tally), (1, Tally::NONE), "even where nothing was in it");
}

#[test]
fn samples_have_to_be_in_the_order_of_their_times() {
    let samples = [(1.0, T), (1.0, T), (2.0, T), (3.0, T - 1), (4.0, T + 5)];
    for (version, message) in in_both(&UP, &samples) {
        let Decoded { batch, left, .. } = decoded(version, &message);
        assert_eq!(
            batch.series[0].1,
            [float(T, 1.0), float(T, 1.0), float(T + 5, 4.0)],
            "the same once more does no harm"
        );
        assert_eq!((left.count(Cause::DuplicateTime), left.count(Cause::OutOfOrder)), (1, 1));
        let line = left.to_string();
        assert!(line.starts_with("2 samples left out: series 0 up{instance="), "{line}");
        assert!(line.contains(&format!("the sample at {} comes after one at {T}", T - 1)), "{line}");
    }
}

/// The histogram the receiver suite of Prometheus sends.
fn native() -> Message {
    Message::new()
        .varint(1, 24)
        .double(3, 1.5)
        .varint(6, 1)
        .message(11, Message::new().zigzag(1, 0).varint(2, 3))
        .message(11, Message::new().zigzag(1, 2).varint(2, 2))
        .packed_zigzag(12, [1, 2, 1, 3, 1])
        .varint(15, T as u64)
        .varint(17, T as u64 - 1)
}

fn with_histograms(histograms: impl IntoIterator<Item = Message>) -> [(Version, Vec<u8>); 2] {
    let histograms: Vec<Message> = histograms.into_iter().collect();
    let mut symbols = Symbols::default();
    let one =
        histograms.iter().fold(series_v1(&UP, &[]), |series, histogram| series.message(4, histogram.clone()));
    let two = Message::new().packed(1, symbols.labels(&UP));
    let two = histograms.into_iter().fold(two, |series, histogram| series.message(3, histogram));
    [(Version::V1, request_v1([one])), (Version::V2, symbols.request([two]))]
}

fn histogram(version: Version, message: &[u8]) -> (i64, Histogram) {
    let Decoded { batch, left, .. } = decoded(version, message);
    assert!(left.is_empty(), "{left}");
    match &batch.series[0].1[..] {
        [Sample { at_ms, value: Value::Histogram(histogram) }] => (*at_ms, Histogram::clone(histogram)),
        samples => panic!("{samples:?}"),
    }
}

#[test]
fn native_histograms_are_taken_with_absolute_counts() {
    for (version, message) in with_histograms([native()]) {
        let (at_ms, histogram) = histogram(version, &message);
        assert_eq!(
            (at_ms, histogram.schema, histogram.count, histogram.sum, histogram.zero_count),
            (T, 0, 24.0, 1.5, 1.0)
        );
        assert_eq!(histogram.positive.spans, [Span { offset: 0, length: 3 }, Span { offset: 2, length: 2 }]);
        assert_eq!(histogram.positive.counts, [1.0, 3.0, 4.0, 7.0, 8.0]);
        assert_eq!(histogram.reset, CounterReset::Unknown);
    }
    let custom = Message::new()
        .varint(1, 30)
        .double(3, 1.0)
        .zigzag(4, -53)
        .message(11, Message::new().varint(2, 6))
        .packed_zigzag(12, [2, 1, 2, 3, -1, -2])
        .varint(14, 3)
        .varint(15, T as u64)
        .packed_double(16, [0.1, 0.5, 1.0, 2.5, 5.0, 10.0]);
    for (version, message) in with_histograms([custom]) {
        let (_, histogram) = histogram(version, &message);
        assert_eq!(histogram.positive.counts, [2.0, 3.0, 5.0, 8.0, 7.0, 5.0]);
        assert_eq!((histogram.custom_values.len(), histogram.reset), (6, CounterReset::Gauge));
    }
    let floats = Message::new()
        .double(2, 6.5)
        .double(3, f64::NAN)
        .zigzag(4, 3)
        .double(7, 1.5)
        .message(8, Message::new().zigzag(1, -2).varint(2, 1))
        .packed_double(10, [2.0])
        .message(11, Message::new().varint(2, 1))
        .double(13, 3.0)
        .varint(15, T as u64);
    for (version, message) in with_histograms([floats]) {
        let (_, histogram) = histogram(version, &message);
        assert_eq!(
            (histogram.negative.counts[0], histogram.positive.counts[0], histogram.schema),
            (2.0, 3.0, 3)
        );
    }
}

#[test]
fn a_histogram_that_contradicts_itself_is_left_out() {
    let span = |offset, length| Message::new().zigzag(1, offset).varint(2, length);
    let base = |count| Message::new().varint(1, count).varint(15, T as u64);
    for (bad, why) in [
        (native().varint(1, 99), "the count is 99, and the buckets hold 24"),
        (native().zigzag(4, 9), "schema 9 is not known"),
        (native().zigzag(4, -5), "schema -5 is not known"),
        (native().double(5, -1.0), "the zero bucket reaches to -1"),
        (native().packed_double(13, [1.0]), "both as deltas and as counts"),
        (native().packed_double(16, [1.0]), "boundaries are given with schema 0"),
        (base(1).message(11, span(0, 2)).packed_zigzag(12, [1]), "hold 2, and 1 are given"),
        (
            base(2).message(11, span(0, 1)).message(11, span(-1, 1)).packed_zigzag(12, [1, 0]),
            "begins 1 before the end",
        ),
        (base(0).message(11, span(0, 1)).packed_zigzag(12, [-1]), "bucket holds -"),
        (
            base(1)
                .zigzag(4, -53)
                .message(11, span(0, 3))
                .packed_zigzag(12, [1, -1, 0])
                .packed_double(16, [1.0]),
            "reach beyond the 1 boundaries",
        ),
        (base(0).zigzag(4, -53).packed_double(16, [1.0, 1.0]), "do not rise from 1 to 1"),
        (base(0).zigzag(4, -53).packed_double(16, [1.0, f64::INFINITY]), "inf is a boundary"),
        (base(1).zigzag(4, -53).varint(6, 1), "has no zero bucket"),
        (Message::new().double(2, -1.0), "the count is -1"),
        (base(1).packed_double(13, [1.0]).message(11, span(0, 1)), "whole counts go with deltas"),
    ] {
        for (version, message) in with_histograms([bad, native()]) {
            let Decoded { batch, left, .. } = decoded(version, &message);
            assert_eq!((left.tally, left.count(Cause::BadHistogram)), (Tally::HISTOGRAM, 1), "{why}: {left}");
            assert!(left.told()[0].contains(why), "{why}: {left}");
            assert_eq!(batch.series[0].1.len(), 1, "the other one is taken");
        }
    }
}

#[test]
fn a_histogram_can_say_that_its_series_ended_whatever_else_is_in_it() {
    let stale = native().double(3, f64::from_bits(STALE_BITS)).varint(1, 77);
    for (version, message) in with_histograms([stale]) {
        let (_, histogram) = histogram(version, &message);
        assert_eq!(histogram.sum.to_bits(), STALE_BITS);
        assert!(histogram.positive.spans.is_empty() && histogram.positive.counts.is_empty());
    }
}

#[test]
fn floats_and_histograms_do_not_go_into_one_series() {
    let mixed = series_v1(&UP, &[(1.0, T - 1)]).message(4, native());
    let Decoded { batch, left, .. } = decoded(Version::V1, &request_v1([mixed]));
    assert!(batch.series.is_empty());
    assert_eq!((left.count(Cause::MixedKinds), left.tally.samples, left.tally.histograms), (2, 1, 1));
}

#[test]
fn version_2_brings_exemplars_metadata_and_start_times() {
    let mut symbols = Symbols::default();
    let names = [("__name__", "latency_seconds_bucket"), ("job", "api"), ("le", "1.0")];
    let exemplar =
        Message::new().packed(1, symbols.labels(&[("trace_id", "abc")])).double(2, 0.3).varint(3, T as u64);
    let metadata =
        Message::new().varint(1, 3).varint(3, symbols.of("How long")).varint(4, symbols.of("seconds"));
    let sample = sample_of((5.0, T)).varint(3, T as u64 - 60_000);
    let series = Message::new()
        .packed(1, symbols.labels(&names))
        .message(2, sample)
        .message(4, exemplar)
        .message(5, metadata)
        .varint(6, T as u64 - 60_000);
    let Decoded { batch, left, .. } = decoded(Version::V2, &symbols.request([series.clone(), series]));
    assert!(left.is_empty(), "{left}");
    assert_eq!(batch.series, vec![(labels(&names), vec![float(T, 5.0)]); 2]);
    let exemplar = Exemplar { labels: labels(&[("trace_id", "abc")]), value: 0.3, at_ms: T };
    assert_eq!(batch.exemplars, vec![(labels(&names), exemplar); 2]);
    let metadata =
        Metadata { kind: Kind::Histogram, help: "How long".to_owned(), unit: "seconds".to_owned() };
    assert_eq!(
        batch.metadata,
        [("latency_seconds".to_owned(), metadata)],
        "said once, of the whole histogram"
    );
}

#[test]
fn exemplars_and_metadata_may_come_without_samples() {
    let mut symbols = Symbols::default();
    let names = symbols.labels(&[("__name__", "orphans")]);
    let exemplar = Message::new().double(2, 42.0).varint(3, T as u64);
    let metadata = Message::new().varint(1, 1).varint(3, symbols.of("Nobody's"));
    let message = symbols.request([
        Message::new().packed(1, names.clone()).message(4, exemplar),
        Message::new().packed(1, names).message(5, metadata),
    ]);
    let decoded = decoded(Version::V2, &message);
    assert!(decoded.left.is_empty() && decoded.batch.series.is_empty());
    assert_eq!(decoded.tally(), Tally { exemplars: 1, metadata: 1, ..Tally::NONE });
}

#[test]
fn an_exemplar_needs_a_time_and_has_short_labels() {
    let long = "x".repeat(121);
    let exemplar = |labels: &[(&str, &str)], at: u64| {
        labels
            .iter()
            .fold(Message::new(), |message, (name, value)| {
                message.message(1, Message::new().bytes(1, name).bytes(2, value))
            })
            .double(2, 1.0)
            .varint(3, at)
    };
    let series = series_v1(&UP, &[(1.0, T)])
        .message(3, exemplar(&[("trace_id", &long[..120])], T as u64))
        .message(3, exemplar(&[("trace_id", &long)], T as u64))
        .message(3, exemplar(&[("trace_id", "é")], T as u64))
        .message(3, exemplar(&[], 0));
    let Decoded { batch, left, .. } = decoded(Version::V1, &request_v1([series]));
    assert_eq!((batch.exemplars.len(), left.tally.exemplars), (2, 2));
    assert_eq!((left.count(Cause::ExemplarTooLong), left.count(Cause::ExemplarWithoutTime)), (1, 1));
}

#[test]
fn references_that_point_nowhere_are_left_out_with_their_series() {
    let mut symbols = Symbols::default();
    let refs = symbols.labels(&[("__name__", "up"), ("job", "a")]);
    let series =
        |refs: &[u64]| Message::new().packed(1, refs.iter().copied()).message(2, sample_of((1.0, T)));
    let beyond = [refs[0], refs[1], refs[2], 5];
    let message = symbols.request([
        series(&beyond),
        series(&refs[..3]),
        series(&[refs[0], u64::MAX]),
        // Not packed, and in two fields: the same series.
        refs.iter()
            .fold(Message::new(), |message, &at| message.varint(1, at))
            .message(2, sample_of((1.0, T))),
        series(&refs[..2]).packed(1, refs[2..].iter().copied()),
    ]);
    let Decoded { batch, left, .. } = decoded(Version::V2, &message);
    assert_eq!((left.count(Cause::Reference), batch.series.len()), (3, 2), "{left}");
    assert!(left.told()[0].contains("of 5 there are"), "{left}");
    assert_eq!(batch.series[0].0, batch.series[1].0);
    let no_empty = Message::new().bytes(4, "a").message(5, series(&refs)).0;
    let refused = Decoder::default().decode_unpacked(Version::V2, &no_empty).map(|_| ());
    assert!(matches!(
        refused,
        Err(Unreadable::Malformed { what: "the first symbol is not the empty text", .. })
    ));
}

#[test]
fn version_1_brings_metadata() {
    let metadata = |name: &str, kind: u64| {
        Message::new().varint(1, kind).bytes(2, name).bytes(4, "h".repeat(5000)).bytes(5, "s")
    };
    let message = Message::new()
        .message(3, metadata("process_seconds", 1))
        .message(3, metadata("", 1))
        .message(3, metadata("odd", 99))
        .0;
    let Decoded { batch, left, .. } = decoded(Version::V1, &message);
    let [(name, Metadata { kind, help, unit })] = &batch.metadata[..] else { panic!("{batch:?}") };
    assert_eq!((&**name, *kind, help.len(), &**unit), ("process_seconds", Kind::Counter, 4096, "s"));
    assert_eq!((left.count(Cause::BadMetadata), left.helps_cut), (2, 1));
}

#[test]
fn a_message_of_the_other_version_is_empty() {
    let [(_, one), (_, two)] = in_both(&UP, &[(1.0, T)]);
    for (version, message) in [(Version::V1, two), (Version::V2, one)] {
        assert_eq!(decoded(version, &message).tally(), Tally::NONE, "fields are numbered so that this holds");
    }
}

#[test]
fn what_is_cut_off_is_refused_with_its_place() {
    for (version, message) in in_both(&UP, &[(1.0, T)]) {
        let cut = &message[..message.len() - 1];
        match Decoder::default().decode_unpacked(version, cut) {
            Err(Unreadable::Malformed { offset, .. }) => assert!(offset <= cut.len()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn more_than_one_message_may_hold_is_refused_whole() {
    let refused = |limits, version, message: &[u8]| {
        Decoder::new(limits).decode_unpacked(version, message).map(|_| ()).map_err(|error| error.to_string())
    };
    for (version, message) in in_both(&UP, &[(1.0, T), (1.0, T + 1), (1.0, T + 2)]) {
        let error = refused(Limits { samples: 2, ..Limits::default() }, version, &message);
        assert_eq!(error, Err("the message has more than 2 samples; send less at a time".to_owned()));
        assert!(refused(Limits { samples: 3, ..Limits::default() }, version, &message).is_ok());
        let error = refused(Limits { series: 0, ..Limits::default() }, version, &message);
        assert!(error.is_err_and(|error| error.contains("0 series")));
        let limit = message.len() - 1;
        let error = refused(Limits { message_bytes: limit, ..Limits::default() }, version, &message);
        assert!(error.is_err_and(|error| error.contains("bytes")));
    }
    let [_, (_, message)] = in_both(&UP, &[(1.0, T)]);
    assert!(refused(Limits { symbols: 6, ..Limits::default() }, Version::V2, &message).is_err());
    assert!(refused(Limits { symbols: 7, ..Limits::default() }, Version::V2, &message).is_ok());
}

#[test]
fn headers_decide_on_the_version() {
    let protobuf = "application/x-protobuf";
    for (kind, version) in [
        (None, Version::V1),
        (Some(protobuf), Version::V1),
        (Some("application/x-protobuf;proto=prometheus.WriteRequest"), Version::V1),
        (Some("application/x-protobuf;proto=io.prometheus.write.v2.Request"), Version::V2),
        (
            Some("Application/X-Protobuf; charset=utf-8; proto=\"io.prometheus.write.v2.Request\""),
            Version::V2,
        ),
    ] {
        for encoding in [None, Some("snappy"), Some("Snappy")] {
            assert_eq!(negotiate(kind, encoding), Ok(version), "{kind:?} {encoding:?}");
        }
    }
    for kind in [
        "application/json",
        "image/png",
        "application/x-protobuf;proto=other",
        "application/x-protobuf;proto",
    ] {
        assert_eq!(negotiate(Some(kind), Some("snappy")), Err(Unsupported::ContentType(kind.to_owned())));
    }
    for encoding in ["gzip", "deflate", "zstd", "snappy, gzip"] {
        assert_eq!(
            negotiate(Some(protobuf), Some(encoding)),
            Err(Unsupported::ContentEncoding(encoding.to_owned()))
        );
    }
}

#[test]
fn what_was_written_is_told_in_headers() {
    let written = Written::from(Tally { samples: 3, histograms: 2, exemplars: 1, metadata: 9, points: 0 });
    assert_eq!(
        written.headers(),
        [
            ("x-prometheus-remote-write-samples-written", 3),
            ("x-prometheus-remote-write-histograms-written", 2),
            ("x-prometheus-remote-write-exemplars-written", 1),
        ]
    );
}
