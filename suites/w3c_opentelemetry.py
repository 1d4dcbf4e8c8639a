"""The service that the W3C harness wants, with OpenTelemetry's Python library carrying the headers: what the harness says
of a library that nobody here wrote. Started by `suites/w3c --against opentelemetry-python`.
"""

import argparse
import json
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

PROPAGATOR = TraceContextTextMapPropagator()
TRACER = TracerProvider().get_tracer("w3c")


class Service(BaseHTTPRequestHandler):
    def do_POST(self):
        actions = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        # Headers that repeat are one list, as HTTP says.
        carrier = {}
        for name, value in self.headers.items():
            carrier.setdefault(name.lower(), []).append(value)
        with TRACER.start_as_current_span("test", PROPAGATOR.extract(carrier), SpanKind.SERVER):
            for action in actions:
                with TRACER.start_as_current_span("call", kind=SpanKind.CLIENT):
                    headers = {"Content-Type": "application/json"}
                    PROPAGATOR.inject(headers)
                    body = json.dumps(action["arguments"]).encode()
                    urllib.request.urlopen(urllib.request.Request(action["url"], body, headers), timeout=5).close()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_):
        pass


parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Service).serve_forever()
