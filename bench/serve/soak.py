"""Sends `dsa serve` many requests of mixed kinds, some from clients that vanish or send garbage.
Checks that every answer is right and that nothing is left of any of them.

With --streams: keeps that many streams open at once and measures how evenly their tokens come.
Either way one table, and exit code 1 where something is not as wanted. See README.md; started by
`soak`.
"""
import argparse
import collections
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time

import client
import streams
import trouble
from mix import Answer, Mix, Request
from program import Server, long_model

PHASES = (0.1, 0.45, 0.45)  # shares of the requests; what is there after the first may remain
N_PROBES = 8
PROBE_EVERY = 50
IDLE_SECONDS = 120
READ_TIMEOUT = 5  # seconds; some garbage is a request that never ends
SAMPLES = 10  # of open files; one that is being closed, or a page being written, is in few of them
LEFT_OVER = {  # metrics that are 0 when nothing runs
    "active requests": "dsa_requests_active", "streams": "dsa_http_streams_open",
    "sequences running": "dsa_sequences_running", "sequences waiting": "dsa_sequences_waiting",
    "bytes to be written": "dsa_disk_pending_bytes"}


@dataclasses.dataclass
class Row:
    """A line of the table."""

    what: str
    found: object
    wanted: str
    good: bool = True


def table(rows: list[Row]) -> str:
    lines = ["| what | found | wanted | |", "|---|---:|---|---|"]
    lines += [f"| {row.what} | {row.found} | {row.wanted} | {'ok' if row.good else '**FAILED**'} |"
              for row in rows]
    return "\n".join(lines)


def ask(address, request: Request) -> Answer:
    """ValueError where the answer is not right."""
    answer = Answer()
    with client.post(address, request.path, request.body) as response:
        if response.status != request.status:
            raise ValueError(f"{response.status}: {response.read(300)!r}")
        if request.body.get("stream"):
            for event in client.events(response):
                answer.add(event)
        else:
            answer.add(json.loads(response.read()))
    if not request.check(answer):
        raise ValueError(f"not a right answer to {request.body}: {answer}")
    return answer


class Soak:
    """One run against one server."""

    def __init__(self, server: Server, mix: Mix, options: argparse.Namespace) -> None:
        self.server, self.mix, self.options = server, mix, options
        self.lock = threading.Lock()
        self.seconds = collections.defaultdict(list)  # by kind
        self.failures: list[tuple[str, str]] = []  # kind, message
        self.wanted: list[dict] = []  # choices of the probes, asked alone

    def one(self, number: int) -> None:
        """One request of the many. Its kind and fate depend on the seed and its number alone."""
        rng = random.Random(self.options.seed * 1_000_003 + number)
        request = self.mix.draw(rng)
        kind, before = request.kind, time.monotonic()
        try:
            fate = rng.random()
            if number % PROBE_EVERY == 0:
                kind = "greedy request again"
                self.probe(number // PROBE_EVERY % N_PROBES)
            elif fate < self.options.garbage:
                kind = "garbage"
                kind = "garbage: " + trouble.send_garbage(self.server.address, rng)
            elif fate < self.options.garbage + self.options.vanish:
                kind = "vanishing"
                kind = "vanishing " + trouble.vanish(self.server.address, request, rng)
            else:
                ask(self.server.address, request)
        except Exception as error:  # whatever it is, it is reported
            with self.lock:
                self.failures.append((kind, f"request {number}: {type(error).__name__}: {error}"))
        with self.lock:
            self.seconds[kind].append(time.monotonic() - before)

    def probe(self, number: int) -> None:
        found = ask(self.server.address, self.mix.probe(number)).choices
        if found != self.wanted[number]:
            raise ValueError(f"greedy request {number} gave {found}, before {self.wanted[number]}")

    def probe_alone(self) -> None:
        """Every greedy request, with nothing else running."""
        for number in range(N_PROBES):
            before = time.monotonic()
            try:
                self.probe(number)
            except Exception as error:
                self.failures.append(("greedy request alone", str(error)))
            self.seconds["greedy request alone"].append(time.monotonic() - before)

    def left_over(self) -> dict[str, int]:
        """What of the server's own counts is not as in a server that does nothing."""
        metrics = self.server.metrics()
        left = {name: int(metrics[metric]) for name, metric in LEFT_OVER.items()}
        left["connections"] = int(metrics["dsa_http_connections_open"]) - 1  # that which asks
        left["pages"] = int(metrics["dsa_pages"] - metrics["dsa_pages_free"] -
                            metrics["dsa_pages_evictable"])
        return left

    def wait_idle(self) -> dict[str, int]:
        """What is left once nothing is, or after a long time."""
        end = time.monotonic() + IDLE_SECONDS
        while any((left := self.left_over()).values()) and time.monotonic() < end:
            time.sleep(0.1)
        return left

    def resources(self) -> dict[str, int]:
        samples = []
        for _ in range(SAMPLES):
            samples.append(self.server.resources())
            time.sleep(0.02)
        return {name: min(sample[name] for sample in samples) for name in samples[0]}

    def run(self) -> list[Row]:
        self.wanted = [ask(self.server.address, self.mix.probe(i)).choices for i in range(N_PROBES)]
        states = []
        first = 1
        with concurrent.futures.ThreadPoolExecutor(self.options.clients) as pool:
            for share in PHASES:
                n = max(1, round(share * self.options.requests))
                list(pool.map(self.one, range(first, first + n)))
                first += n
                left = self.wait_idle()
                states.append({**self.resources(), "left": left})
                self.probe_alone()
                print(f"{first - 1} requests: {states[-1]}", file=sys.stderr)
        return self.answer_rows() + self.state_rows(states)

    def answer_rows(self) -> list[Row]:
        rows = []
        for kind, seconds in sorted(self.seconds.items()):
            n_bad = sum(failed == kind for failed, _ in self.failures)
            p50, p95 = (1e3 * client.percentile(seconds, share) for share in (0.5, 0.95))
            rows.append(Row(f"{kind}: requests, wrong, p50 / p95",
                            f"{len(seconds)}, {n_bad}, {p50:.0f} / {p95:.0f} ms", "0 wrong",
                            n_bad == 0))
        return rows

    def state_rows(self, states: list[dict]) -> list[Row]:
        warm, end = states[0], states[-1]
        rows = [Row(f"{name} left", n, "0", n == 0) for name, n in end["left"].items()]
        rows += [Row(name, end[name], f"{warm[name]}, as after the first tenth",
                     end[name] <= warm[name]) for name in ("files", "threads")]
        memory = " → ".join(f"{state['own'] / 1024:.1f}" for state in states)
        allowed = self.options.memory_mb
        grown = (end["own"] - warm["own"]) / 1024
        rows.append(Row("private memory, MiB", memory, f"at most {allowed:g} more at the end",
                        allowed == 0 or grown <= allowed))
        metrics = self.server.metrics()
        for name, metric in (("disconnected clients noticed", "dsa_http_clients_vanished_total"),
                             ("prompt tokens from the cache", "dsa_prompt_cache_hit_tokens_total"),
                             ("preemptions", "dsa_preemptions_total"),
                             ("pages evicted", "dsa_evictions_total"),
                             ("pages written to disk", "dsa_disk_writes_total"),
                             ("pages read from disk", "dsa_disk_hits_total")):
            rows.append(Row(name, int(metrics[metric]), ""))
        errors, size = metrics["dsa_disk_errors_total"], metrics["dsa_disk_bytes"] / 2**20
        rows.append(Row("errors of the disk cache", int(errors), "0", errors == 0))
        most = self.options.disk_cache_mb
        rows.append(Row("disk cache, MiB", f"{size:.1f}", f"at most {most}", size <= most))
        return rows


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/serve/soak", description=__doc__)
    parser.add_argument("--program", default="build/release/bin/dsa")
    parser.add_argument("--model", default="tests/checkpoints/baby-v32")
    parser.add_argument("--text", default="tests/checkpoints/baby-v32/heldout.txt", help="for prompts")
    parser.add_argument("--requests", type=int, default=10000, help="default: %(default)s")
    parser.add_argument("--clients", type=int, default=24, help="at a time (default: %(default)s)")
    parser.add_argument("--vanish", type=float, default=0.05, help="share (default: %(default)s)")
    parser.add_argument("--garbage", type=float, default=0.01, help="share (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--memory-mb", type=float, default=4, help="by which the server's own "
                        "memory may grow after a tenth; 0: any (default: %(default)s)")
    parser.add_argument("--positions", type=int, default=2048, help="of the model")
    parser.add_argument("--cache-tokens", type=int, default=2048, help="default: %(default)s")
    parser.add_argument("--disk-cache-mb", type=int, default=12, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the server")
    parser.add_argument("--max-step-ms", type=float, default=200, help="default: %(default)s")
    parser.add_argument("--streams", type=int, default=0, help="measure that many open streams")
    parser.add_argument("--stream-tokens", type=int, default=128, help="default: %(default)s")
    return parser.parse_args()


def soak(options: argparse.Namespace, folder: pathlib.Path, model: pathlib.Path) -> list[Row]:
    text = pathlib.Path(options.text).read_text()
    disk = folder / "disk"
    arguments = ["--cache-tokens", options.cache_tokens, "--disk-cache", disk,
                 "--disk-cache-mb", options.disk_cache_mb, "--max-step-ms", options.max_step_ms,
                 "--read-timeout", READ_TIMEOUT, "-t", options.threads]
    begin = time.monotonic()
    with Server(options.program, model, [str(a) for a in arguments]) as server:
        run = Soak(server, Mix(text, options.positions), options)
        rows = run.run()
        code = server.stop()
        rows.append(Row("exit code after SIGTERM", code, "0", code == 0))
    checked = subprocess.run([options.program, "cache", "verify", str(disk)], capture_output=True)
    rows.append(Row("exit code of dsa cache verify", checked.returncode, "0",
                    checked.returncode == 0))
    seconds = time.monotonic() - begin
    n_requests = sum(len(s) for kind, s in run.seconds.items() if kind != "greedy request alone")
    rows.insert(0, Row("requests", f"{n_requests} in {seconds:.0f} s", ""))
    for kind, message in run.failures[:20]:
        print(f"{kind}: {message}", file=sys.stderr)
    return rows


def main() -> int:
    options = parse_options()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model = long_model(pathlib.Path(options.model), folder, options.positions)
        if options.streams:
            rows = [Row(*row) for row in streams.measure(options, model)]
        else:
            rows = soak(options, folder, model)
    print(table(rows))
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
