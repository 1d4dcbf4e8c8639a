"""Kills the same child under several supervisors in one interleaved schedule and measures kill to exec.

In: the paths of the supervisors (RUNSV, SUPERVISORD, HOMEOSTAT) and of the child. Out: a Markdown table on stdout, all
figures as JSON in a file, progress on stderr. The figure is the child's own CLOCK_BOOTTIME at the start of main minus
the same clock just before kill(2); how fast this script notices does not enter it.

Deliberately absent: averages, and any kill left out of the figures. A child that does not come back ends the run.
"""

import argparse
import json
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

# A child that stays away longer than this is not coming back; supervisord needs about a second.
PATIENCE_S = 30.0


def boot_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class System:
    """One supervisor with one child. A subclass says how it is started and stopped."""

    def __init__(self, directory, child):
        self.directory = directory
        self.child = child
        self.stamps = directory / "stamps"
        self.environment = dict(os.environ, STAMP_FILE=str(self.stamps))
        self.process = None
        self.seen = 0
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)

    def spawn(self, *command):
        log = open(self.directory / "log", "ab")
        self.process = subprocess.Popen(
            [str(part) for part in command],
            env=self.environment, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )

    def next_stamp(self):
        """When the next child was executed, and its process id. Waits for it."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            lines = self.stamps.read_text().splitlines(keepends=True) if self.stamps.exists() else []
            if len(lines) > self.seen and lines[self.seen].endswith("\n"):
                executed, pid = lines[self.seen].split()
                self.seen += 1
                return int(executed), int(pid)
            time.sleep(0.005)
        raise SystemExit(f"{self.name}: no child within {PATIENCE_S:.0f} s; see {self.directory / 'log'}")

    def begin(self):
        self.start()
        _, self.pid = self.next_stamp()

    def kill(self):
        """Kills the child. Its successor is looked for later, so that waiting for one delays no other."""
        if os.readlink(f"/proc/{self.pid}/exe") != str(self.child):
            raise SystemExit(f"{self.name}: process {self.pid} is not the child any more")
        self.killed = boot_ns()
        os.kill(self.pid, signal.SIGKILL)

    def collect(self):
        """Milliseconds from the last kill until the successor was executed."""
        executed, self.pid = self.next_stamp()
        return (executed - self.killed) / 1e6

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=20)


class Runit(System):
    """runsv with a run script, as its manual shows it."""

    name = "runit"

    def start(self):
        self.write_run(self.directory / "run")
        self.spawn(os.environ["RUNSV"], self.directory)

    def write_run(self, run):
        run.write_text(f"#!/bin/sh\nexec {self.child}\n")
        run.chmod(0o755)

    @staticmethod
    def version():
        return os.environ["RUNIT_VERSION"]


class RunitDirect(Runit):
    """runsv that executes the child itself, without a shell: the least it can take."""

    name = "runit_direct"

    def write_run(self, run):
        run.symlink_to(self.child)


class Supervisord(System):
    """supervisord in the foreground. startsecs=0, so that a child killed early never counts as failed to start."""

    name = "supervisord"

    def start(self):
        (self.directory / "supervisord.conf").write_text(
            "[supervisord]\nnodaemon=true\n"
            f"logfile={self.directory}/supervisord.log\npidfile={self.directory}/pid\n"
            f"[program:child]\ncommand={self.child}\nautorestart=true\nstartsecs=0\n"
            f"environment=STAMP_FILE=\"{self.stamps}\"\n"
        )
        self.spawn(os.environ["SUPERVISORD"], "-c", self.directory / "supervisord.conf")

    @staticmethod
    def version():
        return subprocess.run(
            [os.environ["SUPERVISORD"], "--version"], capture_output=True, text=True, check=True
        ).stdout.strip()


class Homeostat(System):
    """`homeostat up`: control plane, keeper and the child. settled=500ms, so that kills 2 s apart are no crash loop."""

    name = "homeostat"

    def start(self):
        (self.directory / "child.yaml").write_text(
            "name: restart-bench\nservices:\n  child:\n"
            f"    command: [{json.dumps(str(self.child))}]\n"
            f"    environment: {{ STAMP_FILE: {json.dumps(str(self.stamps))} }}\n"
            "    restart: { settled: 500ms }\n"
        )
        self.spawn(os.environ["HOMEOSTAT"], "up", self.directory / "child.yaml", "--dir", self.directory / "data")

    def end(self):
        subprocess.run(
            [os.environ["HOMEOSTAT"], "down", "--dir", str(self.directory / "data")],
            stdout=subprocess.DEVNULL, timeout=60, check=True,
        )
        super().end()

    @staticmethod
    def version():
        return subprocess.run(
            [os.environ["HOMEOSTAT"], "--version"], capture_output=True, text=True, check=True
        ).stdout.strip()


SYSTEMS = {system.name: system for system in (Homeostat, Runit, RunitDirect, Supervisord)}


def quantile(values, q):
    """Nearest rank: always a value that was measured."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def summary(rounds):
    every = [value for one in rounds for value in one]
    return {
        "kills": len(every),
        "p50_ms": quantile(every, 0.50),
        "p95_ms": quantile(every, 0.95),
        "max_ms": max(every),
        "p50_ms_by_round": [quantile(one, 0.50) for one in rounds],
    }


def measure(systems, options):
    """The schedule: every `spacing` seconds each system's child is killed once, spread over the interval.

    Within a round every system keeps its place, so that its kills are `spacing` apart; the places move on with every
    round, so that none always follows the same neighbour.
    """
    measured = {system.name: [] for system in systems}
    share = options.spacing / len(systems)
    for number in range(options.rounds):
        turn = number % len(systems)
        order = systems[turn:] + systems[:turn]
        values = {system.name: [] for system in systems}
        due = time.monotonic()
        for kill in range(options.kills):
            for system in order:
                time.sleep(max(0.0, due - time.monotonic()))
                if kill > 0:
                    values[system.name].append(system.collect())
                system.kill()
                due += share
        for system in order:
            values[system.name].append(system.collect())
        for name, one in values.items():
            measured[name].append(one)
        medians = ", ".join(f"{name} {quantile(one, 0.5):.2f} ms" for name, one in values.items())
        print(f"round {number + 1} of {options.rounds}: median {medians}", file=sys.stderr)
        # The next round's order may bring a system forward; its kills stay at least `spacing` apart.
        time.sleep(options.spacing)
    return measured


def machine():
    model = next(
        (line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "load_1min_before": os.getloadavg()[0],
    }


def table(result):
    lines = ["| system | kills | p50 | p95 | max | p50 of each round |", "|---|---:|---:|---:|---:|---|"]
    for name, one in result["systems"].items():
        rounds = ", ".join(f"{value:.2f}" for value in one["p50_ms_by_round"])
        lines.append(
            f"| {name} | {one['kills']} | {one['p50_ms']:.2f} ms | {one['p95_ms']:.2f} ms "
            f"| {one['max_ms']:.2f} ms | {rounds} |"
        )
    return "\n".join(lines)


def arguments():
    parser = argparse.ArgumentParser(description="kill to exec under several supervisors")
    parser.add_argument("--child", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="comma-separated, of " + ", ".join(SYSTEMS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=100, help="of each system in each round")
    parser.add_argument("--spacing", type=float, default=2.0, help="seconds between two kills of one system")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 10 kills")
    parser.add_argument("--json", type=Path, help="default: results.json in the work directory")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.kills = 2, 10
    unknown = set(options.systems.split(",")) - set(SYSTEMS)
    if unknown:
        parser.error(f"no such system: {', '.join(sorted(unknown))}; there are {', '.join(SYSTEMS)}")
    return options


def main():
    options = arguments()
    names = options.systems.split(",")
    if Homeostat.name in names and not os.access(os.environ["HOMEOSTAT"], os.X_OK):
        raise SystemExit(f"there is no {os.environ['HOMEOSTAT']}; run `cargo build --release`, or leave it out by --systems")
    result = {
        "machine": machine(),
        "schedule": {"rounds": options.rounds, "kills": options.kills, "spacing_s": options.spacing},
        "versions": {name: SYSTEMS[name].version() for name in names},
    }
    systems = [SYSTEMS[name](options.work / "systems" / name, options.child.resolve()) for name in names]
    started = []
    try:
        for system in systems:
            started.append(system)
            system.begin()
        # The longest of the supervisors' own start-up periods: runsv holds back what ran for less than a second.
        time.sleep(2.0)
        measured = measure(systems, options)
    finally:
        for system in started:
            system.end()
    result["systems"] = {name: summary(rounds) for name, rounds in measured.items()}
    result["kill_to_exec_ms"] = measured
    path = options.json or options.work / "results.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))
    print(f"written: {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
