"""dsa perplexity against the losses an independent implementation measured."""
import math
import pathlib
import tempfile
import unittest

from dsa_program import IN_FLOAT, MODEL, run, succeed, succeed_json

TEXT = MODEL / "heldout.txt"
WINDOWS = ["perplexity", "-m", MODEL, "-f", TEXT, "--ctx", "1024", "--stride", "1024"]
TOLERANCE = 1e-3  # nats per token; measured: at most 1e-4 in float


class Perplexity(unittest.TestCase):

    def assert_loss(self, wanted, *args):
        found = succeed_json(*WINDOWS, *args)
        self.assertEqual(found["windows"], 61)
        self.assertEqual(found["scored_tokens"], 61 * 1023)
        self.assertLessEqual(abs(found["loss"] - wanted), TOLERANCE)
        self.assertAlmostEqual(found["perplexity"], math.exp(found["loss"]), places=6)
        bits = found["loss"] * found["scored_tokens"] / math.log(2) / found["scored_bytes"]
        self.assertAlmostEqual(found["bits_per_byte"], bits, places=9)
        self.assertLessEqual(found["scored_bytes"], TEXT.stat().st_size)

    def test_sparse_attention(self):
        self.assert_loss(3.9343, *IN_FLOAT)

    def test_dense_attention(self):
        self.assert_loss(3.9695, *IN_FLOAT, "--attention", "dense")

    def test_sliding_window(self):
        self.assert_loss(3.9877, *IN_FLOAT, "--attention", "window:64")

    def test_a_stride_scores_every_token_after_the_first_window_once(self):
        found = succeed_json("perplexity", "-m", MODEL, "-f", TEXT, "--ctx", "64", "--stride", "16",
                             "--max-windows", "5")
        self.assertEqual((found["windows"], found["scored_tokens"]), (5, 63 + 4 * 16))

    def test_a_text_shorter_than_a_window_is_one_window(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "short.txt"
            path.write_text("And God said, Let there be light")
            n_tokens = succeed_json("tokenize", MODEL, "-f", path)["n_tokens"]
            found = succeed_json("perplexity", "-m", MODEL, "-f", path)
            self.assertEqual((found["windows"], found["scored_tokens"]), (1, n_tokens - 1))
            path.write_text("")
            code, _, err = run("perplexity", "-m", MODEL, "-f", path)
            self.assertEqual((code, err.count("\n")), (1, 1))

    def test_people_get_a_table(self):
        out = succeed("perplexity", "-m", MODEL, "-f", TEXT, "--ctx", "128", "--max-windows",
                      "2").decode()
        for line in (r"^loss +\d\.\d{4} nats per token$", r"^perplexity +\d+\.\d+$",
                     r"^bits per byte +\d\.\d+$", r"^windows +2 of 128 tokens",
                     r"^attention +DSA active: 64 of 128", r"^speed +[\d,]+"):
            self.assertRegex(out, f"(?m){line}")

    def test_a_stride_beyond_the_window_is_a_usage_error(self):
        self.assertEqual(run("perplexity", "-m", MODEL, "-f", TEXT, "--ctx", "64", "--stride",
                             "65")[0], 2)


if __name__ == "__main__":
    from dsa_program import main
    main()
