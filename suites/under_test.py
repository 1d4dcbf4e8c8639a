"""The trace store that a suite is run against: one that is running, or a peer brought up for a calibration.

Every suite takes the same options. Without `--against` it talks to what listens at `--otlp`, `--otlp-grpc` and
`--query`, which is Homeostat unless `--name` says otherwise; it should be empty. With `--against NAME` it starts that
peer (benches/ingest/peers/peers.py --list) in an empty directory, on ports of its own, and ends it afterwards.
"""

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benches/ingest/peers"))
import peers  # noqa: E402: it lies beside the binaries it starts


def add_options(parser):
    parser.add_argument("--otlp", default="http://127.0.0.1:4318", help="OTLP over HTTP (default %(default)s)")
    parser.add_argument("--otlp-grpc", default="127.0.0.1:4317", help="OTLP over gRPC (default %(default)s)")
    parser.add_argument("--query", default="http://127.0.0.1:4000",
                        help="where the Jaeger HTTP API's /api/traces is (default %(default)s)")
    parser.add_argument("--name", default="homeostat", help="what the server under test is called in the report")
    parser.add_argument("--against", choices=[name for name in peers.KINDS if name.startswith("jaeger")],
                        help="bring up this peer and test it instead: the suite's calibration")
    parser.add_argument("--patience", type=float, default=10.0,
                        help="seconds until what was acknowledged must be found (default %(default)s)")


@contextmanager
def server(options, **more):
    """The options with the addresses of the server under test filled in."""
    if not options.against:
        yield options
        return
    running = peers.start(options.against, ROOT / "target/suites" / options.against, **more)
    options.otlp, options.query = (running.ports.url(port) for port in (running.ports.http, running.ports.query))
    options.otlp_grpc, options.name = f"127.0.0.1:{running.ports.grpc}", options.against
    try:
        yield options
    finally:
        running.stop()


def call(url, body=None, **parameters):
    """Status and JSON (or text) of one request; a refusal is an answer too."""
    if parameters:
        url += "?" + urllib.parse.urlencode(parameters)
    request = urllib.request.Request(url, json.dumps(body).encode() if body is not None else None,
                                     {"Content-Type": "application/json"} if body is not None else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        status, text = refused.code, refused.read()
    except OSError as error:
        raise SystemExit(f"nothing answers at {url}: {error}; is the server under test up?") from error
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text.decode(errors="replace")


def ingest(options, resource_spans):
    status, answer = call(f"{options.otlp}/v1/traces", {"resourceSpans": resource_spans})
    refused = isinstance(answer, dict) and int((answer.get("partialSuccess") or {}).get("rejectedSpans") or 0)
    if status != 200 or refused:
        raise SystemExit(f"{options.otlp}/v1/traces did not take the spans: {status} {answer}")


def until(patience, look):
    """Looks until nothing is wrong or patience ends; what is wrong at the end, or None."""
    deadline = time.monotonic() + patience
    while (wrong := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return wrong
