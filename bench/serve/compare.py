"""Offers `dsa serve` growing load, with its caches and without; prints a table, writes JSON.

See README.md. Started by `run`.
"""
import argparse
import json
import os
import pathlib
import sys
import tempfile

import load as loads
from program import Server, long_model, text_ids

CONFIGURATIONS = {
    "memory and disk": [],  # a directory is added
    "memory": [],
    "no cache": ["--no-prefix-cache"],
}


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/serve/run", description=__doc__)
    parser.add_argument("--program", default="build/release/bin/dsa")
    parser.add_argument("--model", default="models/baby-v32")
    parser.add_argument("--text", default="models/baby-v32/heldout.txt", help="for documents")
    parser.add_argument("--visitors", default="4,8,16", help="per minute (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=1.0, help="of each load")
    parser.add_argument("--longest", type=int, default=8000, help="tokens of a document")
    parser.add_argument("--cache-tokens", type=int, default=131072)
    parser.add_argument("--max-step-ms", type=float, default=100)
    parser.add_argument("--out", default="build/serve-bench/results.json")
    return parser.parse_args()


def table(rows: list[dict]) -> str:
    lines = [
        "| caches | visitors/min | requests | errors | first token, first question p50 / p95 | "
        "later questions p50 / p95 | between tokens p50 / p95 / p99 | tokens/s | hits |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        first, later, gap = (row[name] for name in (
            "first_question_ms", "later_question_ms", "between_tokens_ms"))
        lines.append(
            f"| {row['caches']} | {row['load']['visitors_per_minute']:g} | {row['requests']} | "
            f"{row['errors']} | {first['p50']:.0f} / {first['p95']:.0f} ms | "
            f"{later['p50']:.0f} / {later['p95']:.0f} ms | "
            f"{gap['p50']:.1f} / {gap['p95']:.1f} / {gap['p99']:.1f} ms | "
            f"{row['generated_tokens_per_s']:.1f} | {100 * row['hit_share']:.0f} % |")
    return "\n".join(lines)


def main() -> None:
    options = parse_options()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        model = long_model(pathlib.Path(options.model), pathlib.Path(folder),
                           2 * options.longest + 1024)
        ids = text_ids(options.program, model, pathlib.Path(options.text))
        common = ["--cache-tokens", str(options.cache_tokens),
                  "--max-step-ms", f"{options.max_step_ms:g}"]
        for name, arguments in CONFIGURATIONS.items():
            disk = ["--disk-cache", f"{folder}/disk"] if "disk" in name else []
            with Server(options.program, model, [*common, *arguments, *disk]) as server:
                for i, visitors in enumerate(options.visitors.split(",")):
                    load = loads.Load(float(visitors), options.minutes, longest=options.longest,
                                      seed=i + 1)
                    print(f"{name}, {visitors} visitors a minute", file=sys.stderr)
                    answers, seconds = loads.run(server.address, load, ids)
                    rows.append({"caches": name, **loads.summary(load, answers, seconds)})
    out = pathlib.Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"cores": os.cpu_count(), "rows": rows}, indent=1) + "\n")
    print(table(rows))
    for row in rows:
        for message in row["messages"]:
            print(f"{row['caches']}: {message}", file=sys.stderr)


main()
