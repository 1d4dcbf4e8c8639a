#!/usr/bin/env python3
"""Brings up the trace stores that ours is compared with, on ports of 127.0.0.1 of one's choosing.

    benches/ingest/peers/build
    benches/ingest/peers/peers.py jaeger --directory DIR [--grpc 14317] [--http 14318] [--query 14686] [--ui DIR]
    benches/ingest/peers/peers.py --list

As a program it runs one of them in the foreground until it is told to end; benches/ingest/measure.py and the scripts in
suites/ use it as a module. Out: nothing but a line when it is ready; each peer's own log is DIR/log.

Each is configured once as durable as it can be and once as its own documentation starts it; `acknowledges` says what
its answer to an export request means then. Deliberately absent: tuning beyond that, and any other back end of theirs.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

BINARIES = Path(__file__).resolve().parents[3] / "target/peers"
# A start on two busy cores takes a few seconds; an end has spans in memory to write first.
READY_S, END_S = 60.0, 60.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Ports:
    grpc: int = 14317
    http: int = 14318
    query: int = 14686

    def url(self, port):
        return f"http://127.0.0.1:{port}"


def children(pid):
    try:
        return [int(child) for task in Path(f"/proc/{pid}/task").iterdir()
                for child in (task / "children").read_text().split()]
    except OSError:
        return []


def cpu_seconds(pid):
    """User and system time of a process, of those it has waited for, and of its living descendants."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS + sum(cpu_seconds(child) for child in children(pid))


def rss_peak_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def disk_bytes(directory):
    """What a directory takes on the disk: allocated blocks, so that a file written in advance counts what it holds."""
    return sum(entry.stat().st_blocks * 512 for entry in Path(directory).rglob("*") if entry.is_file())


def listening(port):
    with socket.socket() as attempt:
        attempt.settimeout(0.5)
        return attempt.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Server:
    """A trace store that runs: where it listens, its process and where its data is."""

    name: str
    acknowledges: str
    ports: Ports
    directory: Path
    process: subprocess.Popen = field(default=None, repr=False)

    @property
    def data(self):
        return self.directory / "data"

    def start(self, command, environment=None):
        taken = [port for port in vars(self.ports).values() if listening(port)]
        if taken:
            raise SystemExit(f"{self.name}: something else listens on {taken} of 127.0.0.1: choose other ports")
        log = (self.directory / "log").open("w")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory,
                                        env=dict(os.environ, **(environment or {})))
        deadline = time.monotonic() + READY_S
        while not all(map(listening, self.awaited())):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                tail = "\n".join((self.directory / "log").read_text().splitlines()[-15:])
                raise SystemExit(f"{self.name} did not come up (status {self.process.poll()}):\n{tail}")
            time.sleep(0.05)

    def awaited(self):
        return [self.ports.grpc, self.ports.http]

    def cpu_seconds(self):
        return cpu_seconds(self.process.pid)

    def rss_peak_mib(self):
        return rss_peak_mib(self.process.pid)

    def stop(self):
        """Ends it as an operator would, so that what it still holds in memory is written; by force if that hangs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def spans_on_disk(self):
        """Counted in the files by the store's own code, after its end; `None` where there is no way to."""
        return None


RECEIVER = """
receivers:
  otlp:
    protocols:
      grpc: {{ endpoint: "127.0.0.1:{grpc}", max_recv_msg_size_mib: 64 }}
      http: {{ endpoint: "127.0.0.1:{http}" }}
"""


class Collector(Server):
    CONFIGURATION = RECEIVER + """
processors: {{ batch: }}
exporters:
  file: {{ path: "{data}/traces", format: proto, {writing} }}
service:
  pipelines:
    traces: {{ receivers: [otlp], processors: [{processors}], exporters: [file] }}
  telemetry: {{ metrics: {{ level: none }}, logs: {{ level: warn }} }}
"""
    # With `rotation` the exporter writes each request to the file itself instead of to a buffer of its own. The size is
    # one that no run reaches.
    WRITTEN = ("", "rotation: { max_megabytes: 1000000 }")
    BATCHED = ("batch", "flush_interval: 1s")

    def begin(self, processors, writing):
        self.data.mkdir(parents=True)
        configuration = self.directory / "configuration.yaml"
        configuration.write_text(self.CONFIGURATION.format(
            **vars(self.ports), data=self.data, processors=processors, writing=writing))
        self.start([str(BINARIES / "collector"), "--config", f"file:{configuration}"])

    def spans_on_disk(self):
        return int(subprocess.check_output([BINARIES / "collector-count", self.data / "traces"]))


class Jaeger(Server):
    CONFIGURATION = RECEIVER + """
processors: {{ batch: }}
exporters: {{ jaeger_storage_exporter: {{ trace_storage: spans }} }}
extensions:
  jaeger_storage:
    backends:
      spans:
        {store}
  jaeger_query:
    storage: {{ traces: spans }}
    ui: {{ {ui} }}
    http: {{ endpoint: "127.0.0.1:{query}" }}
    grpc: {{ endpoint: "127.0.0.1:0" }}
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{ receivers: [otlp], processors: [{processors}], exporters: [jaeger_storage_exporter] }}
  telemetry: {{ metrics: {{ level: none }}, logs: {{ level: warn }} }}
"""

    def awaited(self):
        return [*super().awaited(), self.ports.query]

    def begin(self, processors, store, ui=None):
        self.data.mkdir(parents=True)
        configuration = self.directory / "configuration.yaml"
        configuration.write_text(self.CONFIGURATION.format(
            **vars(self.ports), processors=processors, ui=f'assets_path: "{ui}"' if ui else "",
            store=store.format(data=self.data)))
        self.start([str(BINARIES / "jaeger"), "--config", f"file:{configuration}"])

    def spans_on_disk(self):
        return int(subprocess.check_output([BINARIES / "jaeger-count", self.data]))


def badger(consistency):
    return ("badger: {{ directories: {{ keys: \"{data}\", values: \"{data}\" }}, ephemeral: false, consistency: %s, "
            "ttl: {{ spans: 48h }} }}" % consistency)


@dataclass
class Kind:
    server: type
    binary: str
    arguments: tuple
    acknowledges: str


KINDS = {
    "collector": Kind(
        Collector, "collector", Collector.WRITTEN,
        "written to the file, not synced: survives the end of the process, not of the machine"),
    "collector_batched": Kind(
        Collector, "collector", Collector.BATCHED,
        "in memory: a batch (0.2 s) and a write buffer (1 s) are lost with the process"),
    "jaeger_synced": Kind(
        Jaeger, "jaeger", ("", badger("true")),
        "every span committed to Badger by itself and synced"),
    "jaeger": Kind(
        Jaeger, "jaeger", ("", badger("false")),
        "committed to Badger, not synced: survives the end of the process, not of the machine"),
    "jaeger_batched": Kind(
        Jaeger, "jaeger", ("batch", badger("false")),
        "in memory: a batch (0.2 s) is lost with the process; what it refuses later is not told to the sender"),
    "jaeger_memory": Kind(
        Jaeger, "jaeger", ("", "memory: {{ max_traces: 100000 }}"),
        "in memory only: for comparing answers, not for measuring"),
}


def start(name, directory, ports=None, **options):
    """Starts one in an empty directory of its own and returns it once it listens."""
    kind = KINDS[name]
    if not os.access(BINARIES / kind.binary, os.X_OK):
        raise SystemExit(f"there is no {BINARIES / kind.binary}: run benches/ingest/peers/build {kind.binary}")
    directory = Path(directory).resolve()
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    server = kind.server(name, kind.acknowledges, ports or Ports(), directory)
    server.begin(*kind.arguments, **options)
    return server


def main():
    parser = argparse.ArgumentParser(description="Runs one of the peers until it is told to end.")
    parser.add_argument("name", nargs="?", choices=KINDS)
    parser.add_argument("--list", action="store_true", help="what there is and what its acknowledgements mean")
    parser.add_argument("--directory", help="emptied first; its data, log and configuration")
    for name, default in vars(Ports()).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--ui", help="a built Jaeger UI that Jaeger is to serve")
    options = parser.parse_args()
    if options.list:
        for name, kind in KINDS.items():
            print(f"{name:18} {kind.acknowledges}")
        return
    if not options.name or not options.directory:
        parser.error("name a peer and its --directory, or --list")
    # Both ways of ending it end here, so that what it started does not stay behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    more = {"ui": str(Path(options.ui).resolve())} if options.ui else {}
    server = start(options.name, options.directory, Ports(options.grpc, options.http, options.query), **more)
    print(json.dumps({"ready": options.name, "pid": server.process.pid, **vars(server.ports)}), flush=True)
    try:
        server.process.wait()
        raise SystemExit(f"{options.name} ended by itself (status {server.process.returncode}): {server.directory}/log")
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()


if __name__ == "__main__":
    main()
