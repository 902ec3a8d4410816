"""From samples of several rounds to one table of ratios."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator
from statistics import median

from common import BASE_CONTEXT, Key, Sample

OURS = "dsa.cpp"
PARTS = ("projections", "indexer", "selection", "attention", "output")
GROWTH = "growth"  # what a step costs beyond the same step at BASE_CONTEXT

Times = dict[Key, list[float]]  # one time per round
Place = tuple[str, int, str, str]  # phase, context, attention, part


def by_key(rounds: list[list[Sample]]) -> Times:
    times: Times = defaultdict(list)
    for samples in rounds:
        for sample in samples:
            times[sample.key].append(sample.ms)
    return times


def with_growth(times: Times) -> Times:
    """Adds, for every whole step at depth, its time beyond the same step at the base context."""
    grown: Times = dict(times)
    for key, ms in times.items():
        base = times.get(dataclasses.replace(key, context=BASE_CONTEXT))
        if key.part == "layer" and key.context != BASE_CONTEXT and base:
            extra = [at - median(base) for at in ms]
            grown[dataclasses.replace(key, part=GROWTH)] = extra
    return grown


def with_sums(times: Times) -> Times:
    """Adds PyTorch's whole sparse layer: the sum of its parts, naive and best."""
    summed: Times = dict(times)
    for phase, context in sorted({(key.phase, key.context) for key in times}):
        for form, choose in CHOICES.items():
            chosen = [choose(times, "pytorch", (phase, context, "dsa", part)) for part in PARTS]
            if all(chosen):
                columns = zip(*(times[key] for key in chosen if key), strict=True)
                key = Key("pytorch", phase, context, "dsa", "layer", f"sum, {form}")
                summed[key] = [sum(column) for column in columns]
    return summed


def candidates(times: Times, peer: str, place: Place) -> list[Key]:
    return [
        k for k in times if k.peer == peer and (k.phase, k.context, k.attention, k.part) == place
    ]


def best(times: Times, peer: str, place: Place) -> Key | None:
    return min(candidates(times, peer, place), key=lambda key: median(times[key]), default=None)


def naive(times: Times, peer: str, place: Place) -> Key | None:
    """The plain form in bf16."""
    forms = ("naive bf16", "linear bf16", "sum, naive")
    return next((key for key in candidates(times, peer, place) if key.form in forms), None)


def offered(times: Times, peer: str, place: Place) -> Key | None:
    """The fastest form that PyTorch itself offers: not blocked by hand."""
    own = {key: ms for key, ms in times.items() if "blocked" not in key.form}
    return best(own, peer, place)


CHOICES = {"naive": naive, "fused": offered, "blocked": best}


@dataclasses.dataclass(frozen=True)
class Row:
    phase: str
    context: int
    attention: str
    part: str
    peer: str
    form: str
    peer_ms: float
    peer_low: float
    peer_high: float
    our_ms: float | None
    ratio: float | None  # of the peer's time to ours: median over the rounds
    ratio_low: float | None
    ratio_high: float | None


def make_row(times: Times, key: Key, place: Place) -> Row:
    ms = times[key]
    ours = best(times, OURS, place)
    pairs = list(zip(ms, times[ours], strict=True)) if ours else []
    measurable = all(own > 0 for _, own in pairs)  # a growth can be lost in the noise
    ratios = [peer / own for peer, own in pairs] if measurable else []
    return Row(
        *place,
        peer=key.peer,
        form=key.form,
        peer_ms=median(ms),
        peer_low=min(ms),
        peer_high=max(ms),
        our_ms=median(times[ours]) if ours else None,
        ratio=median(ratios) if ratios else None,
        ratio_low=min(ratios, default=None),
        ratio_high=max(ratios, default=None),
    )


def rows(rounds: list[list[Sample]]) -> list[Row]:
    """The peers' forms of every part compared with ours, chosen as CHOICES says."""
    times = with_sums(with_growth(by_key(rounds)))
    return list(make_rows(times))


def make_rows(times: Times) -> Iterator[Row]:
    phases = ("decode", "prefill")
    contexts = sorted({key.context for key in times if key.context != BASE_CONTEXT})
    for phase in phases:
        for context in contexts:
            yield from place_rows(times, phase, context)


def place_rows(times: Times, phase: str, context: int) -> Iterator[Row]:
    for attention, part in [("dsa", p) for p in (*PARTS, "layer")] + [("dense", "attention")]:
        place = (phase, context, attention, part)
        chosen = [choose(times, "pytorch", place) for choose in CHOICES.values()]
        for key in dict.fromkeys(chosen):
            if key:
                yield make_row(times, key, place)
    place = (phase, context, "dsa", GROWTH)
    for key in candidates(times, "llama.cpp", place):
        yield make_row(times, key, place)


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def spread(low: float | None, high: float | None) -> str:
    return "" if low is None or low == high else f" ({number(low)}-{number(high)})"


def table(all_rows: list[Row]) -> str:
    """Markdown; milliseconds per token and layer."""
    lines = [
        "| phase | context | part | peer | form | peer ms | our ms | peer / ours |",
        "|---|---:|---|---|---|---:|---:|---:|",
    ]
    for row in all_rows:
        part = row.part if row.attention == "dsa" else f"{row.attention} {row.part}"
        peer_ms = number(row.peer_ms) + spread(row.peer_low, row.peer_high)
        ratio = number(row.ratio) + spread(row.ratio_low, row.ratio_high)
        cells = (row.phase, f"{row.context:,}", part, row.peer, row.form, peer_ms)
        lines.append(f"| {' | '.join(cells)} | {number(row.our_ms)} | {ratio} |")
    return "\n".join(lines)
