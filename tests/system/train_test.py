"""dsa train, convert, plot and the texts of tokenize: from text to a model that runs; killed runs
that go on; what is wrong with configurations and data, in one line."""
import json
import math
import os
import pathlib
import re
import resource
import signal
import subprocess
import tempfile
import time
import unittest
import xml.dom.minidom

from dsa_program import MODEL, PROGRAM, SANITIZED, run, succeed

SIZES = """
[model]
hidden = 48
layers = 2
heads = 2
q_lora_rank = 32
kv_lora_rank = 32
qk_nope_head_dim = 16
qk_rope_head_dim = 16
v_head_dim = 16
intermediate = 96
experts = 4
expert_intermediate = 32
[indexer]
heads = 2
head_dim = 16
top_k = 16
"""

CONFIG = """
stage = "{stage}"
output = "{output}"
threads = 2
{init}
{sizes}
[data]
text = "{text}"
tokenizer = "{tokenizer}"
context = 96
[batch]
sequences = 4
sequences_per_pass = 2
[optimizer]
steps = {steps}
learning_rate = 5e-3
[checkpoint]
every = 5
[evaluate]
every = 10
sequences = 2
"""


def last_line(text):
    return text.strip().splitlines()[-1]


class Train(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.dir = pathlib.Path(cls.folder.name)
        lines = (MODEL / "heldout.txt").read_text().splitlines()[:600]
        (cls.dir / "text").mkdir()
        for i in range(0, len(lines), 30):
            (cls.dir / "text" / f"{i:04}.txt").write_text("\n".join(lines[i:i + 30]) + "\n")
        out = succeed("tokenize", "--train", cls.dir / "text", "-o", cls.dir / "tokenizer.json",
                      "--vocab", 512)
        assert b"512 tokens" in out, out

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def config(self, name, stage="pretrain", steps=20, init=None):
        path = self.dir / f"{name}.toml"
        path.write_text(CONFIG.format(
            stage=stage, output=self.dir / name, text=self.dir / "text", tokenizer=self.dir,
            steps=steps, init=f'init = "{init}"' if init else "", sizes="" if init else SIZES))
        return path

    def log(self, name):
        return [json.loads(line) for line in
                (self.dir / name / "log.jsonl").read_text().splitlines()]

    def losses(self, name, key="loss"):
        return [line[key] for line in self.log(name) if line["type"] == "step"]

    def final_bytes(self, name):
        return [(self.dir / name / "latest" / file).read_bytes()
                for file in ("model.safetensors", "optimizer.safetensors", "training_state.json")]

    def refuse(self, *args):
        """The one line a refused run ends with."""
        code, out, err = run("train", *args, "-q")
        self.assertEqual((code, out), (1, b""), err)
        self.assertEqual(err.count("\n"), 1, err)
        return err

    def test_three_stages_give_a_model_that_runs(self):
        init = None
        for stage in ("pretrain", "warmup", "sparse"):
            code, out, err = run("train", self.config(f"all-{stage}", stage, 30, init))
            self.assertEqual(code, 0, err)
            init = self.dir / f"all-{stage}" / "latest"
            self.assertEqual(out.decode(), f"{self.dir}/all-{stage}/step-00000030\n")
            self.assertRegex(err, r"step 30 / 30 .* tokens/s +\d+ % of peak")
            self.assertIn("held-out loss", err)
        pretrain = self.losses("all-pretrain")
        self.assertLess(pretrain[-1], pretrain[0] - 0.5)
        kl = self.losses("all-warmup", "index_kl")
        self.assertLess(kl[-1], kl[0])
        self.assertLess(self.losses("all-sparse")[-1], pretrain[0] - 0.5)
        text = succeed("run", "-m", init, "-p", "And the", "-n", 8, "--temperature", 0, "-q")
        self.assertTrue(text)
        found = json.loads(succeed("perplexity", "-m", init, "-f", MODEL / "heldout.txt",
                                   "--max-windows", 1, "--ctx", 96, "--json"))
        self.assertGreater(found["perplexity"], 1)
        svg = self.dir / "all.svg"
        succeed("plot", self.dir / "all-pretrain", self.dir / "all-warmup" / "log.jsonl",
                self.dir / "all-sparse", "-o", svg)
        text = svg.read_text()
        xml.dom.minidom.parseString(text)
        for label in ("pretrain held out", "warmup recall", "sparse mass"):
            self.assertIn(label, text)

    def test_killed_at_any_moment_it_ends_as_one_that_was_not(self):
        succeed("train", self.config("straight", steps=25), "-q")
        command = [PROGRAM, "train", str(self.config("killed", steps=25)), "-q"]
        n_kills = 0
        for i in range(40):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            try:
                process.wait(timeout=0.02 + 0.03 * i)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                n_kills += 1
                continue
            self.assertEqual(process.returncode, 0)
            break
        self.assertGreater(n_kills, 0)
        self.assertEqual(self.final_bytes("killed"), self.final_bytes("straight"))
        self.assertEqual(self.losses("killed"), self.losses("straight"))
        left = [name for name in os.listdir(self.dir / "killed")
                if name.startswith(".") and name != ".lock"]
        self.assertEqual(left, [])

    def test_ctrl_c_saves(self):
        process = subprocess.Popen([PROGRAM, "train", str(self.config("stopped", steps=100000))],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        log = self.dir / "stopped" / "log.jsonl"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (log.exists() and log.stat().st_size > 500):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        step = int(re.search(rb"Ctrl-C after step ([\d,]+), saved", err)[1].replace(b",", b""))
        self.assertEqual(out.decode().strip(), f"{self.dir}/stopped/step-{step:08}")
        self.assertEqual(len(self.losses("stopped")), step)

    def test_a_full_disk_loses_nothing_that_was_saved(self):
        config = str(self.config("full", steps=60))
        process = subprocess.Popen([PROGRAM, "train", config, "-q"])
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (self.dir / "full" / "latest").exists():
            time.sleep(0.005)
        process.kill()
        process.wait()
        checkpoint = (self.dir / "full" / "latest").resolve()
        self.assertNotEqual(checkpoint.name, "step-00000060")
        before = (checkpoint / "optimizer.safetensors").read_bytes()

        def small_files():
            size = 100_000  # less than a checkpoint
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        done = subprocess.run([PROGRAM, "train", config, "-q"], capture_output=True,
                              preexec_fn=small_files, restore_signals=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(b"cannot write", done.stderr)
        self.assertIn(checkpoint.name.encode(), done.stderr)
        self.assertEqual((checkpoint / "optimizer.safetensors").read_bytes(), before)
        succeed("train", config, "-q")  # with room again
        succeed("train", config, "-q", "--set", f"output={self.dir}/not-full")
        self.assertEqual(self.final_bytes("full")[0], self.final_bytes("not-full")[0])

    @unittest.skipIf(SANITIZED, "memory is not the program's own")
    def test_says_when_the_system_refuses_a_thread(self):
        def small_memory():
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

        for args in (["train", self.config("threads"), "--set", "threads=1024", "-q"],
                     ["perplexity", "-m", MODEL, "-f", MODEL / "heldout.txt", "--threads", 1024]):
            done = subprocess.run([PROGRAM, *map(str, args)], capture_output=True,
                                  preexec_fn=small_memory, restore_signals=False)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(b"threads: 1024, but the system gives ", done.stderr)

    def test_says_what_is_wrong_with_a_configuration(self):
        good = self.config("bad")
        text = good.read_text()
        for old, new, words in (
                ("context = 96", "contxt = 96", "data.contxt: unknown key; the nearest is data.context"),
                ("context = 96", "context = \"96\"", 'data.context: "96", want an integer'),
                ("steps = 20", "steps = 0", "optimizer.steps: 0, want an integer from 1"),
                ("stage = \"pretrain\"", "", "stage: absent"),
                ("[data]", "[data", "not TOML"),
                ("experts = 4", "experts = 1", "num_experts_per_tok"),
                (f'text = "{self.dir}/text"', 'text = "/nonexistent"', "/nonexistent")):
            path = self.dir / "changed.toml"
            path.write_text(text.replace(old, new))
            self.assertIn(words, self.refuse(path))
        self.assertIn("no-such.toml", self.refuse(self.dir / "no-such.toml"))
        self.assertIn("nearest is optimizer.steps",
                      self.refuse(good, "--set", "optimizer.stps=3"))
        self.assertIn("/nonexistent/config.json", self.refuse(good, "--init", "/nonexistent"))
        code, _, err = run("train")
        self.assertEqual(code, 2, err)
        keys = succeed("train", "--keys").decode()
        self.assertIn("optimizer.weight_decay", keys)

    def test_says_what_is_wrong_with_data(self):
        config = self.config("data")
        tokens = self.dir / "broken.tok"
        tokens.write_bytes(b"DSATOKEN" + bytes(100))
        self.assertIn("broken.tok", self.refuse(config, "--set", f"data.tokens={tokens}"))
        good = self.dir / "good.tok"
        succeed("tokenize", self.dir, "--pack", self.dir / "text", "-o", good)
        data = bytearray(good.read_bytes())
        data[100] ^= 1
        tokens.write_bytes(data)
        self.assertIn("checksum", self.refuse(config, "--set", f"data.tokens={tokens}"))
        succeed("tokenize", MODEL, "--pack", self.dir / "text", "-o", tokens, "-q")
        self.assertIn("another tokenizer", self.refuse(config, "--set", f"data.tokens={tokens}"))
        empty = self.dir / "empty.txt"
        empty.write_text("")
        self.assertIn("no text", self.refuse(config, "--set", f"data.text={empty}"))
        code, _, err = run("tokenize", "--train", self.dir / "none", "-o", self.dir / "t.json")
        self.assertEqual((code, err.count("\n")), (1, 1), err)
        for args in (["tokenize", "--train", empty], ["tokenize", "--pack", empty, "-o", "x"]):
            self.assertEqual(run(*args)[0], 2)

    def test_plot_names_a_log_it_cannot_read(self):
        log = self.dir / "bad.jsonl"
        for text, words in (("{\n", "bad.jsonl:1"), ("[]", "want an object"), ("", "no steps")):
            log.write_text(text)
            code, _, err = run("plot", log, "-o", self.dir / "bad.svg")
            self.assertEqual((code, err.count("\n")), (1, 1), err)
            self.assertIn(words, err)
        self.assertFalse((self.dir / "bad.svg").exists())

    def test_plot_draws_what_can_be_drawn_of_odd_values(self):
        log, svg = self.dir / "odd.jsonl", self.dir / "odd.svg"
        ulp = math.nextafter(2.5e17, math.inf)
        for losses in ([1e308, -1e308, 2], [1e300, -1e300], [2.5e17, ulp], [5e-324, 0], [None, 3]):
            lines = [json.dumps({"type": "step", "step": i, "loss": loss, "index_kl_of_layer": odd})
                     for i, (loss, odd) in enumerate(zip(losses, (3, {"a": 1}, "x")))]
            log.write_text("\n".join(lines) + '\n{"type": "st')
            succeed("plot", log, "-o", svg)
            xml.dom.minidom.parseString(svg.read_text())
            self.assertNotRegex(svg.read_text(), r"\b(nan|inf)\b|[ML ]-?(nan|inf)")


class Convert(unittest.TestCase):

    def test_an_fp8_model_runs_like_its_source(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "fp8"
            report = json.loads(succeed("convert", MODEL, out, "--type", "fp8", "--shard-gb",
                                        "0.004", "--json"))
            self.assertGreater(report["n_files"], 1)
            worst = max(error["relative"] for error in report["errors"])
            self.assertLess(worst, 0.04)
            self.assertGreater(worst, 0.01)
            losses = []
            for model in (MODEL, out):
                found = json.loads(succeed("perplexity", "-m", model, "-f", MODEL / "heldout.txt",
                                           "--max-windows", 1, "--ctx", 256, "--json"))
                losses.append(found["loss"])
            self.assertLess(abs(losses[0] - losses[1]), 0.05)
            self.assertIn(b"self_attn.q_b_proj", succeed("convert", out, f"{folder}/bf16"))
            code, _, err = run("convert", MODEL, out)
            self.assertEqual(code, 1)
            self.assertIn("is there already", err)

    def test_random_weights_of_a_shape_run(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "random"
            shape = f"{MODEL}/config.json,layers=2,experts=4,vocab=264"
            for kind in ("bf16", "fp8"):
                model = out / kind
                succeed("convert", "--random", shape, model, "--type", kind)
                succeed("run", "-m", model, "-p", "abc", "-n", 4, "--temperature", 0, "-q")
            succeed("convert", "--random", f"{MODEL}/config.json,layers=1", out / "named",
                    "--tokenizer", MODEL)
            succeed("run", "-m", out / "named", "-p", "abc", "-n", 4, "-q")
            code, _, err = run("convert", "--random", f"{MODEL}/config.json,vocab=100", out / "x")
            self.assertEqual(code, 1)
            self.assertIn("vocab_size: 100", err)


if __name__ == "__main__":
    from dsa_program import main
    main()
