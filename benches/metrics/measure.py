"""Feeds stores of series the same stream by remote-write, one after the other, and sets what it cost them side by side.

In: the binary of `cargo build --release`, and victoria-metrics and prometheus of Debian. Out: a Markdown table on stdout,
all figures as JSON in a file, progress on stderr. The generator is `homeostat bench metrics-load`, the same for every
store, with the same samples at the same times; all are asked over the same API of Prometheus, and what they answer is
compared.

Deliberately absent: tuning beyond each one's defaults, figures of what was not brought to rest, averages over systems.
"""

import argparse
import http.client
import json
import os
import platform
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benches/ingest/peers"))
from peers import cpu_seconds, disk_bytes, listening, rss_peak_mib  # noqa: E402: the same as for spans

# 1,000 series of ten targets, as `homeostat bench metrics-load` makes them.
SERIES = "node_events_total"
QUERIES = {
    "rate_5m": f"sum by (job) (rate({SERIES}[5m]))",
    "rate_2m": f"sum by (job) (rate({SERIES}[2m]))",
    "average": f"sum by (instance) (avg_over_time({SERIES}[5m]))",
    "last": f"sum by (instance) ({SERIES})",
}
QUERY_STEP_S, QUERY_S = 60, 6 * 3600
# Loaded and not asked for: what the first windows of the first query reach back to.
LEAD_S = 600
EVERYTHING = '{job="node"}'
# A start on two busy cores takes a few seconds; an end has samples in memory to write first.
READY_S, END_S, LOAD_S, SETTLE_S = 60.0, 60.0, 600.0, 180.0


def say(text):
    print(text, file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Store:
    """A store of series: how it is started, what its acknowledgement means, and how it is brought to rest."""

    name = acknowledges = rest = program = ""
    # Passed with every query.
    parameters = {}

    def __init__(self, options):
        self.options = options
        self.directory = options.work / self.name
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.data = self.directory / "data"
        self.port = free_port()
        self.process = None

    @classmethod
    def missing(cls, _options):
        """Why it cannot be measured here."""
        return None if shutil.which(cls.program) else f"there is no {cls.program}: apt-get install {cls.program}"

    def command(self):
        raise NotImplementedError

    def write_url(self):
        return f"http://127.0.0.1:{self.port}/api/v1/write"

    def start(self):
        log = (self.directory / "log").open("a")
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                        cwd=self.directory)
        deadline = time.monotonic() + READY_S
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                tail = "\n".join((self.directory / "log").read_text().splitlines()[-15:])
                raise SystemExit(f"{self.name} did not come up (status {self.process.poll()}):\n{tail}")
            time.sleep(0.05)

    def ready(self):
        if not listening(self.port):
            return False
        try:
            return self.ask("/api/v1/query", query="vector(1)")["status"] == "success"
        except (OSError, ValueError, KeyError, http.client.HTTPException, SystemExit):
            # It listens, and does not answer queries yet.
            return False

    def request(self, method, path, **parameters):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            query = urllib.parse.urlencode(parameters)
            connection.request(method, f"{path}?{query}" if query else path)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status // 100 != 2:
                raise SystemExit(f"{self.name}: {path} answered {answer.status}: {body[:500]!r}")
            return body
        finally:
            connection.close()

    def ask(self, path, **parameters):
        return json.loads(self.request("GET", path, **self.parameters, **parameters))

    def cpu_seconds(self):
        return cpu_seconds(self.process.pid)

    def rss_peak_mib(self):
        return rss_peak_mib(self.process.pid)

    def kept(self):
        """The directories that samples are in, with what finds them."""
        return [self.data]

    def bytes(self):
        return sum(disk_bytes(directory) for directory in self.kept())

    def raw_bytes(self):
        """The part that samples as they came take, when it is at rest; `None` where nothing else is kept."""
        return None

    def to_rest(self):
        """Brings everything into files as the store wants to have them, and ends it; answers CPU seconds of that."""
        raise NotImplementedError

    def stop(self):
        """Ends it as an operator would; by force if that hangs."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)


class Homeostat(Store):
    name = "homeostat"
    acknowledges = "on the disk (fdatasync) and found by queries"
    rest = ("ended; `homeostat bench metrics-settle` writes the log's samples to blocks, with tiers of minutes and hours "
            "where samples come ten times a minute or more, and merges what is due")

    def __init__(self, options):
        super().__init__(options)
        self.receiver, self.raw = free_port(), None
        (self.directory / "homeostat.toml").write_text(
            f"[gateway]\nport = {self.port}\n[otlp]\nhttp_port = {self.receiver}\ngrpc_port = {free_port()}\n"
            # Its own series are not what is measured.
            "[metrics]\nfleet_seconds = 30\nscrape_seconds = 3600\n")

    @classmethod
    def missing(cls, options):
        here = os.access(options.homeostat, os.X_OK)
        return None if here else f"there is no {options.homeostat}: cargo build --release"

    def own(self, *words):
        return [str(self.options.homeostat), "--dir", str(self.data), "--config",
                str(self.directory / "homeostat.toml"), *words]

    def command(self):
        return self.own("serve")

    def start(self):
        if not self.data.exists():
            # A control plane is there for a fleet: one process that does nothing.
            fleet = self.directory / "nothing.yaml"
            fleet.write_text("name: nothing\nservices:\n  idle:\n    command: [sleep, infinity]\n")
            subprocess.run(self.own("up", str(fleet)), stdout=subprocess.DEVNULL, check=True, timeout=READY_S)
            self.end_detached()
        super().start()

    def end_detached(self):
        """Ends the control plane that `up` started, so that the next one is a child of ours."""
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = os.fsdecode(entry.read_bytes()).split("\0")
            except OSError:
                continue
            if str(self.data) in words and "serve" in words:
                os.kill(int(entry.parent.name), signal.SIGTERM)
                deadline = time.monotonic() + END_S
                while entry.exists() and time.monotonic() < deadline:
                    time.sleep(0.05)

    def write_url(self):
        return f"http://127.0.0.1:{self.receiver}/api/v1/write"

    def kept(self):
        return [self.data / "metrics"]

    def to_rest(self):
        self.stop()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        settled = run_json(self.own("bench", "metrics-settle", str(self.data / "metrics"), "--json", "-"), SETTLE_S)
        self.raw = settled["bytes"]
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def raw_bytes(self):
        return self.raw

    def remove(self):
        # The keeper outlives the control plane.
        subprocess.run(self.own("down"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=END_S,
                       check=False)
        super().remove()


class VictoriaMetrics(Store):
    name, program = "victoria_metrics", "victoria-metrics"
    acknowledges = "in memory: written to files within seconds, lost with the process until then; not synced"
    rest = "`/internal/force_flush`, `/internal/force_merge` until no merge runs, then ended"
    # Its cache of results would answer the same question without asking the store.
    parameters = {"nocache": "1"}

    def command(self):
        return [self.program, f"-storageDataPath={self.data}", f"-httpListenAddr=127.0.0.1:{self.port}",
                "-loggerLevel=WARN"]

    def kept(self):
        return [self.data / "data", self.data / "indexdb"]

    def to_rest(self):
        began = self.cpu_seconds()
        self.request("GET", "/internal/force_flush")
        self.request("GET", "/internal/force_merge")
        deadline, quiet = time.monotonic() + SETTLE_S, 0
        while quiet < 3 and time.monotonic() < deadline:
            time.sleep(0.5)
            quiet = quiet + 1 if self.merges() == 0 else 0
        spent = self.cpu_seconds() - began
        self.stop()
        return spent

    def merges(self):
        lines = self.request("GET", "/metrics").decode().splitlines()
        running = [line for line in lines if line.startswith(("vm_active_merges", "vm_active_force_merges"))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in running)


class Prometheus(Store):
    name = program = "prometheus"
    acknowledges = "written to its log, not synced: survives the end of the process, not of the machine"
    rest = "`/api/v1/admin/tsdb/snapshot`: its blocks and one of what was in memory; asked again from these"

    def __init__(self, options):
        super().__init__(options)
        (self.directory / "prometheus.yml").write_text("global: {}\n")

    def command(self):
        return [self.program, f"--config.file={self.directory / 'prometheus.yml'}", f"--storage.tsdb.path={self.data}",
                f"--web.listen-address=127.0.0.1:{self.port}", "--web.enable-remote-write-receiver",
                "--web.enable-admin-api", "--log.level=warn"]

    def to_rest(self):
        began = self.cpu_seconds()
        answer = json.loads(self.request("POST", "/api/v1/admin/tsdb/snapshot"))
        spent = self.cpu_seconds() - began
        snapshot = self.data / "snapshots" / answer["data"]["name"]
        self.stop()
        self.data = self.directory / "rested"
        snapshot.rename(self.data)
        return spent


STORES = {store.name: store for store in [Homeostat, VictoriaMetrics, Prometheus]}


def run_json(command, seconds):
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout[done.stdout.index("{"):])


def load(options, store):
    command = [str(options.homeostat), "--dir", str(options.work), "bench", "metrics-load", "--url", store.write_url(),
               "--targets", str(options.targets), "--seconds", str(options.seconds), "--step", str(options.step),
               "--connections", str(options.connections), "--until", str(options.until), "--json", "-"]
    return run_json(command, LOAD_S)


def count(options, store):
    """All samples there are, counted by the store itself: name by name, since without their names series look alike."""
    reach, found = options.seconds + 2 * LEAD_S, 0
    names = store.ask("/api/v1/label/__name__/values", **{"match[]": EVERYTHING}, start=options.until - reach,
                      end=options.until)["data"]
    for name in names:
        answer = store.ask("/api/v1/query", query=f'sum(count_over_time({name}{EVERYTHING}[{reach}s]))',
                           time=options.until)
        found += sum(int(float(series["value"][1])) for series in answer["data"]["result"])
    return found


def ranges(options, store):
    """How long each query takes, in ms, and what it answers: {labels: {time: value}}."""
    figures, answers = {}, {}
    for name, query in QUERIES.items():
        took = []
        for _ in range(options.queries):
            began = time.perf_counter()
            answer = store.ask("/api/v1/query_range", query=query, start=options.until - QUERY_S, end=options.until,
                               step=QUERY_STEP_S)
            took.append((time.perf_counter() - began) * 1000)
        took.sort()
        figures[name] = {"p50_ms": statistics.median(took), "p95_ms": took[-(-len(took) * 95 // 100) - 1]}
        answers[name] = {json.dumps(series["metric"], sort_keys=True): {at: float(value) for at, value in series["values"]}
                         for series in answer["data"]["result"]}
    return figures, answers


def difference(one, other):
    """Between two answers: points that only one has, and how far the others lie apart, relatively."""
    points = [{(labels, at): value for labels, series in answer.items() for at, value in series.items()}
              for answer in (one, other)]
    both = points[0].keys() & points[1].keys()
    apart = [abs(points[0][at] - points[1][at]) / max(abs(points[1][at]), 1e-12) for at in both]
    return {"points": len(both), "only_one_has": len(points[0].keys() ^ points[1].keys()),
            "median": statistics.median(apart) if apart else None, "most": max(apart, default=None)}


def measure(options, store):
    """One load into one store, asked as it is then and again after it was brought to rest and started anew."""
    try:
        store.start()
        cpu = store.cpu_seconds()
        sent = load(options, store)
        cpu, rss = store.cpu_seconds() - cpu, store.rss_peak_mib()
        say(f"  {sent['samples_per_s']:,.0f} samples/s, {cpu:.1f} CPU seconds")
        as_loaded, (warm, _) = store.bytes(), ranges(options, store)
        found = count(options, store)
        resting = store.to_rest()
        size, raw = store.bytes(), store.raw_bytes()
        store.start()
        (cold, answers), again = ranges(options, store), count(options, store)
        rss_queries = store.rss_peak_mib()
    finally:
        store.stop()
        store.remove()
    samples = sent["samples"]
    return {
        "samples": samples, "samples_per_s": sent["samples_per_s"], "server_cpu_s": cpu,
        "samples_per_server_cpu_s": samples / cpu if cpu else None,
        "ack_p50_ms": sent["ack"]["p50_ms"], "ack_p99_ms": sent["ack"]["p99_ms"], "refused": sent["refused"],
        "rss_peak_mib": rss, "bytes_per_sample_as_loaded": as_loaded / samples,
        "to_rest_cpu_s": resting, "bytes_per_sample": size / samples,
        "bytes_per_sample_without_tiers": raw / samples if raw else None,
        **{f"{name}_{key}_as_loaded": value for name, one in warm.items() for key, value in one.items()},
        **{f"{name}_{key}": value for name, one in cold.items() for key, value in one.items()},
        "rss_peak_of_queries_mib": rss_queries,
        "lost": samples - found, "lost_after_restart": samples - again,
    }, answers, {key: sent[key] for key in ("method", "corpus", "machine", "sent_bytes_per_sample",
                                            "generator_ns_per_sample")}


def shown(value, figure):
    if value is None:
        return "–"
    if "bytes" in figure:
        return f"{value:.2f}"
    return f"{value:,.1f}" if figure.endswith(("_ms", "_cpu_s", "_as_loaded")) and value < 1000 else f"{value:,.0f}"


def table(rounds):
    """A row for each figure, a column for each store: the median of its rounds, of what was lost the sum."""
    lines = ["| | " + " | ".join(f"`{name}`" for name in rounds) + " |", "|---|" + "--:|" * len(rounds)]
    for figure in next(iter(rounds.values()))[0]:
        cells = []
        for figures in rounds.values():
            counted = [one[figure] for one in figures if one[figure] is not None]
            middle = sum if figure.startswith(("lost", "refused")) else statistics.median
            cells.append(shown(middle(counted) if counted else None, figure))
        lines.append(f"| {figure} | " + " | ".join(cells) + " |")
    for what in ("acknowledges", "rest"):
        words = {"acknowledges": "an acknowledgement means", "rest": "brought to rest by"}[what]
        lines.append(f"| {words} | " + " | ".join(getattr(STORES[name], what) for name in rounds) + " |")
    return "\n".join(lines)


def compared(answers):
    """What each store answered beside Prometheus, or beside the first where that is not there."""
    beside = "prometheus" if "prometheus" in answers else next(iter(answers))
    return {name: {query: difference(answer, answers[beside][query]) for query, answer in own.items()}
            for name, own in answers.items() if name != beside}, beside


def keep(options, rounds, answers, generator):
    """Writes all figures there are to the file; answers beside whose answers they stand, and how far apart."""
    apart, beside = compared(answers)
    result = {
        "machine": {"cores": os.cpu_count(), "kernel": platform.release(), "load_1min": os.getloadavg()[0]},
        "method": {"targets": options.targets, "seconds": options.seconds, "step_s": options.step,
                   "connections": options.connections, "queries": options.queries, "query_step_s": QUERY_STEP_S,
                   "query_seconds": QUERY_S, "asked": QUERIES, "until_s": options.until},
        "acknowledges": {name: STORES[name].acknowledges for name in rounds},
        "rest": {name: STORES[name].rest for name in rounds},
        "generator": generator, "rounds": rounds, "answers_beside": beside, "answers": apart,
    }
    (options.json or options.work / "results.json").write_text(json.dumps(result, indent=2) + "\n")
    return beside, apart


def arguments():
    parser = argparse.ArgumentParser(prog="benches/metrics/run", description=__doc__.split("\n")[0])
    parser.add_argument("--systems", default=",".join(STORES))
    parser.add_argument("--targets", type=int, default=10, help="1000 series each")
    parser.add_argument("--seconds", type=int, default=QUERY_S + LEAD_S)
    parser.add_argument("--step", type=int, default=15, help="seconds between two samples of a series")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--queries", type=int, default=20, help="of each kind, twice")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--homeostat", type=Path, default=ROOT / "target/release/homeostat")
    parser.add_argument("--work", type=Path, default=ROOT / "target/bench-metrics")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.systems = [name for name in options.systems.split(",") if name]
    unknown = set(options.systems) - STORES.keys()
    if unknown:
        parser.error(f"no system is called {', '.join(sorted(unknown))}: {', '.join(STORES)} are")
    options.work, options.homeostat = options.work.resolve(), options.homeostat.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    # The last full minute: every store gets the same samples of the same times.
    options.until = int(time.time()) // 60 * 60
    return options


def main():
    options = arguments()
    # So that what was started is ended also where this is cut off.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    names = []
    for name in options.systems:
        why = STORES[name].missing(options)
        if why:
            say(f"skipped: {name}: {why}")
        else:
            names.append(name)
    if not names:
        raise SystemExit("there is nothing to measure")
    rounds, answers, generator = {name: [] for name in names}, {}, {}
    for number in range(options.rounds):
        # Each round starts with another system, so that a slow minute does not always meet the same one.
        for name in names[number % len(names):] + names[:number % len(names)]:
            say(f"round {number + 1} of {options.rounds}: {name}")
            figures, answers[name], generator[name] = measure(options, STORES[name](options))
            rounds[name].append(figures)
            # After each, so that a run that is cut off leaves what it had.
            beside, apart = keep(options, rounds, answers, generator)
    print(table(rounds))
    print(f"\n| answers beside {beside}'s | points | only one has | median apart | most apart |\n|---|--:|--:|--:|--:|")
    for name, queries in apart.items():
        for query, one in queries.items():
            far = ["–" if one[key] is None else f"{one[key]:.1e}" for key in ("median", "most")]
            print(f"| `{name}`: {query} | {one['points']} | {one['only_one_has']} | {far[0]} | {far[1]} |")
    lost = sum(one["lost"] + one["lost_after_restart"] for figures in rounds.values() for one in figures)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
