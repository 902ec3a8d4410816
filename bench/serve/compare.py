"""Offers servers growing load: `dsa serve` with its caches and without, and llama.cpp's server.

See README.md. Started by `run`.
"""
import argparse
import contextlib
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import load as loads
from program import Server, long_model, text_ids

OWN = ["memory and disk", "no cache"]
PEER = "llama.cpp"
HERE = pathlib.Path(__file__).parent


class PeerServer:
    """llama.cpp's server on the same checkpoint, until the end of the `with`."""

    def __init__(self, python: str, gguf: pathlib.Path, arguments: list[str]) -> None:
        command = [python, str(HERE / "llama_server.py"), str(gguf), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                        text=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("llama.cpp's server did not start: " + " ".join(command))
        self.address = ("127.0.0.1", int(json.loads(line)["url"].rsplit(":", 1)[1]), None)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait(60)


class Bench:
    """The model, its text, and the servers that can be started on it."""

    def __init__(self, options: argparse.Namespace, folder: pathlib.Path) -> None:
        self.options, self.folder = options, folder
        longest = max([options.longest, *options.lengths])
        self.model = long_model(pathlib.Path(options.model), folder, 2 * longest + 1024)
        self.text = text_ids(options.program, self.model, pathlib.Path(options.text))
        self.gguf = folder / "model.gguf"
        self.peer_version = ""
        if options.peer:
            subprocess.run([options.peer, HERE / "gguf_of_checkpoint.py", self.model, self.gguf],
                           check=True)
            self.peer_version = "xllamacpp " + subprocess.run(
                [options.peer, "-c", "import xllamacpp; print(xllamacpp.__version__)"],
                check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def start(self, name: str, tokens: int):
        if name == PEER:
            return PeerServer(self.options.peer, self.gguf, [
                "--context", str(tokens), "--slots", "16", "--threads", str(os.cpu_count())])
        arguments = ["--cache-tokens", str(tokens), "-t", str(os.cpu_count()),
                     "--max-step-ms", f"{self.options.max_step_ms:g}"]
        if name == "no cache":
            arguments.append("--no-prefix-cache")
        if name == "memory and disk":
            arguments += ["--disk-cache", str(self.folder / "disk")]
        return Server(self.options.program, self.model, arguments)

    def document(self, n: int, seed: int) -> list[int]:
        begin = random.Random(seed).randrange(len(self.text))
        return (self.text[begin:] + self.text * (n // len(self.text) + 1))[:n]


def ask(server, prompt: list[int]) -> float:
    """Seconds to the first token."""
    answer = loads.Answer(0, len(prompt), 0.0)
    client = loads.Client(server.address, loads.Load(0, 0, answer_tokens=2), 0.0, (0, prompt), 0,
                          [], contextlib.nullcontext())
    client.ask(prompt, answer)
    return answer.first


def first_token_row(bench: Bench, name: str, n: int) -> dict:
    """First question about a document, a second one, and one after a restart."""
    tokens = n + 4096
    document = bench.document(n, n)
    questions = [bench.document(24, n + i) for i in range(1, 4)]
    with bench.start(name, tokens) as server:
        ask(server, bench.document(200, 7))  # warm
        first = ask(server, document + questions[0])
        second = ask(server, document + questions[1])
    again = None
    if name == "memory and disk":
        with bench.start(name, tokens) as server:
            ask(server, bench.document(200, 7))
            again = ask(server, document + questions[2])
    return {"server": name, "tokens": n, "first": first, "second": second, "restarted": again}


def load_row(bench: Bench, name: str, server, visitors: int) -> dict:
    options = bench.options
    minutes = max(options.minutes, 4 / visitors)  # time for some to come
    load = loads.Load(visitors, minutes, longest=options.longest, seed=visitors)
    answers, seconds = loads.run(server.address, load, bench.text)
    return {"caches": name, **loads.summary(load, answers, seconds)}


def measure_first_tokens(bench: Bench) -> list[dict]:
    options = bench.options
    rows = []
    for n in options.lengths:
        with_peer = options.peer and n <= options.peer_longest
        for name in [OWN[0]] + [PEER] * bool(with_peer):
            print(f"{name}, a document of {n} tokens", file=sys.stderr)
            rows.append(first_token_row(bench, name, n))
    return rows


def measure_loads(bench: Bench) -> list[dict]:
    options = bench.options
    offered = {name: options.visitors for name in OWN}
    if options.peer:
        offered[PEER] = options.peer_visitors
    rows = []
    for name, visitors in offered.items():
        with bench.start(name, options.cache_tokens) as server:
            for rate in visitors:
                print(f"{name}, {rate} visitors a minute", file=sys.stderr)
                rows.append(load_row(bench, name, server, rate))
                for message in rows[-1]["messages"]:
                    print(f"{name}: {message}", file=sys.stderr)
    return rows


def parse_options() -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        return [int(word) for word in text.split(",")]

    parser = argparse.ArgumentParser(prog="bench/serve/run", description=__doc__)
    parser.add_argument("--program", default="build/release/bin/dsa")
    parser.add_argument("--model", default="tests/checkpoints/baby-v32")
    parser.add_argument("--text", default="tests/checkpoints/baby-v32/heldout.txt", help="for documents")
    parser.add_argument("--only", choices=["first_tokens", "loads"],
                        help="what is measured; the other figures of --out are kept")
    parser.add_argument("--visitors", type=numbers, default="3,16,64",
                        help="a minute (default: %(default)s)")
    parser.add_argument("--peer-visitors", type=numbers, default="3",
                        help="for llama.cpp; with more its queue grows (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=1.0, help="of each load")
    parser.add_argument("--longest", type=int, default=8000, help="tokens of a document")
    parser.add_argument("--lengths", type=numbers, default="1000,3000,10000,30000,100000",
                        help="of documents that are asked about twice (default: %(default)s)")
    parser.add_argument("--peer-longest", type=int, default=10000,
                        help="of these for llama.cpp, which takes minutes beyond")
    parser.add_argument("--cache-tokens", type=int, default=131072)
    parser.add_argument("--max-step-ms", type=float, default=100)
    parser.add_argument("--peer", default="", help="Python with xllamacpp (default: no peer)")
    parser.add_argument("--out", default="build/serve-bench/results.json")
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    out = pathlib.Path(options.out)
    result = json.loads(out.read_text()) if options.only and out.exists() else {}
    result |= {"cores": os.cpu_count(), "model": pathlib.Path(options.model).name,
               "date": time.strftime("%Y-%m-%d"), "max_step_ms": options.max_step_ms}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, pathlib.Path(folder))
        if bench.peer_version:
            result["peer"] = bench.peer_version
        for name, measure in (("first_tokens", measure_first_tokens), ("loads", measure_loads)):
            if options.only in (None, name):
                result[name] = measure(bench)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")


main()
