"""The model in models/: what its README and docs/quality.md say of it, found again."""
import json
import pathlib
import random
import sys
import tempfile
import unittest

from dsa_program import SOURCE_DIR, main, read_safetensors, succeed, succeed_json

MODEL = SOURCE_DIR / "models" / "dsa-13m"
LOSSES = json.loads((MODEL / "losses.json").read_text())
sys.path.insert(0, str(SOURCE_DIR / "scripts" / "corpus"))
import recall  # noqa: E402  (the path comes first)

LOSS_TOLERANCE = 5e-3  # nats per token: fp8 rounds differently where sums are made in another order
PAIRS = 40


class TrainedModel(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = pathlib.Path(folder.name) / "text.txt"

    def test_is_small_and_attends_to_an_eighth_of_its_context_at_most(self):
        config = json.loads((MODEL / "config.json").read_text())
        self.assertEqual(config["architectures"], ["DeepseekV32ForCausalLM"])
        self.assertLessEqual(8 * config["index_topk"], 4096)
        self.assertGreaterEqual(config["max_position_embeddings"], 4096)
        self.assertLessEqual((MODEL / "model.safetensors").stat().st_size, 40e6)
        self.assertEqual(succeed_json("inspect", MODEL)["problems"], [])

    def test_losses_are_those_recorded(self):
        for attention, recorded in LOSSES["loss"].items():
            found = succeed_json("perplexity", "-m", MODEL, "-f", MODEL / "heldout.txt", "--ctx",
                                 LOSSES["context"], "--max-windows", LOSSES["windows"],
                                 "--attention", attention)
            self.assertLessEqual(abs(found["loss"] - recorded), LOSS_TOLERANCE, attention)

    def tokens_of(self, text):
        self.file.write_text(text)
        return [int(i) for i in succeed("tokenize", MODEL, "-f", self.file).split()]

    def recalled(self, attention):
        """Share of pairs stated before 800 words of text that are given again after them."""
        text = (MODEL / "heldout.txt").read_text()
        source, rng = recall.Source([text]), random.Random(1)
        pairs = [recall.pair(source, rng, key) for key in rng.sample(source.words, PAIRS)]
        stated = self.tokens_of(" " + " ".join(pairs))
        tokens = stated + self.tokens_of(" " + " ".join(text.split()[:800]))
        answers = []  # (where, which token)
        for question in map(self.tokens_of, (f" {pair}" for pair in pairs)):
            if len(question) == 3:  # key, value and ";" are a token each
                answers.append((len(tokens), question[1]))
            tokens += question
        ids, out = self.file.with_suffix(".json"), self.file.with_suffix(".safetensors")
        ids.write_text(json.dumps(tokens))
        succeed("logits", "-m", MODEL, "--tokens", ids, "-o", out, "--attention", attention)
        (_, n_vocabulary), logits = read_safetensors(out)["logits"]
        rows = [(logits[at * n_vocabulary:(at + 1) * n_vocabulary], want) for at, want in answers]
        self.assertGreaterEqual(len(rows), PAIRS // 2)
        return sum(row.index(max(row)) == want for row, want in rows) / len(rows)

    def test_finds_what_stands_far_back_where_a_window_cannot(self):
        self.assertGreaterEqual(self.recalled("dsa"), 0.5)
        self.assertLessEqual(self.recalled("window:256"), 0.2)


main()
