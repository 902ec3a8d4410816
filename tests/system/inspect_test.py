"""dsa inspect and dsa cpu."""
import array
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from dsa_program import (MODEL, PROGRAM, SOURCE_DIR, model_with, run, succeed, succeed_json,
                         write_safetensors)


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
        self.assertEqual(bytes_of("--ctx", "1", "--batch", "64"), 64 * bytes_of("--ctx", "1"))
        self.assertEqual(bytes_of("--kv-cache", "f32"), 2 * bytes_of("--kv-cache", "bf16"))

    def test_a_single_file_is_shown_without_a_configuration(self):
        out = succeed("inspect", MODEL / "model.safetensors").decode()
        self.assertIn("model.embed_tokens.weight", out)
        self.assertNotIn("Memory for", out)

    def test_a_tokenizer_that_cannot_be_read_is_a_note(self):
        self.assertEqual(succeed_json("inspect", MODEL)["notes"], [])
        with tempfile.TemporaryDirectory() as folder:
            model = model_with(folder, tokenizer={})
            (note,) = succeed_json("inspect", model)["notes"]
            self.assertIn("only logits and verify can be run: ", note)
            self.assertIn("tokenizer.json", note)
            (model / "tokenizer.json").unlink()
            self.assertIn("Notes (1)", succeed("inspect", model).decode())

    def test_says_which_chat_encoding_there_is(self):
        self.assertIn("chat           DeepSeek-V3.2's encoding",
                      succeed("inspect", MODEL).decode())
        with tempfile.TemporaryDirectory() as folder:
            model = pathlib.Path(folder) / "glm"
            shutil.copytree(SOURCE_DIR / "tests" / "checkpoints" / "glm5-mini", model)
            shutil.copy(MODEL / "tokenizer.json", model)
            (note,) = succeed_json("inspect", model)["notes"]
            self.assertIn('no chats: model_type: "glm_moe_dsa"', note)
            self.assertIn("chat           no encoding", succeed("inspect", model).decode())

    def test_names_from_a_file_stay_on_their_line(self):
        name = "a\nerror: fake\x1b[31m\u009b" + "long" * 99
        with tempfile.TemporaryDirectory() as folder:
            model = model_with(folder)
            (model / "model.safetensors").unlink()
            write_safetensors(model / "model.safetensors", {name: ([1], array.array("i", [1]))})
            for args in ([model], [model / "model.safetensors"],
                         [model / "model.safetensors", "--tensors"]):
                _, out, err = run("inspect", *args)
                shown = out.decode() + err
                self.assertIn("a\\nerror: fake\\x1b[31m\\u009b", shown)
                self.assertFalse(re.search("(?m)^error|[\x1b\u009b]|(long){60}", shown))
            write_safetensors(model / "model.safetensors", {name: ([2], array.array("i", [1]))})
            code, out, err = run("inspect", model)
            self.assertEqual((code, out, err.count("\n")), (1, b"", 1), err)
            self.assertFalse(re.search("[\x1b\u009b]|(long){60}", err), err)

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

    def test_every_refused_field_is_listed_and_unknown_ones_can_be_ignored(self):
        config = json.loads((MODEL / "config.json").read_text())
        with tempfile.TemporaryDirectory() as folder:
            model = model_with(folder, config={**config, "hidden_act": "gelu", "novel": 1, "new": 2})
            code, out, _ = run("inspect", model, "--json")
            self.assertEqual(code, 1)
            self.assertEqual([problem.split("config.json: ")[1].split(":")[0]
                              for problem in json.loads(out)["problems"]],
                             ["hidden_act", "new", "novel"])
        with tempfile.TemporaryDirectory() as folder:
            model = model_with(folder, config={**config, "novel": 1})
            ignore = ("-m", model, "-p", "And", "-n", "1", "--ignore-unknown-fields")
            code, _, err = run("run", *ignore[:-1])
            self.assertEqual(code, 1)
            self.assertIn("novel: unknown field", err)
            code, _, err = run("run", *ignore)
            self.assertEqual(code, 0, err)
            self.assertIn("config.json: novel: unknown field, ignored\n", err)
            found = succeed_json("inspect", model, "--ignore-unknown-fields")
            self.assertEqual(found["problems"], [])
            self.assertIn("novel: unknown field, ignored", found["notes"][0])

    def test_cpu_names_the_tier_that_is_used(self):
        found = succeed_json("cpu")
        self.assertIn("scalar", found["runnable"])
        for tier in found["runnable"]:
            self.assertEqual(succeed_json("cpu", env={"DSA_CPU_TIER": tier})["tier"], tier)
            out = succeed("cpu", env={"DSA_CPU_TIER": tier}).decode()
            self.assertRegex(out, f"(?m)^tier used +{tier}$")

    def test_cpu_says_how_many_threads_and_why(self):
        cpus = sorted(os.sched_getaffinity(0))
        for some in {tuple(cpus), tuple(cpus[:1])}:
            done = subprocess.run([PROGRAM, "cpu", "--json"], capture_output=True, check=True,
                                  preexec_fn=lambda: os.sched_setaffinity(0, some))
            found = json.loads(done.stdout)
            self.assertEqual(found["affinity_cpus"], len(some))
            limit = found["quota_cpus"] or len(some)
            self.assertEqual(found["threads"], min(len(some), math.ceil(limit)))
            self.assertEqual(found["quota_cpus"] is None, found["quota_file"] is None)


if __name__ == "__main__":
    from dsa_program import main
    main()
