"""Reads the compacted tier of a store with pyarrow, to prove that others than us can.

    python3 crates/telemetry/checks/parquet.py DIR     (the store's directory, with units of the reference corpus)

Prints one line. Without pyarrow: `skipped: no pyarrow`.
"""

import glob
import sys

try:
    import pyarrow.parquet as parquet
except ImportError:
    print("skipped: no pyarrow")
    sys.exit(0)

files = sorted(glob.glob(sys.argv[1] + "/cold/*.spans.parquet"))
assert files, "no compacted spans in " + sys.argv[1]
spans = traces = parents = 0
for name in files:
    table = parquet.read_table(name)
    assert table.num_rows == parquet.ParquetFile(name).metadata.num_rows
    columns = table.to_pydict()
    rows = table.num_rows
    spans += rows
    ids, offsets, trace_ids = columns["span_id"], columns["parent_row_offset"], columns["trace_id"]
    traces += len(set(trace_ids))
    assert len(set(ids)) == rows, "span ids are unique in the corpus"
    for row in range(rows):
        if offsets[row]:
            # The parent is in the same trace, and starts no later.
            assert trace_ids[row + offsets[row]] == trace_ids[row]
            assert columns["start_unix_nano"][row + offsets[row]] <= columns["start_unix_nano"][row]
            parents += 1
    assert all(len(value) == 8 for value in columns["attributes.request.id"]), "16 digits are 8 bytes"
    assert set(columns["service_name"]) <= {"front", "cart", "catalogue", "orders", "payments", "search"}
    assert set(columns["attributes.http.request.method"]) <= {"GET", "POST", "PUT", "DELETE", None}
    assert set(columns["attributes.http.response.status_code"]) <= {200, 503, None}
    assert all(count == 1.0 for count in columns["adjusted_count"])
print(f"pyarrow: {spans} spans of {traces} traces in {len(files)} files, {parents} parents by offset")
