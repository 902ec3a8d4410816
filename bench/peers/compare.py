"""Measures dsa.cpp and its peers in interleaved rounds; see README.md. Started by `run`."""

import argparse
import dataclasses
import functools
import json
import os
import pathlib
import platform
import subprocess
import sys

import own_peer
import report
from common import BASE_CONTEXT, Key, Sample, Settings, Step

HERE = pathlib.Path(__file__).parent
BUSY = 0.5  # load average
MODULES = {"pytorch": "torch_peer", "llama.cpp": "llama_peer"}


class Worker:
    """A peer in a process of its own (worker.py), so that no peer's threads disturb another's."""

    def __init__(self, module: str, settings: Settings) -> None:
        command = [sys.executable, str(HERE / "worker.py"), module]
        command.append(json.dumps(dataclasses.asdict(settings)))
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1)
        ready = self.answer()
        self.about = ready["about"]
        self.steps = [
            Step(phase, context, functools.partial(self.measure, i))
            for i, (phase, context) in enumerate(ready["steps"])
        ]

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args[2]} ended: its message stands above")
        return json.loads(line)

    def measure(self, step: int) -> list[Sample]:
        print(step, file=self.process.stdin)
        return [Sample(Key(**key), ms) for key, ms in self.answer()]

    def close(self) -> None:
        self.process.communicate()


def contexts(text: str) -> tuple[int, ...]:
    values = tuple(int(value) for value in text.split(",") if value)
    if any(value <= BASE_CONTEXT for value in values):
        raise argparse.ArgumentTypeError(f"contexts must exceed {BASE_CONTEXT}")
    return values


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/peers/run", description=__doc__)
    parser.add_argument("--peers", default="pytorch,llama.cpp", help="which (default: %(default)s)")
    parser.add_argument(
        "--decode",
        type=contexts,
        default="4096,32768,131072",
        metavar="N,...",
        help="contexts of one-token steps (default: %(default)s)",
    )
    parser.add_argument(
        "--prefill",
        type=contexts,
        default="4096,131072",
        metavar="N,...",
        help="contexts of blocks of tokens (default: %(default)s)",
    )
    parser.add_argument("--block", type=int, default=32, help="tokens of a prefill block")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="least time of one sample")
    parser.add_argument("--program", default="build/release/bin/dsa", help="our program")
    parser.add_argument("--ours", metavar="FILE", help="our results of an earlier run instead")
    parser.add_argument("--report", metavar="FILE", help="write machine and ratios there too")
    parser.add_argument("--work", default="build/peers", help="folder for all that is written")
    return parser.parse_args()


def our_side(options: argparse.Namespace, settings: Settings) -> tuple[list[Step], object]:
    """What measures dsa.cpp, and what it says about the machine."""
    if options.ours:
        return own_peer.file_steps(options.ours), own_peer.machine_of_file(options.ours)
    if own_peer.can_bench(options.program):
        machine = own_peer.machine_of_program(options.program, settings)
        return own_peer.program_steps(options.program, settings), machine
    print(f"{options.program} has no `bench attention`: peers alone", file=sys.stderr)
    return [], None


def measure_rounds(steps: list[Step], n_rounds: int) -> list[list[Sample]]:
    """Round after round of everything; what is compared with each other runs back to back."""
    ordered = sorted(steps, key=lambda step: (step.phase, step.context))
    rounds = []
    for i in range(n_rounds):
        print(f"round {i + 1} of {n_rounds}", file=sys.stderr)
        rounds.append([sample for step in ordered for sample in step.measure()])
    return rounds


def cpu_name() -> str:
    with open("/proc/cpuinfo") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    options = parse_options()
    settings = Settings(
        options.threads,
        options.decode,
        options.prefill,
        options.block,
        os.path.abspath(options.work),
        options.seconds,
    )
    ours, our_machine = our_side(options, settings)
    load = os.getloadavg()[0]
    if load > BUSY:
        print(
            f"warning: load {load:.1f}; peers' threads wait for each other by spinning, so",
            file=sys.stderr,
        )
        print(
            "their times on a busy machine are several times those on an idle one", file=sys.stderr
        )
    workers = [Worker(MODULES[name], settings) for name in options.peers.split(",")]
    steps = [*ours, *(step for worker in workers for step in worker.steps)]
    rounds = measure_rounds(steps, options.rounds)
    for worker in workers:
        worker.close()

    machine = {
        "cpu": cpu_name(),
        "threads": options.threads,
        "load_before": load,
        "dsa.cpp": our_machine,
        "peers": [worker.about for worker in workers],
    }
    rows = report.rows(rounds)
    document = {
        "machine": machine,
        "settings": dataclasses.asdict(settings),
        "ratios": [dataclasses.asdict(row) for row in rows],
        "samples": [[dataclasses.asdict(s) for s in samples] for samples in rounds],
    }
    path = pathlib.Path(options.work) / "results.json"
    path.write_text(json.dumps(document, indent=1))
    if options.report:
        summary = {"machine": machine, "ratios": document["ratios"]}
        pathlib.Path(options.report).write_text(json.dumps(summary, indent=1) + "\n")
    print(f"{machine['cpu']}, {options.threads} threads, load before {load:.1f}")
    print("\n".join(machine["peers"]))
    print(f"{options.rounds} rounds; ms per token and layer: median (lowest-highest)\n")
    print(report.table(rows))
    print(f"\nall samples: {path}", file=sys.stderr)


main()
