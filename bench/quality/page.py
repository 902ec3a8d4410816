"""docs/quality.md and its plots from the figures of measure.py."""
import pathlib
import sys
import textwrap

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "report"))
import document  # noqa: E402  (its folder comes first)
import measure
import svg

NAMES = {"dense": "dense", "dsa": "DSA", "window": "window", "random": "random",
         "oracle": "oracle"}
TASKS = {"facts": "named facts", "pairs": "key-value pairs", "passages": "repeated passages"}

INTRODUCTION = """# Quality

How much quality DeepSeek Sparse Attention costs, measured on the checkpoints of one small model. One command writes
this page, its plots and the figures behind them:

<!-- not run: it takes half an hour and needs the checkpoints of training -->
```bash
bench/quality/run
```

{setup}

Five selections are compared. **dense** attends to all rows. The others have the same budget of k rows per query, the
query's own row included: **DSA** attends to the k rows that the indexer scores highest, **window** to the k most
recent, **random** to k rows drawn anew for each query and layer, and **oracle** to the k rows with the largest dense
attention weight, summed over the heads. Everything is computed in f32 by the trainer's forward pass
(`TrainModel::evaluate`)."""


def percent(share, digits=1):
    return "" if share is None else f"{100 * share:.{digits}f} %"


def table(header, rows, left=1):
    """left: columns of words at the left; the others are numbers."""
    return document.table(header, rows, "l" * left + "r" * (len(header) - left))


def mean_recall(recall, length=None):
    """Over the tasks, each counting the same."""
    shares = [share for share in (measure.total(cells, length) for cells in recall.values())
              if share is not None]
    return sum(shares) / len(shares) if shares else None


class Page:

    def __init__(self, figures, path, folder):
        self.figures, self.path, self.folder = figures, path, folder
        self.checkpoints = figures["checkpoints"]
        self.by_label = {checkpoint["label"]: checkpoint for checkpoint in self.checkpoints}
        self.judged = self.by_label[figures["judged"]]
        # Dense attention is judged by a model trained on with it, where there is one.
        self.dense = self.by_label.get("control", self.judged)

    def plot(self, name, text):
        """A file for a plot of svg.py, and the line that shows it."""
        return (self.folder / f"{name}.svg",
                f"![{text}]({self.folder.relative_to(self.path.parent).as_posix()}/{name}.svg)")

    def introduction(self):
        c, f = self.judged, self.figures
        measured = "all of it" if f["tokens"] is None else f"a sample of {f['tokens']:,} tokens"
        setup = (f"The model has {c['parameters'] / 1e6:.1f} million parameters in {c['layers']} "
                 f"layers, k = {c['top_k']} selected rows and {c['max_position']:,} positions. "
                 f"Held-out text: {f['documents']} documents of {f['bytes']:,} bytes that no training "
                 f"run has seen, {measured}, in pieces of at most {c['context']:,} tokens. Writing "
                 f"this page took {f['seconds'] / 60:.0f} minutes.")
        return INTRODUCTION.format(setup=setup)

    def targets(self):
        dense, dsa = self.dense["loss"]["dense"]["loss"], self.judged["loss"]["dsa"]["loss"]
        recalls = [mean_recall(self.dense["recall"]["dense"])] + [
            mean_recall(self.judged["recall"][name]) for name in ("dsa", "window")]
        shown = dict(zip(("dense", "dsa", "window"), recalls))
        rows = [["held-out loss above dense", "at most 0.5 %", percent(dsa / dense - 1, 2),
                 self.met(dsa / dense - 1 <= 0.005)]]
        if None not in recalls:
            behind, ahead = shown["dense"] - shown["dsa"], shown["dsa"] - shown["window"]
            rows += [["recall behind dense", "at most 2 points", f"{100 * behind:.1f} points",
                      self.met(behind <= 0.02)],
                     ["recall ahead of the window", "at least 20 points", f"{100 * ahead:.1f} points",
                      self.met(ahead >= 0.20)]]
        who = ("the control: the same steps on the same data from the same checkpoint as sparse "
               "training, but with dense attention" if self.dense is not self.judged
               else "the same checkpoint")
        return ("## The claim\n\n" + table(["DSA after sparse training", "target", "measured", ""],
                                            rows, 2)
                + f"\n\n*Dense* is {who}. Recall is the mean of the tasks below over all lengths "
                "and depths.")

    @staticmethod
    def met(holds):
        return "met" if holds else "not met"

    def loss(self):
        rows = []
        for c in self.checkpoints:
            base = c["loss"]["dense"]["loss"]
            for name, found in c["loss"].items():
                rows.append([c["label"], NAMES[name], f"{found['loss']:.4f}",
                             f"{found['bits_per_byte']:.4f}",
                             f"{100 * (found['loss'] / base - 1):+.2f} %"])
        out = ["## Held-out loss", table(["checkpoint", "selection", "loss, nats per token",
                                          "bits per byte", "compared with its dense"], rows, 2)]
        for c in self.checkpoints:
            path, line = self.plot(f"loss-{c['label']}", f"Loss by position, {c['label']}")
            svg.lines(path, f"Held-out loss by position: {c['label']}", "position", "nats a token",
                      {NAMES[name]: found["by_position"] for name, found in c["loss"].items()})
            out.append(line)
        return "\n\n".join(out)

    def recall(self):
        f = self.figures
        k, lengths = self.judged["top_k"], self.judged["lengths"]
        out = [
            "## Recall", f"In a context of held-out text, items are placed at {f['depths']} "
            f"depths and asked for at the end: *named facts* (\"The sign of Hannah river.\", "
            f"{f['facts']} per depth), *key-value pairs* (\"lamb anger;\", {f['pairs']} per depth) and "
            "*repeated passages* (a passage occurs a second time, and its words after the first "
            "tokens are predicted). Facts and values are drawn at random. An answer is right when each of its "
            f"tokens is the most probable one. Context lengths are multiples of k, up to the model's "
            f"{self.judged['max_position']:,} positions. How a model this small learnt to "
            "recall at all, and what did not help: [notebook](notebook/recall.md)."]
        rows = []
        for c in self.checkpoints:
            for name, tasks in c["recall"].items():
                for task, cells in tasks.items():
                    rows.append([c["label"], NAMES[name], TASKS[task],
                                 percent(measure.total(cells))]
                                + [percent(measure.total(cells, n)) for n in lengths])
        out.append(table(["checkpoint", "selection", "task", "all"]
                         + [f"{n:,} ({n // k} k)" for n in lengths], rows, 3))
        for task, title in TASKS.items():
            out += self.heat(task, title)
        return "\n\n".join(out)

    def heat(self, task, title):
        c = self.judged
        maps = {}
        for name, tasks in c["recall"].items():
            cells = tasks.get(task, {})
            maps[NAMES[name]] = [[r / n if n else None for r, n in cells[length]]
                                 for length in cells]
        rows = [f"{int(n):,}" for n in c["recall"]["dsa"].get(task, {})]
        if not rows:
            return []
        depths = [f"{100 * i // (self.figures['depths'] - 1)}%" for i in
                  range(self.figures["depths"])]
        path, line = self.plot(f"recall-{task}", f"Recall of {title} by depth and length")
        svg.heat(path, f"{title}: right answers in % by depth and length ({c['label']})", depths,
                 rows, maps)
        return [line]

    def mass(self):
        out = ["## Attention mass", "*mass* is the share of the dense attention weights (mean "
               "over the heads) that falls on the k rows selected by the indexer; *best k* is the "
               "share of dense attention's own k best rows that the indexer selects. Both are means "
               "over queries that see more than k rows, measured on the activations of the sparse "
               "forward pass."]
        rows = []
        for c in self.checkpoints:
            layers = c["coverage"]
            if any(layer["mass"] is None for layer in layers):
                continue
            rows.append([c["label"]]
                        + [f"{percent(layer['mass'], 0)} / {percent(layer['recall'], 0)}"
                           for layer in layers])
        out.append(table(["mass / best k"]
                         + [f"layer {i}" for i in range(self.judged["layers"])], rows))
        path, line = self.plot("mass", "Attention mass by position")
        svg.lines(path, f"Attention mass on the selected rows: {self.judged['label']}", "position",
                  "share", {f"layer {i}": layer["by_position"]
                            for i, layer in enumerate(self.judged["coverage"])}, high=1)
        out.append(line)
        growth = next((c["growth"] for c in self.checkpoints if c["growth"]), [])
        if growth:
            path, line = self.plot("mass-growth", "Attention mass during the warm-up")
            svg.lines(path, "During the warm-up, mean of the layers", "step", "share",
                      {"mass": [point[:2] for point in growth],
                       "best k": [[step, recall] for step, _, recall in growth]}, low=0, high=1)
            out.append(line)
        return "\n\n".join(out)

    def sensitivity(self):
        rows = []
        for row in self.judged["sensitivity"]:
            rows.append([row["group"], row["name"], f"{row['loss']:.4f}"]
                        + [percent(measure.total(row["recall"].get(task, {}))) for task in TASKS])
        length = self.judged["sensitivity"][0]["length"]
        return (f"## Sensitivity\n\nThe checkpoint {self.judged['label']} with DSA, one change at a time; "
                f"recall in contexts of {length:,} tokens. Forced rows count towards the budget "
                "k.\n\n"
                + table(["changed", "to", "loss", *TASKS.values()], rows, 2))


def notes(folder):
    """What a person has to say of these figures: notes.md next to them, if there is one."""
    path = folder / "notes.md"
    return [path.read_text().strip()] if path.exists() else []


def wrapped(page):
    """The page with its prose in lines of at most 108 characters; tables and code as they are."""
    return "\n\n".join(
        part if part.startswith(("#", "|", "!", "<")) else
        textwrap.fill(part, 108, break_long_words=False, break_on_hyphens=False)
        for part in page.split("\n\n"))


def write(figures, path, folder):
    page = Page(figures, path, folder)
    parts = [page.introduction(), page.targets(), *notes(folder), page.loss(), page.recall(), page.mass(),
             page.sensitivity()]
    path.write_text(wrapped("\n\n".join(parts)) + "\n")
