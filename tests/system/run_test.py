"""dsa run on the small trained model."""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from dsa_program import MODEL, PROGRAM, SANITIZED, model_with, run, succeed, succeed_json

PROMPT = "And it came to pass in those days, that"
GREEDY = ["run", "-m", MODEL, "--temperature", "0", "-n", "24"]


def long_prompt(n_bytes=1000):
    return (MODEL / "heldout.txt").read_text()[:n_bytes]


class Run(unittest.TestCase):

    def test_greedy_text_is_the_same_every_time_and_for_any_number_of_threads(self):
        texts = {succeed(*GREEDY, "-p", PROMPT, "--threads", n) for n in (1, 2, 2)}
        self.assertEqual(len(texts), 1)
        self.assertGreater(len(texts.pop()), 24)

    def test_a_seed_makes_sampled_text_repeatable(self):
        args = ["run", "-m", MODEL, "-n", "24", "-p", PROMPT, "--temperature", "1", "--seed"]
        self.assertEqual(succeed(*args, "7"), succeed(*args, "7"))
        self.assertNotEqual(succeed(*args, "7"), succeed(*args, "8"))

    def test_option_file_and_standard_input_give_the_same_text(self):
        wanted = succeed(*GREEDY, "-p", PROMPT)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "prompt.txt"
            path.write_text(PROMPT)
            self.assertEqual(succeed(*GREEDY, "-f", path), wanted)
            path.write_text(PROMPT + "\n")
            self.assertEqual(succeed(*GREEDY, "-f", path), wanted)
        self.assertEqual(succeed(*GREEDY, stdin=PROMPT.encode()), wanted)
        self.assertEqual(succeed(*GREEDY, "-f", "-", stdin=PROMPT.encode()), wanted)

    def test_the_chunk_of_the_prompt_does_not_change_the_text(self):
        wanted = succeed(*GREEDY, "-p", long_prompt(), "--kv-cache", "f32", "--index-cache", "f32")
        for chunk in (1, 7, 64):
            self.assertEqual(succeed(*GREEDY, "-p", long_prompt(), "--chunk", chunk, "--kv-cache",
                                     "f32", "--index-cache", "f32"), wanted)

    def test_the_report_tells_speed_memory_and_whether_dsa_was_active(self):
        _, _, err = run(*GREEDY, "-p", long_prompt())
        self.assertRegex(err, r"(?m)^prefill +[\d,]+ tokens in .* [\d,.]+ tokens/s$")
        self.assertRegex(err, r"(?m)^decode +23 tokens in .* [\d,.]+ tokens/s$")
        self.assertRegex(err, r"(?m)^memory +weights [\d.]+ MB, latent cache .*, index cache ")
        self.assertRegex(err, r"(?m)^attention DSA active: 64 of [\d,]+ tokens per query$")
        _, _, err = run(*GREEDY, "-p", "In the beginning")
        self.assertIn("DSA not active: context of ", err)
        self.assertIn("is within the budget of 64", err)
        _, _, err = run(*GREEDY, "-p", "In the beginning", "--quiet")
        self.assertEqual(err, "")

    def test_attention_modes_change_the_text_only_beyond_the_budget(self):
        short = [succeed(*GREEDY, "-p", "In the beginning", "--attention", mode)
                 for mode in ("dsa", "dense", "window:64")]
        self.assertEqual(len(set(short)), 1)
        documents = [succeed_json(*GREEDY, "-p", long_prompt(), "--attention", mode)
                     for mode in ("dsa", "dense", "window:9")]
        self.assertEqual(len({document["text"] for document in documents}), 3)
        long = [document["attention"] for document in documents]
        self.assertEqual([a["dsa_active"] for a in long], [True, False, False])
        self.assertEqual(long[0]["attended_tokens"], 64)
        self.assertEqual(long[1]["attended_tokens"], long[1]["context_tokens"])
        self.assertEqual(long[2]["attended_tokens"], 9)

    def test_json_is_one_document_with_what_the_text_was_made_of(self):
        text = succeed(*GREEDY, "-p", PROMPT).decode()
        document = succeed_json(*GREEDY, "-p", PROMPT)
        self.assertEqual(document["text"] + "\n", text)
        self.assertEqual(len(document["ids"]), 24)
        self.assertEqual(document["finish_reason"], "length")
        decoded = succeed("tokenize", MODEL, "--ids", " ".join(map(str, document["ids"])))
        self.assertEqual(decoded.decode(), document["text"])
        for field in ("weight_bytes", "latent_cache_bytes", "index_cache_bytes"):
            self.assertGreater(document["memory"][field], 0)
        self.assertGreater(document["decode_tokens_per_second"], 0)

    def test_sampling_defaults_come_from_generation_config(self):
        sampling = succeed_json("run", "-m", MODEL, "-p", PROMPT, "-n", "1")["sampling"]
        stored = json.loads((MODEL / "generation_config.json").read_text())
        self.assertEqual(sampling["temperature"], stored["temperature"])
        self.assertEqual(sampling["top_p"], stored["top_p"])

    def test_bad_values_in_generation_config_are_failures_that_name_the_file(self):
        for field, value, word in (("top_k", 4294967297, "4294967297, want a whole number"),
                                   ("top_k", -1, "-1"), ("top_k", [5], "[5]"),
                                   ("top_k", 1.5, "1.5"), ("top_p", 1.5, "want more than 0"),
                                   ("temperature", 1e300, "1e+300"), ("temperature", -1, "-1"),
                                   ("temperature", "hot" * 99, "..."), ("do_sample", 1, "true"),
                                   ("eos_token_id", 2048, "2047"), ("eos_token_id", [1, -1], "-1"),
                                   ("eos_token_id", "x\n\u001b[31m", "x\\n")):
            with self.subTest(field=field, value=value), tempfile.TemporaryDirectory() as folder:
                model = model_with(folder, generation_config={"do_sample": True, field: value})
                code, out, err = run("run", "-m", model, "-p", PROMPT, "-n", "1")
                self.assertEqual((code, out, err.count("\n")), (1, b"", 1), err)
                self.assertIn(f"generation_config.json: {field}: ", err)
                self.assertIn(word, err)
                self.assertNotIn("--help", err)

    def test_end_of_text_tokens_of_generation_config_end_the_text(self):
        wanted = succeed_json(*GREEDY, "-p", PROMPT)["ids"]
        for ids in (wanted[3], [2000, wanted[3]]):
            with tempfile.TemporaryDirectory() as folder:
                model = model_with(folder, generation_config={"eos_token_id": ids})
                found = succeed_json("run", "-m", model, "-p", PROMPT, "-n", "24")
                self.assertEqual(found["ids"], wanted[:wanted.index(wanted[3])])
                self.assertEqual(found["finish_reason"], "eos")

    def test_a_begin_of_sentence_token_that_is_wanted_but_not_named_is_refused(self):
        config = json.loads((MODEL / "config.json").read_text())
        del config["bos_token_id"]
        with tempfile.TemporaryDirectory() as folder:
            model = model_with(folder, config=config, tokenizer_config={"add_bos_token": True})
            code, _, err = run("run", "-m", model, "-p", PROMPT)
            self.assertEqual((code, err.count("\n")), (1, 1), err)
            self.assertIn("tokenizer_config.json: add_bos_token: true, want a bos_token_id", err)

    def test_the_tokenizer_may_name_the_begin_of_sentence_token(self):
        config = json.loads((MODEL / "config.json").read_text())
        del config["bos_token_id"]
        for token in ("<s>", {"content": "<s>", "special": True}):
            with tempfile.TemporaryDirectory() as folder:
                model = model_with(folder, config=config, tokenizer_config={
                    "add_bos_token": True, "bos_token": token})
                succeed_json("run", "-m", model, "-p", PROMPT, "-n", "1")

    def test_random_weights_of_a_shape_whose_tokens_are_others_run(self):
        with tempfile.TemporaryDirectory() as folder:
            config = json.loads((MODEL / "config.json").read_text())
            del config["bos_token_id"]
            shape = pathlib.Path(folder) / "shape.json"
            shape.write_text(json.dumps({**config, "eos_token_id": [1000, 2000]}))
            model = f"{folder}/random"
            succeed("convert", "--random", f"{shape},layers=1,vocab=512", model)
            succeed_json("run", "-m", model, "-p", "abc", "-n", "2")

    def test_text_ends_before_a_stop_string(self):
        whole = succeed_json(*GREEDY, "-p", PROMPT)["text"]
        stop = whole[10:16]
        cut = succeed_json(*GREEDY, "-p", PROMPT, "--stop", "@@@", "--stop", stop)
        self.assertEqual(cut["text"], whole[:whole.index(stop)])
        self.assertEqual(cut["finish_reason"], "stop")
        self.assertEqual(succeed(*GREEDY, "-p", PROMPT, "--stop", "@@@").decode(), whole + "\n")

    def test_explain_lists_the_best_selected_tokens_of_every_layer(self):
        out = succeed(*GREEDY, "-p", long_prompt(), "--explain", "3").decode()
        table = out[out.index("layer  position"):].splitlines()
        self.assertEqual(len(table), 1 + 6 * 3, out)
        document = succeed_json(*GREEDY, "-p", long_prompt(), "--explain", "3")
        layers = document["explain"]
        self.assertEqual([layer["layer"] for layer in layers], list(range(6)))
        n_context = document["attention"]["context_tokens"]
        for layer in layers:
            self.assertEqual((layer["position"], layer["n_selected"]), (n_context - 1, 64))
            scores = [token["score"] for token in layer["best"]]
            self.assertEqual(scores, sorted(scores, reverse=True))
            for token in layer["best"]:
                self.assertLess(token["position"], n_context)
                self.assertIn("[", token["text"])

    def test_a_prompt_beyond_the_context_is_refused_with_both_sizes(self):
        code, out, err = run(*GREEDY, "-p", long_prompt(), "--ctx", "100")
        self.assertEqual((code, out), (1, b""))
        self.assertRegex(err, r"^dsa run: prompt: [\d,]+ tokens, want at most 99 .*--ctx.*\n$")

    def test_a_full_context_ends_the_text(self):
        document = succeed_json(*GREEDY, "-p", PROMPT, "--ctx", "20")
        self.assertEqual(document["finish_reason"], "context")
        self.assertEqual(document["prompt_tokens"] + len(document["ids"]), 21)

    def test_a_context_beyond_the_model_warns(self):
        _, _, err = run("run", "-m", MODEL, "-p", PROMPT, "-n", "1", "--ctx", "2000")
        self.assertIn("dsa run: warning: a context of 2,000 tokens exceeds the 1,024", err)

    def test_an_empty_prompt_is_refused(self):
        code, _, err = run(*GREEDY, "-p", "")
        self.assertEqual((code, err.count("\n")), (1, 1))

    def test_the_text_arrives_while_it_is_made(self):
        process = subprocess.Popen(
            [PROGRAM, "run", "-m", str(MODEL), "-p", PROMPT, "-n", "4000", "--ctx", "8000",
             "--quiet"], stdout=subprocess.PIPE)
        first = os.read(process.stdout.fileno(), 64)
        still_running = process.poll() is None
        process.kill()
        process.communicate()
        self.assertTrue(first and still_running)

    def test_memory_is_what_inspect_says_and_what_the_process_takes(self):
        formats = ["--kv-cache", "bf16", "--index-cache", "bf16"]
        estimate = succeed_json("inspect", MODEL, "--ctx", "60000", *formats)["memory"]
        process = subprocess.Popen(
            [PROGRAM, "run", "-m", str(MODEL), "-p", long_prompt(), "-n", "2", "--ctx", "60000",
             *formats, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        memory = json.loads(process.stdout.read())["memory"]
        process.stdout.close()
        _, code, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
        for field in ("latent_cache_bytes", "index_cache_bytes", "weight_bytes"):
            self.assertEqual(memory[field], estimate[field])
        program_itself = 40e6  # code, libraries, tokenizer, stacks
        if not SANITIZED:
            self.assertLessEqual(1024 * usage.ru_maxrss,
                                 sum(memory.values()) + program_itself)


if __name__ == "__main__":
    from dsa_program import main
    main()
