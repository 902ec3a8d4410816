"""bench/quality/run in its smallest form: figures, page and plots of one checkpoint."""
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.dom.minidom

from dsa_program import (IN_FLOAT, MODEL, SOURCE_DIR, main, read_safetensors, succeed,
                         succeed_json)

EVALUATOR = os.environ["QUALITY_EVALUATOR"]


class Quality(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.text = cls.folder / "text.txt"
        cls.text.write_text((MODEL / "heldout.txt").read_text()[:20000])
        cls.quality(cls.text, "--tokens", 400, "--contexts", 1, "--longest", 512,
                    f"trained={MODEL}")
        cls.figures = json.loads((cls.folder / "page" / "figures.json").read_text())
        cls.found = cls.figures["checkpoints"][0]

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    @classmethod
    def quality(cls, text, *args):
        subprocess.run([sys.executable, "-B", SOURCE_DIR / "bench/quality/quality.py",
                        "--evaluator", EVALUATOR, "--held-out", text, "--threads", "2", "--page",
                        cls.folder / "page.md", *map(str, args)], check=True, timeout=250,
                       capture_output=True)

    def test_a_selection_that_looks_is_better_than_a_random_one(self):
        loss = {name: found["loss"] for name, found in self.found["loss"].items()}
        self.assertEqual(set(loss), {"dense", "dsa", "window", "random", "oracle"})
        for name in ("dense", "dsa", "window", "oracle"):
            self.assertLess(loss[name], loss["random"])

    def test_losses_are_those_of_the_engine(self):
        ids = [0] + succeed_json("tokenize", MODEL, "-f", self.text)["ids"][:399]
        tokens, out = self.folder / "tokens.json", self.folder / "logits.safetensors"
        tokens.write_text(json.dumps(ids))
        for name in ("dense", "dsa", "window:64"):
            succeed("logits", "-m", MODEL, "--tokens", tokens, "-o", out, "-q", "--attention", name,
                    *IN_FLOAT)
            (n, vocab), logits = read_safetensors(out)["logits"]
            self.assertEqual(n, len(ids))
            rows = [logits[vocab * i:vocab * (i + 1)] for i in range(n - 1)]
            losses = [math.log(sum(map(math.exp, row))) - row[next_id]
                      for row, next_id in zip(rows, ids[1:])]
            self.assertAlmostEqual(sum(losses) / len(losses),
                                   self.found["loss"][name.split(":")[0]]["loss"], delta=2e-3)

    def test_the_indexer_holds_more_mass_than_its_share_of_the_rows(self):
        for layer in self.found["coverage"]:
            self.assertGreater(layer["mass"], 0.3)
            self.assertLessEqual(layer["mass"], 1.0001)

    def test_every_variant_is_in_the_table_of_sensitivity(self):
        groups = [row["group"] for row in self.found["sensitivity"]]
        self.assertEqual(list(dict.fromkeys(groups)),
                         ["as trained", "budget k", "forced recent window",
                          "forced attention sinks", "indexer heads", "index keys and queries"])
        self.assertAlmostEqual(self.found["sensitivity"][0]["loss"],
                               self.found["loss"]["dsa"]["loss"])

    def test_recall_counts_every_answer_at_every_depth(self):
        cells = self.found["recall"]["dsa"]["pairs"]["512"]
        self.assertEqual([asked for _, asked in cells], [self.figures["pairs"]] * 9)

    def test_the_page_shows_plots_that_are_there(self):
        page = (self.folder / "page.md").read_text()
        plots = list((self.folder / "page").glob("*.svg"))
        self.assertGreaterEqual(len(plots), 3)
        for plot in plots:
            xml.dom.minidom.parse(str(plot))
            self.assertIn(f"(page/{plot.name})", page)
        for heading in ("## The claim", "## Held-out loss", "## Recall", "## Attention mass",
                        "## Sensitivity"):
            self.assertIn(heading, page)

    def test_the_same_figures_give_the_same_page(self):
        before = (self.folder / "page.md").read_text()
        self.quality(self.text, "--plot")
        self.assertEqual((self.folder / "page.md").read_text(), before)


if __name__ == "__main__":
    main()
