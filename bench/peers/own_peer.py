"""dsa.cpp itself, through `dsa bench attention --json` or a file that command wrote."""

import functools
import itertools
import json
import os
import subprocess
from collections.abc import Iterator

from common import BASE_CONTEXT, Key, Sample, Settings, Step

PEER = "dsa.cpp"


def results(document: object) -> Iterator[dict]:
    """The result objects of a JSON document, whatever they are wrapped in."""
    if isinstance(document, dict) and "ms_per_token" in document:
        yield document
    elif isinstance(document, (dict, list)):
        inner = document.values() if isinstance(document, dict) else document
        for value in inner:
            yield from results(value)


def machine(document: object) -> object:
    """The machine object of a JSON document: CPU, tier, commit, measured limits."""
    values = document if isinstance(document, list) else [document]
    found = (v["machine"] for v in values if isinstance(v, dict) and "machine" in v)
    return next(found, None)


def samples(document: object) -> list[Sample]:
    found = []
    for result in results(document):
        where = (PEER, result["phase"], result["context"], result["attention"])
        found.append(Sample(Key(*where, "layer", "fp8 caches"), result["ms_per_token"]))
        for part, cost in result["parts"].items():
            found.append(Sample(Key(*where, part, "fp8 caches"), cost["ms"]))
    return found


def file_steps(path: str) -> list[Step]:
    """Steps that repeat what a file says, for comparing with a result of another run."""
    with open(path) as file:
        measured = samples(json.load(file))
    places = sorted({(sample.key.phase, sample.key.context) for sample in measured})

    def at(place: tuple[str, int]) -> list[Sample]:
        return [s for s in measured if (s.key.phase, s.key.context) == place]

    return [Step(*place, functools.partial(at, place)) for place in places]


def bench(program: str, settings: Settings, phase: str, context: int) -> object:
    attention = "dsa,dense" if phase == "decode" else "dsa"
    command = [program, "bench", "attention", "--shape", "v32", "--phase", phase]
    command += ["--context", str(context), "--attention", attention]
    command += ["--threads", str(settings.threads), "--json"]
    if phase == "prefill":
        command += ["--chunk", str(settings.block)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def program_steps(program: str, settings: Settings) -> list[Step]:
    def measure(phase: str, context: int) -> list[Sample]:
        return samples(bench(program, settings, phase, context))

    return [
        Step(phase, context, functools.partial(measure, phase, context))
        for phase in ("decode", "prefill")
        if settings.contexts(phase)
        for context in itertools.chain([BASE_CONTEXT], settings.contexts(phase))
    ]


def can_bench(program: str) -> bool:
    if not os.access(program, os.X_OK):
        return False
    shown = subprocess.run([program, "bench", "attention", "--help"], stdout=subprocess.PIPE)
    return b"--context" in shown.stdout


def machine_of_file(path: str) -> object:
    with open(path) as file:
        return machine(json.load(file))


def machine_of_program(program: str, settings: Settings) -> object:
    return machine(bench(program, settings, "decode", BASE_CONTEXT))
