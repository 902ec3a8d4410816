"""dsa inspect and dsa cpu."""
import json
import pathlib
import shutil
import tempfile
import unittest

from dsa_program import MODEL, run, succeed, succeed_json


class Inspect(unittest.TestCase):

    def test_people_see_configuration_tensors_and_memory(self):
        out = succeed("inspect", MODEL).decode()
        for line in (r"^model +deepseek_v32$", r"^layers +6 \(1 dense, 5 mixture",
                     r"^indexer +8 heads x 128, selects 64 tokens, runs in 6 of 6",
                     r"^context +1,024$", r"^Memory for 1 x 1,024 tokens$",
                     r"^ +6 +BF16 .* model\.layers\.\*\.self_attn\.q_a_proj\.weight$",
                     r"^total +[\d.]+ MB"):
            self.assertRegex(out, f"(?m){line}")
        self.assertNotIn("Problems", out)

    def test_json_lists_every_tensor(self):
        found = succeed_json("inspect", MODEL)
        self.assertEqual(sum(t["bytes"] for t in found["tensors"]), found["total_bytes"])
        self.assertEqual(found["config"]["index_topk"], 64)
        self.assertEqual((found["problems"], found["unused"]), ([], []))
        names = [tensor["name"] for tensor in found["tensors"]]
        self.assertIn("model.layers.0.self_attn.indexer.wq_b.weight", names)
        listed = succeed("inspect", MODEL, "--tensors").decode()
        self.assertTrue(all(name in listed for name in names))

    def test_memory_grows_with_context_batch_and_format(self):
        def bytes_of(*args):
            return succeed_json("inspect", MODEL, *args)["memory"]["latent_cache_bytes"]
        self.assertEqual(bytes_of("--ctx", "2048"), 2 * bytes_of("--ctx", "1024"))
        self.assertEqual(bytes_of("--batch", "3"), 3 * bytes_of())
        self.assertEqual(bytes_of("--kv-cache", "f32"), 2 * bytes_of("--kv-cache", "bf16"))

    def test_a_single_file_is_shown_without_a_configuration(self):
        out = succeed("inspect", MODEL / "model.safetensors").decode()
        self.assertIn("model.embed_tokens.weight", out)
        self.assertNotIn("Memory for", out)

    def test_problems_are_listed_and_give_exit_code_1(self):
        with tempfile.TemporaryDirectory() as folder:
            config = json.loads((MODEL / "config.json").read_text())
            config["hidden_size"] = 512
            (pathlib.Path(folder) / "config.json").write_text(json.dumps(config))
            shutil.copy(MODEL / "model.safetensors", folder)
            code, out, err = run("inspect", folder)
            self.assertEqual((code, err.count("\n")), (1, 1), err)
            self.assertRegex(err, r"^dsa inspect: .* \d+ problems\n$")
            self.assertRegex(out.decode(), r"Problems \(\d+\)")
            self.assertIn("model.embed_tokens.weight", out.decode().split("Problems")[1])
            code, out, _ = run("inspect", folder, "--json")
            self.assertEqual(code, 1)
            self.assertGreater(len(json.loads(out)["problems"]), 1)

    def test_cpu_names_the_tier_that_is_used(self):
        found = succeed_json("cpu")
        self.assertIn("scalar", found["runnable"])
        for tier in found["runnable"]:
            self.assertEqual(succeed_json("cpu", env={"DSA_CPU_TIER": tier})["tier"], tier)
            out = succeed("cpu", env={"DSA_CPU_TIER": tier}).decode()
            self.assertRegex(out, f"(?m)^tier used +{tier}$")


if __name__ == "__main__":
    from dsa_program import main
    main()
