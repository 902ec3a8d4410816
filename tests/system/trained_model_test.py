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

    def pairs_far_back(self):
        """Pairs, 800 words of text, the pairs again: tokens, and (where, which token) of values."""
        text = (MODEL / "heldout.txt").read_text()
        source, rng = recall.Source([text]), random.Random(1)
        pairs = [recall.pair(source, rng, key) for key in rng.sample(source.words, PAIRS)]
        tokens = self.tokens_of(" " + " ".join(pairs))
        tokens += self.tokens_of(" " + " ".join(text.split()[:800]))
        answers = []
        for question in map(self.tokens_of, (f" {pair}" for pair in pairs)):
            if len(question) == 3:  # key, value and ";" are a token each
                answers.append((len(tokens), question[1]))
            tokens += question
        self.assertGreaterEqual(len(answers), PAIRS // 2)
        return tokens, answers

    def recalled(self, tokens, answers, attention):
        """Share of the answers that are the likeliest token where they stand."""
        ids, out = self.file.with_suffix(".json"), self.file.with_suffix(".safetensors")
        ids.write_text(json.dumps(tokens))
        succeed("logits", "-m", MODEL, "--tokens", ids, "-o", out, "--attention", attention)
        (_, n_vocabulary), logits = read_safetensors(out)["logits"]
        rows = [(logits[at * n_vocabulary:(at + 1) * n_vocabulary], want) for at, want in answers]
        return sum(row.index(max(row)) == want for row, want in rows) / len(rows)

    def test_finds_what_stands_far_back_where_a_window_cannot(self):
        tokens, answers = self.pairs_far_back()
        self.assertGreaterEqual(self.recalled(tokens, answers, "dsa"), 0.5)
        self.assertLessEqual(self.recalled(tokens, answers, "window:256"), 0.2)


main()
