"""Options that shape a computation: each does what it says."""
import json
import pathlib
import tempfile
import unittest

from dsa_program import MODEL, read_safetensors, run, succeed, succeed_json

TEXT = (MODEL / "heldout.txt").read_text()[:1000]
N_TOKENS = 200
EXPECTED = MODEL / "expected_fp32.safetensors"


class Options(unittest.TestCase):

    def test_selection(self):
        """What the last query of every layer selected, with k = 64 but for --top-k-tokens."""
        cases = [
            (["--keep-first", "5"], lambda row: (len(row), row[:5]), (64, [0, 1, 2, 3, 4])),
            (["--keep-recent", "5"], lambda row: (len(row), row[-5:]),
             (64, [195, 196, 197, 198, 199])),
            (["--keep-first", "40", "--keep-recent", "24"], lambda row: row,
             list(range(40)) + list(range(176, 200))),
            (["--top-k-tokens", "16"], len, 16),
            (["--top-k-tokens", "100"], len, 100),
            (["--top-k-tokens", "300"], lambda row: (len(row), row[:200]),
             (200, list(range(200)))),
        ]
        with tempfile.TemporaryDirectory() as folder:
            tokens = pathlib.Path(folder) / "tokens.json"
            tokens.write_text(json.dumps(list(range(100, 100 + N_TOKENS))))
            out = pathlib.Path(folder) / "out.safetensors"
            for args, view, wanted in cases:
                with self.subTest(args=args):
                    succeed("logits", "-m", MODEL, "--tokens", tokens, "-o", out, "-q", *args)
                    found = read_safetensors(out)
                    for layer in range(6):
                        (_, width), values = found[f"topk.{layer}"]
                        self.assertEqual(view(list(values[-width:])), wanted)

    def test_sampling(self):
        base = ["run", "-m", MODEL, "-p", TEXT, "-n", "16", "--seed", "3"]
        greedy = succeed_json(*base, "--temperature", "0")["text"]
        hot = ["--temperature", "2", "--top-p", "1"]
        sampled = succeed_json(*base, *hot)["text"]
        self.assertNotEqual(sampled, greedy)
        cases = [
            (hot + ["--top-k", "1"], True, greedy),
            (hot + ["--top-k", "2048"], True, sampled),
            (hot + ["--top-k", "40"], False, sampled),
            (hot + ["--min-p", "1"], True, greedy),
            (hot + ["--min-p", "0"], True, sampled),
            (hot + ["--min-p", "0.2"], False, sampled),
            (["--temperature", "0", "--repeat-penalty", "1"], True, greedy),
            (["--temperature", "0", "--repeat-penalty", "3"], False, greedy),
        ]
        for args, same, other in cases:
            with self.subTest(args=args):
                self.assertEqual(succeed_json(*base, *args)["text"] == other, same)

    def test_tolerance(self):
        verify = ["verify", "-m", MODEL, "--expected", EXPECTED, "--json", "--tolerance"]
        for tolerance, wanted in (("1", True), ("1e-30", False)):
            code, out, _ = run(*verify, tolerance)
            self.assertEqual((code == 0, json.loads(out)["passed"]), (wanted, wanted))


if __name__ == "__main__":
    from dsa_program import main
    main()
