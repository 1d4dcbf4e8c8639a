"""Drives one load after another into trace stores and sets what they took beside the CPU time they spent on it.

In: the binaries of benches/ingest/peers/build and of `cargo build --release`. Out: a Markdown table on stdout, all
figures as JSON in a file, progress on stderr. The generator is `homeostat bench ingest`, the same for every store;
`telemetrygen` stands in where asked for, and cannot say how long an acknowledgement took.

Homeostat's own row is `homeostat bench ingest` without `--target`: store and generator share a process there, so the
CPU time of the store is what that command itself reports as `server_ns_per_span`. Deliberately absent: averages over systems,
and any figure that was not counted; what cannot be counted is a dash.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))
import peers  # noqa: E402: it lies beside the binaries it starts

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = ["homeostat", "collector", "collector_batched", "jaeger", "jaeger_batched", "jaeger_synced"]
FIGURES = ["spans_per_s", "server_cpu_s", "spans_per_server_cpu_s", "ack_p50_ms", "ack_p99_ms", "bytes_per_span",
           "rss_peak_mib", "lost"]
# A load that has not ended by this much after its time is stuck.
GRACE_S = 60
TRACE_SPANS = 10


def say(text):
    print(text, file=sys.stderr, flush=True)


class Running(peers.Server):
    """A store that somebody else has started: measured, not stopped."""

    @classmethod
    def parse(cls, text):
        name, _, rest = text.partition(":")
        given = dict(part.split("=", 1) for part in rest.split(",") if "=" in part)
        if not name or not {"http", "grpc", "pid"} <= given.keys():
            raise argparse.ArgumentTypeError(f"'{text}' is not NAME:http=PORT,grpc=PORT,pid=PID[,data=DIRECTORY]")
        server = cls(name, "see its documentation",
                     peers.Ports(int(given["grpc"]), int(given["http"]), 0), Path(given.get("data", "/nonexistent")))
        server.pid = int(given["pid"])
        return server

    data = property(lambda self: self.directory)

    def cpu_seconds(self):
        return peers.cpu_seconds(self.pid)

    def rss_peak_mib(self):
        return peers.rss_peak_mib(self.pid)

    def stop(self):
        pass


def flat(value, path=""):
    """{"ack": {"p50_ms": 1}} as {"ack_p50_ms": 1}."""
    if isinstance(value, dict):
        return {key: inner for name, part in value.items() for key, inner in flat(part, f"{path}_{name}").items()}
    return {path[1:]: value}


def pick(figures, *words):
    """The figure whose name holds all the words, however the generator nests and orders them."""
    return next((figures[name] for name in figures if all(word in name for word in words)), None)


def homeostat_load(options, target):
    command = [str(options.homeostat), "bench", "ingest", "--protocol", options.protocol,
               "--seconds", str(options.seconds), "--json", "-"]
    command += ["--gzip"] if options.gzip else []
    command += ["--target", target.removeprefix("http://")] if target else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=options.seconds + GRACE_S, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return flat(json.loads(done.stdout[done.stdout.index("{"):]))


def telemetrygen_load(options, target):
    host = target.split("//")[1]
    command = [str(peers.BINARIES / "telemetrygen"), "traces", "--otlp-insecure", "--otlp-endpoint", host,
               "--duration", f"{options.seconds}s", "--rate", "0", "--workers", "2", "--batch-size", "512",
               "--child-spans", str(TRACE_SPANS - 1)]
    command += ["--otlp-http"] if options.protocol == "http" else []
    for number in range(8):
        command += ["--telemetry-attributes", f'attribute.{number}="a value of usual length {number}"']
    done = subprocess.run(command, capture_output=True, text=True, timeout=options.seconds + GRACE_S, check=False)
    if done.returncode:
        raise SystemExit(f"telemetrygen ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
    made = sum(int(traces) for traces in re.findall(r'"traces": (\d+)\}', done.stdout + done.stderr)) * TRACE_SPANS
    say(f"  telemetrygen made {made} spans; what its own queue had no room for, it dropped before sending")
    return {}


LOADS = {"homeostat": homeostat_load, "telemetrygen": telemetrygen_load}


def foreign(options, server):
    """One load into one store: figures as the generator and the kernel saw them."""
    target = server.ports.url(server.ports.http if options.protocol == "http" else server.ports.grpc)
    cpu, began = server.cpu_seconds(), time.monotonic()
    try:
        seen = LOADS[options.generator](options, target)
        took, cpu, rss = time.monotonic() - began, server.cpu_seconds() - cpu, server.rss_peak_mib()
    finally:
        server.stop()
    found = server.spans_on_disk()
    acknowledged = seen.get("spans")
    rate = pick(seen, "spans_per_s") or (found / took if found is not None else None)
    spans = acknowledged if acknowledged is not None else found if found is not None else rate and rate * took
    stored = found or spans
    return {
        "spans": spans, "found": found, "spans_per_s": rate, "server_cpu_s": cpu,
        "spans_per_server_cpu_s": spans / cpu if spans and cpu else None,
        "ack_p50_ms": pick(seen, "ack", "p50"), "ack_p99_ms": pick(seen, "ack", "p99"),
        "bytes_per_span": peers.disk_bytes(server.data) / stored if stored and server.data.exists() else None,
        "rss_peak_mib": rss,
        "lost": acknowledged - found if acknowledged is not None and found is not None else None,
    }


def own(options):
    seen = homeostat_load(options, None)
    spans = seen["spans"]
    cpu = spans * seen["server_ns_per_span"] / 1e9
    return {
        "spans": spans, "found": None, "spans_per_s": seen["spans_per_s"], "server_cpu_s": cpu,
        "spans_per_server_cpu_s": spans / cpu,
        "ack_p50_ms": pick(seen, "ack", "p50"), "ack_p99_ms": pick(seen, "ack", "p99"),
        "bytes_per_span": seen.get("bytes_per_span"), "rss_peak_mib": seen.get("rss_peak_mib"), "lost": seen.get("lost"),
    }


def shown(value, name):
    if value is None:
        return "–"
    return f"{value:,.1f}" if name.endswith(("_ms", "_cpu_s", "_span")) and value < 1000 else f"{value:,.0f}"


def table(rounds, acknowledges):
    lines = ["| system | " + " | ".join(FIGURES) + " | acknowledged means |",
             "|---|" + "--:|" * len(FIGURES) + "---|"]
    for name, figures in rounds.items():
        medians = {}
        for figure in FIGURES:
            counted = [one[figure] for one in figures if one[figure] is not None]
            # What was lost is lost in every round; of the rest, the middle one.
            medians[figure] = (sum(counted) if figure == "lost" else statistics.median(counted)) if counted else None
        cells = [shown(medians[figure], figure) for figure in FIGURES]
        lines.append(f"| `{name}` | " + " | ".join(cells) + f" | {acknowledges[name]} |")
    return "\n".join(lines)


def arguments():
    parser = argparse.ArgumentParser(prog="benches/ingest/run", description=__doc__.split("\n")[0])
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--protocol", choices=["http", "grpc"], default="http")
    parser.add_argument("--gzip", action="store_true")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--generator", choices=LOADS, default="homeostat")
    parser.add_argument("--homeostat", type=Path, default=ROOT / "target/release/homeostat")
    parser.add_argument("--server", type=Running.parse, action="append", default=[])
    parser.add_argument("--work", type=Path, default=ROOT / "target/bench-ingest")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.systems = [name for name in options.systems.split(",") if name]
    unknown = set(options.systems) - set(SYSTEMS)
    if unknown:
        parser.error(f"no system is called {', '.join(sorted(unknown))}: {', '.join(SYSTEMS)} are")
    if options.gzip and options.generator == "telemetrygen":
        parser.error("telemetrygen does not compress: leave out --gzip or --generator")
    return options


def can_run(options, name):
    """Whether a system can be measured here; if not, why, on stderr."""
    why = None
    if name == "homeostat":
        if options.generator != "homeostat":
            why = "its own row needs its own generator; measure a running one with --server"
        elif not os.access(options.homeostat, os.X_OK):
            why = f"there is no {options.homeostat}: cargo build --release"
    elif not os.access(peers.BINARIES / peers.KINDS[name].binary, os.X_OK):
        why = "not built, see above"
    if why:
        say(f"skipped: {name}: {why}")
    return why is None


def main():
    options = arguments()
    names = [name for name in options.systems if can_run(options, name)]
    acknowledges = {name: kind.acknowledges for name, kind in peers.KINDS.items()}
    acknowledges["homeostat"] = "synced to the disk and searchable"
    acknowledges.update({server.name: server.acknowledges for server in options.server})
    rounds = {name: [] for name in [*names, *(server.name for server in options.server)]}
    for number in range(options.rounds):
        # Each round starts with another system, so that a slow minute does not always meet the same one.
        for name in names[number % len(names):] + names[:number % len(names)] if names else []:
            say(f"round {number + 1} of {options.rounds}: {name}, {options.protocol}, {options.seconds} s")
            rounds[name].append(own(options) if name == "homeostat" else
                                foreign(options, peers.start(name, options.work / name)))
        for server in options.server:
            say(f"round {number + 1} of {options.rounds}: {server.name}, {options.protocol}, {options.seconds} s")
            rounds[server.name].append(foreign(options, server))
    result = {
        "machine": {"cores": os.cpu_count(), "kernel": platform.release(), "load_1min": os.getloadavg()[0]},
        "method": {"generator": options.generator, "protocol": options.protocol, "gzip": options.gzip,
                   "seconds": options.seconds},
        "acknowledges": {name: acknowledges[name] for name in rounds}, "rounds": rounds,
    }
    (options.json or options.work / "results.json").write_text(json.dumps(result, indent=2) + "\n")
    print(table(rounds, acknowledges))


if __name__ == "__main__":
    main()
