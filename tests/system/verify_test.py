"""dsa verify: kernels, and a checkpoint against known outputs."""
import pathlib
import shutil
import tempfile
import unittest

from dsa_program import (CONFORMANCE, IN_FLOAT, MODEL, read_safetensors, run, runnable_tiers,
                         succeed, succeed_json, write_safetensors)

EXPECTED = MODEL / "expected_fp32.safetensors"


class Verify(unittest.TestCase):

    def test_every_kernel_of_every_runnable_tier_passes(self):
        found = succeed_json("verify")
        self.assertTrue(found["passed"])
        self.assertEqual({check["tier"] for check in found["checks"]}, set(runnable_tiers()))
        self.assertRegex(succeed("verify").decode(), r"(?m)^tier +kernel +cases +error / tolerance$")

    def test_the_trained_model_is_what_an_independent_implementation_computed(self):
        out = succeed("verify", "-m", MODEL, "--expected", EXPECTED).decode()
        self.assertRegex(out, r"selections +3,072 of 3,072 rows the same, 100\.00 %")
        self.assertTrue(out.endswith("passed\n"))

    def test_quantised_caches_are_held_to_medians(self):
        model = CONFORMANCE / "tiny-v32-yarn"
        if not model.is_dir():
            self.skipTest(f"{model} is not there")
        found = succeed_json("verify", "-m", model, "--expected",
                             model / "expected_fp8.safetensors", "--kv-cache", "fp8",
                             "--index-cache", "fp8")
        self.assertFalse(found["exact"])
        self.assertLessEqual(found["median_difference"], 0.02)

    def test_a_checkpoint_with_another_weight_fails(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("config.json", "model.safetensors"):
                shutil.copy(MODEL / name, folder)
            path = pathlib.Path(folder) / "model.safetensors"
            path.chmod(0o644)
            data = bytearray(path.read_bytes())
            data[-2001:-1001] = bytes(1000)
            path.write_bytes(data)
            code, out, err = run("verify", "-m", folder, "--expected", EXPECTED)
            # A slow machine also sees lines of progress before the one that matters.
            lines = [line for line in err.splitlines() if not line.startswith("computing: ")]
            self.assertEqual((code, len(lines)), (1, 1), err)
            self.assertTrue(out.decode().endswith("FAILED\n"))
            self.assertIn("outputs differ", err)

    def test_an_expected_file_of_another_model_is_refused_by_shape(self):
        model = CONFORMANCE / "tiny-v32-yarn"
        if not model.is_dir():
            self.skipTest(f"{model} is not there")
        code, _, err = run("verify", "-m", MODEL, "--expected",
                           model / "expected_fp32.safetensors")
        self.assertEqual(code, 1)
        self.assertRegex(err, r"logits: shape \[128, 320\], want \[128, 2048\]")

    def test_selections_of_other_attention_are_compared_in_their_own_width(self):
        wanted = read_safetensors(EXPECTED)
        for mode in ("dense", "window:16"):
            with self.subTest(mode=mode), tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / "expected.safetensors"
                succeed("logits", "-m", MODEL, "--tokens", EXPECTED, "-o", path, "--attention", mode,
                        *IN_FLOAT, "-q")
                write_safetensors(path, {**read_safetensors(path), "tokens": wanted["tokens"]})
                found = succeed_json("verify", "-m", MODEL, "--expected", path, "--attention", mode)
                self.assertEqual(found["same_selections"], 6 * 512)
                code, _, err = run("verify", "-m", MODEL, "--expected", EXPECTED, "--attention",
                                   mode.replace("16", "17"))
                self.assertEqual(code, 1)
                self.assertRegex(err, r"topk\.0: shape \[512, 64\], want \[512, (512|17)\]")

    def test_a_model_without_an_expectation_is_a_usage_error(self):
        self.assertEqual(run("verify", "-m", MODEL)[0], 2)


if __name__ == "__main__":
    from dsa_program import main
    main()
