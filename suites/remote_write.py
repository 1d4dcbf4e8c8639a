"""Prometheus' remote-write protocol, version 1, as a sender: series as protobuf in Snappy's frame, without a library.

In: series as (labels, [(time in ms, value)]); a value is a float, or a dict of a native histogram. Out: bodies to POST.
Deliberately absent: compression. Snappy's format allows text that is not compressed, and what is measured is elsewhere.
"""

import struct
import urllib.error
import urllib.request

HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
           "X-Prometheus-Remote-Write-Version": "0.1.0"}


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def zigzag(number):
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def field(number, kind, payload):
    return varint(number << 3 | kind) + payload


def chunk(number, payload):
    return field(number, 2, varint(len(payload)) + payload)


def double(number, value):
    return field(number, 1, struct.pack("<d", value))


def spans(number, runs):
    return b"".join(chunk(number, field(1, 0, zigzag(offset)) + field(2, 0, varint(length))) for offset, length in runs)


def deltas(counts):
    return b"".join(zigzag(count - before) for before, count in zip([0, *counts], counts))


def histogram(at_ms, value):
    """An integer histogram: schema, zero_threshold, zero_count, sum, and positive and negative as (spans, counts)."""
    count = value["zero_count"] + sum(value["positive"][1]) + sum(value["negative"][1])
    return (field(1, 0, varint(count)) + double(3, value["sum"]) + field(4, 0, zigzag(value["schema"]))
            + double(5, value["zero_threshold"]) + field(6, 0, varint(value["zero_count"]))
            + spans(8, value["negative"][0]) + chunk(9, deltas(value["negative"][1]))
            + spans(11, value["positive"][0]) + chunk(12, deltas(value["positive"][1]))
            + field(15, 0, varint(at_ms)))


def time_series(labels, samples):
    out = b"".join(chunk(1, chunk(1, name.encode()) + chunk(2, text.encode())) for name, text in sorted(labels.items()))
    for at_ms, value in samples:
        if isinstance(value, dict):
            out += chunk(4, histogram(at_ms, value))
        else:
            out += chunk(2, double(1, value) + field(2, 0, varint(at_ms)))
    return out


def snappy(text):
    out = bytearray(varint(len(text)))
    for at in range(0, len(text), 60):
        piece = text[at:at + 60]
        out.append((len(piece) - 1) << 2)
        out += piece
    return bytes(out)


def send(url, series):
    """Posts series; a refusal ends the run, since the answers would not be comparable."""
    body = snappy(b"".join(chunk(1, time_series(labels, samples)) for labels, samples in series))
    request = urllib.request.Request(url, body, HEADERS)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
    except urllib.error.HTTPError as refused:
        raise SystemExit(f"{url} did not take the series: {refused.code} {refused.read().decode(errors='replace')}") from refused
    except OSError as error:
        raise SystemExit(f"nothing answers at {url}: {error}; is the server under test up?") from error
