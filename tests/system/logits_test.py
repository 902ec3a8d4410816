"""dsa logits against the outputs of an independent implementation, on one tier (argument 1)."""
import json
import os
import pathlib
import sys
import tempfile
import unittest

from dsa_program import (CONFORMANCE, IN_FLOAT, MODEL, SANITIZED, SKIPPED, largest_difference,
                         read_safetensors, run, runnable_tiers, succeed, succeed_json,
                         write_safetensors)

LOGIT_TOLERANCE = 5e-4


class Logits(unittest.TestCase):

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return pathlib.Path(self.folder.name) / name

    def compute(self, model, tokens, *args):
        out = self.path("out.safetensors")
        succeed("logits", "-m", model, "--tokens", tokens, "-o", out, "-q", *args)
        return out

    def assert_as_expected(self, found, expected):
        self.assertEqual(set(found), set(expected) - {"tokens"})
        for name, (shape, values) in found.items():
            self.assertEqual(shape, expected[name][0])
            if name == "logits":
                self.assertLessEqual(largest_difference(values, expected[name][1]), LOGIT_TOLERANCE)
            else:
                self.assertEqual(values, expected[name][1], name)

    def test_trained_model_for_any_chunk_and_to_the_bit_for_any_number_of_threads(self):
        source = MODEL / "expected_fp32.safetensors"
        expected = read_safetensors(source)
        for chunk in (7,) if SANITIZED else (1, 7, 64):
            with self.subTest(chunk=chunk):
                args = [MODEL, source, "--prefill", 448, "--chunk", chunk, *IN_FLOAT, "--threads"]
                one = self.compute(*args, 1).read_bytes()
                two = self.compute(*args, 2)
                self.assertEqual(one, two.read_bytes())
                self.assert_as_expected(read_safetensors(two), expected)

    def test_random_model_with_yarn(self):
        model = CONFORMANCE / "tiny-v32-yarn"
        if not model.is_dir():
            self.skipTest(f"{model} is not there")
        source = model / "expected_fp32.safetensors"
        expected = read_safetensors(source)
        for args in (["--prefill", 112], ["--prefill", 1], ["--prefill", 128, "--chunk", 7]):
            with self.subTest(args=args):
                out = self.compute(model, source, *args, *IN_FLOAT)
                self.assert_as_expected(read_safetensors(out), expected)

    def test_random_model_with_quantised_caches(self):
        model = CONFORMANCE / "tiny-v32-yarn"
        if not model.is_dir():
            self.skipTest(f"{model} is not there")
        source = model / "expected_fp8.safetensors"
        expected = read_safetensors(source)
        found = read_safetensors(self.compute(model, source, "--prefill", 112))
        differences = sorted(abs(a - b)
                             for a, b in zip(found["logits"][1], expected["logits"][1]))
        self.assertLessEqual(differences[len(differences) // 2], 0.02)
        rows = same = 0
        for name, ((n, width), values) in found.items():
            if name == "logits":
                continue
            for i in range(0, n * width, width):
                rows += 1
                same += values[i:i + width] == expected[name][1][i:i + width]
        self.assertGreaterEqual(same, 0.85 * rows)

    def test_json_tokens_give_the_same_file_as_safetensors_tokens(self):
        source = MODEL / "expected_fp32.safetensors"
        tokens = list(read_safetensors(source)["tokens"][1])
        wanted = self.compute(MODEL, source).read_bytes()
        for document in (tokens, {"tokens": tokens}):
            self.path("tokens.json").write_text(json.dumps(document))
            self.assertEqual(self.compute(MODEL, self.path("tokens.json")).read_bytes(), wanted)

    def test_dense_and_window_attention_write_what_they_attend_to(self):
        self.path("tokens.json").write_text(json.dumps(list(range(100, 180))))
        for mode, width in (("dense", 80), ("window:16", 16)):
            out = self.compute(MODEL, self.path("tokens.json"), "--attention", mode)
            shape, rows = read_safetensors(out)["topk.5"]
            self.assertEqual(shape, [80, width])
            last = list(rows[-width:])
            self.assertEqual(last, list(range(80 - width, 80)))

    def test_bad_tokens_are_named_and_leave_no_file(self):
        out = self.path("out.safetensors")
        for text, word in (("[1, -2]", "tokens[1]"), ("[1, 99999]", "99999"), ("[]", "no tokens"),
                           ("{}", "tokens"), ("[1", "JSON"),
                           ("[" * 200 + "]" * 200, "tokens[0]: [[["),
                           ("[" * 100000 + "]" * 100000, "nested more than 256 levels")):
            with self.subTest(text=text[:9]):
                self.path("tokens.json").write_text(text)
                code, _, err = run("logits", "-m", MODEL, "--tokens", self.path("tokens.json"),
                                   "-o", out)
                self.assertEqual((code, err.count("\n")), (1, 1), err)
                self.assertIn(word, err)
                self.assertEqual(os.listdir(self.folder.name), ["tokens.json"])

    def test_tokens_are_told_apart_by_content_and_have_one_dimension(self):
        tokens = read_safetensors(MODEL / "expected_fp32.safetensors")["tokens"][1][:40]
        self.path("tokens.json").write_text(json.dumps(list(tokens)))
        wanted = self.compute(MODEL, self.path("tokens.json")).read_bytes()
        self.path("tokens.safetensors").write_text(json.dumps(list(tokens)))
        self.assertEqual(self.compute(MODEL, self.path("tokens.safetensors")).read_bytes(), wanted)
        write_safetensors(self.path("tokens"), {"tokens": ([40], tokens)})
        self.assertEqual(self.compute(MODEL, self.path("tokens")).read_bytes(), wanted)
        write_safetensors(self.path("tokens"), {"tokens": ([2, 20], tokens)})
        code, _, err = run("logits", "-m", MODEL, "--tokens", self.path("tokens"), "-o",
                           self.path("out.safetensors"))
        self.assertEqual(code, 1)
        self.assertIn("tokens: tokens: shape [2, 20], want [n]", err)

    def test_json_report(self):
        self.path("tokens.json").write_text("[5, 6, 7]")
        report = succeed_json("logits", "-m", MODEL, "--tokens", self.path("tokens.json"), "-o",
                              self.path("out.safetensors"))
        self.assertEqual((report["tokens"], report["selection_width"]), (3, 64))
        for option in (["--top-k-tokens", 50000000], ["--attention", "window:50000000"]):
            report = succeed_json("logits", "-m", MODEL, "--tokens", self.path("tokens.json"), "-o",
                                  self.path("out.safetensors"), *option)
            self.assertEqual(report["selection_width"], 64)

    def test_an_output_that_cannot_be_written_is_refused_before_anything_is_computed(self):
        self.path("tokens.json").write_text(json.dumps([1] * 100000))
        os.mkfifo(self.path("pipe"))
        for out in (self.folder.name, "/dev/null", self.path("pipe"), self.path("no/such/out")):
            code, _, err = run("logits", "-m", MODEL, "--tokens", self.path("tokens.json"), "-o",
                               out, "-q", timeout=60)
            self.assertEqual((code, err.count("\n")), (1, 1), err)
            self.assertTrue(err.startswith(f"dsa logits: {out}: "), err)
        self.assertEqual(sorted(os.listdir(self.folder.name)), ["pipe", "tokens.json"])


if __name__ == "__main__":
    tier = sys.argv.pop(1)
    if tier not in runnable_tiers():
        print(f"this CPU or build does not run the tier {tier}")
        sys.exit(SKIPPED)
    os.environ["DSA_CPU_TIER"] = tier
    from dsa_program import main
    main()
