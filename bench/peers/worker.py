"""One peer in its own process: it measures what it is asked for and is idle in between.

usage: worker.py PEER_MODULE SETTINGS_JSON
Lines on standard output: first {"about", "steps": [[phase, context], ...]}, then for every number
of a step read from standard input a list of [key, milliseconds].
"""

import dataclasses
import importlib
import json
import os
import sys

from common import Settings


def main(module_name: str, settings_json: str) -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    peer = importlib.import_module(module_name)
    settings = Settings(**json.loads(settings_json))
    steps = peer.steps(settings)
    listed = [[step.phase, step.context] for step in steps]
    print(json.dumps({"about": peer.about(), "steps": listed}), file=answers)
    for line in sys.stdin:
        samples = steps[int(line)].measure()
        rows = [[dataclasses.asdict(sample.key), sample.ms] for sample in samples]
        print(json.dumps(rows), file=answers)


main(*sys.argv[1:])
