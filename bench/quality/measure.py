"""The figures of the quality page: plain numbers, as they go into figures.json."""
import math
import pathlib

import tasks

SELECTIONS = ["dense", "dsa", "window", "random", "oracle"]
BUCKET = 256  # positions that share a point of a curve


def read_documents(path):
    """Texts of a file, or of the files of a folder in order of their names."""
    path = pathlib.Path(path)
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    return [file.read_text() for file in files]


class Window:
    """At most `context` tokens of a document, and the bytes of each token's text."""

    def __init__(self, tokens, sizes):
        self.tokens, self.sizes = tokens, sizes


def windows(evaluator, texts, context, limit=None):
    """Every document from its start in pieces; `limit` tokens in all."""
    out, room = [], limit or math.inf
    tokens, sizes = evaluator.encode(texts)
    for ids, lengths in zip(tokens, sizes):
        ids, lengths = evaluator.begin + ids, [0] * len(evaluator.begin) + lengths
        for at in range(0, len(ids), context):
            n = min(context, len(ids) - at, room)
            if n >= 2:
                out.append(Window(ids[at:at + n], lengths[at:at + n]))
                room -= n
    return out


class Mean:

    def __init__(self):
        self.total, self.n = 0.0, 0

    def add(self, value):
        self.total, self.n = self.total + value, self.n + 1

    def value(self):
        return self.total / self.n if self.n else None


def _curve(means):
    return [[BUCKET * i + BUCKET // 2, mean.value()] for i, mean in sorted(means.items())]


def loss(evaluator, pieces, **options):
    """Loss and bits per byte over all pieces and by position."""
    total, size, by_position = Mean(), 0, {}
    for piece in pieces:
        losses = evaluator.evaluate(piece.tokens, **options)["loss"][:-1]
        size += sum(piece.sizes[1:])
        for i, value in enumerate(losses):
            total.add(value)
            by_position.setdefault(i // BUCKET, Mean()).add(value)
    return {"loss": total.value(), "tokens": total.n,
            "bits_per_byte": total.total / math.log(2) / size, "by_position": _curve(by_position)}


def coverage(evaluator, pieces, **options):
    """Per layer: mean share of the dense attention on the selected rows, and share of its best k
    among them, over queries that leave something out; mass by position."""
    layers = [(Mean(), Mean(), {}) for _ in range(evaluator.layers)]
    for piece in pieces:
        answer = evaluator.evaluate(piece.tokens, coverage=True, **options)
        for (mass, recall, by_position), m, r in zip(layers, answer["mass"], answer["recall"]):
            for i in range(evaluator.top_k, len(m)):
                mass.add(m[i])
                recall.add(r[i])
                by_position.setdefault(i // BUCKET, Mean()).add(m[i])
    return [{"mass": mass.value(), "recall": recall.value(), "by_position": _curve(by_position)}
            for mass, recall, by_position in layers]


def recall(evaluator, contexts, **options):
    """{task: {length: [[right, asked] per depth]}} over `contexts` of make_contexts()."""
    out = {}
    for kind, lengths in contexts.items():
        for length, made in lengths.items():
            cells = [[0, 0] for _ in range(tasks.DEPTHS)]
            for task in made:
                right, count = task.score(evaluator.evaluate(task.tokens, **options)["best"])
                cells = [[a + r, b + c] for (a, b), r, c in zip(cells, right, count)]
            out.setdefault(kind, {})[str(length)] = cells
    return out


def make_contexts(evaluator, source, lengths, n):
    """{task: {length: [Task]}}: n contexts of each, fewer of long ones; none where the task itself
    needs more."""
    out = {}
    for kind in tasks.KINDS:
        for length in lengths:
            made = [tasks.make(evaluator, source, kind, length, seed)
                    for seed in range(max(1, min(n, n * lengths[-1] // (2 * length))))]
            made = [task for task in made if task]
            if made:
                out.setdefault(kind, {})[length] = made
    return out


def variants(evaluator):
    """(group, label, options) of the sensitivity table; the first is what the model is made for."""
    k, heads = evaluator.top_k, evaluator.index_heads
    yield "as trained", f"k = {k}, {heads} heads, f32", {}
    for top_k in (k // 8, k // 4, k // 2, 2 * k):
        yield "budget k", str(top_k), {"top_k": top_k}
    for recent in (k // 16, k // 4):
        yield "forced recent window", str(recent), {"keep_recent": recent}
    for first in (1, 4):
        yield "forced attention sinks", str(first), {"keep_first": first}
    kept = heads // 2
    while kept:
        yield "indexer heads", f"the {kept} first of {heads}", {"index_heads": kept}
        kept //= 2
    for index_format in ("fp8", "int8"):
        yield "index keys and queries", index_format, {"index_format": index_format}


def total(cells_by_length, length=None):
    """Share of right answers of a task, at one length or all."""
    right = asked = 0
    for name, cells in cells_by_length.items():
        if length is None or name == str(length):
            right += sum(r for r, _ in cells)
            asked += sum(c for _, c in cells)
    return right / asked if asked else None
