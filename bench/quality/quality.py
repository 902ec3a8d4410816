"""Measures checkpoints of one model and writes docs/quality.md; see bench/quality/run."""
import argparse
import json
import pathlib
import sys
import time

import measure
import page
import tasks  # first: it makes scripts/corpus known
import recall
from evaluator import Evaluator


def parse():
    parser = argparse.ArgumentParser(prog="bench/quality/run")
    parser.add_argument("checkpoints", nargs="*", metavar="LABEL=DIR",
                        help="in the order of training (default: those of scripts/train-model "
                             "--control); the last one that is not the control is judged, the one "
                             "labelled control is trained on with dense attention")
    parser.add_argument("--held-out", default="build/corpus/main/held-out",
                        help="a text file, or a folder of them (default: %(default)s)")
    parser.add_argument("--page", default="docs/quality.md")
    parser.add_argument("--figures", help="folder of plots and figures.json (default: next to the "
                                          "page, with its name)")
    parser.add_argument("--context", type=int, default=4096,
                        help="tokens of a piece of held-out text (default: %(default)s)")
    parser.add_argument("--contexts", type=int, default=4,
                        help="recall contexts per task at half the greatest length; twice the "
                             "length has half of them (default: %(default)s)")
    parser.add_argument("--tokens", type=int, help="measure this many tokens, not all held-out text")
    parser.add_argument("--longest", type=int, default=8192,
                        help="greatest length of a recall context (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--evaluator", default="build/release/bin/quality_eval")
    parser.add_argument("--plot", action="store_true", help="page and plots from the last figures")
    options = parser.parse_args()
    if not options.checkpoints:
        options.checkpoints = [f"{label}=build/models/main/{stage}/latest" for label, stage in
                               (("pretrain", "extend"), ("warmup", "warmup"),
                                ("sparse", "sparse"), ("control", "control"))]
    if any("=" not in checkpoint for checkpoint in options.checkpoints):
        parser.error("a checkpoint is LABEL=DIR, for example sparse=build/models/main/sparse/latest")
    options.figures = pathlib.Path(options.figures or options.page.removesuffix(".md"))
    return options


def lengths_of(evaluator, longest):
    """4, 8, 16, 32 and 64 times k, as far as the model's positions go."""
    bound = min(evaluator.max_position, longest)
    return [m * evaluator.top_k for m in (4, 8, 16, 32, 64) if m * evaluator.top_k <= bound]


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def warmup_growth(folder):
    """[[step, mass, recall], ...] where the checkpoint is of a warm-up; else nothing."""
    log = pathlib.Path(folder).parent / "log.jsonl"
    if not log.exists():
        return []
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [[line["step"], line["mass"], line["recall"]] for line in lines
            if line["type"] == "evaluation" and line["stage"] == "warmup"]


def of_checkpoint(label, folder, options, texts, source, judged):
    with Evaluator(options.evaluator, folder, max(options.context, options.longest),
                   options.threads) as evaluator:
        lengths = lengths_of(evaluator, options.longest)
        context = min(options.context, evaluator.max_position)
        pieces = measure.windows(evaluator, texts, context, options.tokens)
        contexts = measure.make_contexts(evaluator, source, lengths, options.contexts)
        out = {"label": label, "top_k": evaluator.top_k, "layers": evaluator.layers,
               "index_heads": evaluator.index_heads, "max_position": evaluator.max_position,
               "parameters": evaluator.parameters, "context": context, "lengths": lengths,
               "growth": warmup_growth(folder), "loss": {}, "recall": {}, "sensitivity": []}
        for selection in measure.SELECTIONS:
            say(f"{label}: {selection}: loss")
            out["loss"][selection] = measure.loss(evaluator, pieces, selection=selection)
            if judged or selection in ("dense", "dsa", "window"):
                say(f"{label}: {selection}: recall")
                out["recall"][selection] = measure.recall(evaluator, contexts, selection=selection)
        say(f"{label}: attention mass")
        out["coverage"] = measure.coverage(evaluator, pieces, selection="dsa")
        if judged:
            out["sensitivity"] = sensitivity(label, evaluator, pieces, contexts, lengths)
    return out


def sensitivity(label, evaluator, pieces, contexts, lengths):
    """Each variant's loss and its recall in contexts of 16 k, or the greatest below."""
    length = max(n for n in lengths if n <= 16 * evaluator.top_k)
    chosen = {kind: {length: made[length]} for kind, made in contexts.items() if length in made}
    rows = []
    for group, name, options in measure.variants(evaluator):
        say(f"{label}: {group} {name}")
        rows.append({"group": group, "name": name, "length": length,
                     "loss": measure.loss(evaluator, pieces, selection="dsa", **options)["loss"],
                     "recall": measure.recall(evaluator, chosen, selection="dsa", **options)})
    return rows


def run(options):
    texts = measure.read_documents(options.held_out)
    source = recall.Source(texts)
    named = [checkpoint.split("=", 1) for checkpoint in options.checkpoints]
    judged = [label for label, _ in named if label != "control"][-1]
    begin = time.monotonic()
    found = [of_checkpoint(label, folder, options, texts, source, label == judged)
             for label, folder in named]
    return {"judged": judged, "seconds": time.monotonic() - begin, "tokens": options.tokens,
            "documents": len(texts), "bytes": sum(len(t.encode()) for t in texts),
            "facts": tasks.FACTS, "pairs": tasks.PAIRS, "depths": tasks.DEPTHS,
            "checkpoints": found}


def main():
    options = parse()
    options.figures.mkdir(parents=True, exist_ok=True)
    path = options.figures / "figures.json"
    if not options.plot:
        figures = run(options)
        path.with_suffix(".new").write_text(json.dumps(figures, indent=1) + "\n")
        path.with_suffix(".new").rename(path)
    page.write(json.loads(path.read_text()), pathlib.Path(options.page), options.figures)


main()
