"""Help, versions, mistakes on the command line, and how failures are reported."""
import json
import pathlib
import subprocess
import tempfile
import unittest

from dsa_program import MODEL, PROGRAM, run, succeed

COMMANDS = ["run", "logits", "perplexity", "inspect", "tokenize", "cpu", "verify", "cache", "serve"]


class CommandLine(unittest.TestCase):

    def assert_one_line(self, err, begins, *words):
        self.assertEqual(err.count("\n"), 1, err)
        self.assertTrue(err.startswith(begins), err)
        for word in words:
            self.assertIn(word, err)

    def test_every_command_has_a_description_and_examples_in_its_help(self):
        for command in COMMANDS:
            with self.subTest(command=command):
                text = succeed(command, "--help").decode()
                self.assertRegex(text.splitlines()[0], r"^\w+.*\w$")
                self.assertIn(f"\nExamples:\n  dsa {command}", text)
                self.assertLessEqual(max(map(len, text.splitlines())), 130, text)

    def test_the_program_lists_its_commands_and_its_version(self):
        text = succeed("--help").decode()
        for command in COMMANDS:
            self.assertRegex(text, rf"(?m)^  {command} ")
        self.assertRegex(succeed("--version").decode(), r"^dsa \d+\.\d+\.\d+\n$")

    def test_an_unknown_option_is_one_line_with_a_hint_and_exit_code_2(self):
        for command in COMMANDS:
            with self.subTest(command=command):
                code, out, err = run(command, "--no-such-option")
                self.assertEqual((code, out), (2, b""))
                self.assert_one_line(err, f"dsa {command}: ", f"dsa {command} --help")

    def test_a_command_that_does_not_exist_is_named(self):
        code, _, err = run("frobnicate")
        self.assertEqual(code, 2)
        self.assert_one_line(err, "dsa: ", "frobnicate", "dsa --help")

    def test_no_command_at_all_is_a_usage_error(self):
        code, _, err = run()
        self.assertEqual(code, 2)
        self.assert_one_line(err, "dsa: ")

    def test_a_bad_value_names_the_option_the_value_and_what_was_wanted(self):
        cases = [
            (["--attention", "window"], ["--attention", '"window"', "window:N"]),
            (["--attention", "window:0"], ["--attention", '"window:0"']),
            (["--kv-cache", "fp4"], ["--kv-cache", '"fp4"', "fp8, bf16 or f32"]),
            (["--threads", "0"], ["--threads", '"0"', "at least 1"]),
            (["-n", "many"], ["--max-tokens", '"many"', "whole number"]),
            (["--temperature", "-1"], ["--temperature", "-1"]),
            (["--top-p", "1.5"], ["--top-p", "1.5"]),
            (["--chunk", "70000"], ["--chunk", "70000", "8192"]),
            (["--keep-first", "100"], ["--keep-first", "100", "at most the 64 tokens"]),
            (["--keep-recent", "5", "--top-k-tokens", "4"], ["--keep-recent", "5", "at most 4"]),
            (["--keep-first", "1", "--keep-recent", "64"], ["--keep-recent", "at most 63"]),
            (["--attention", "window:9999999999"], ["--attention", "1073741824"]),
        ]
        for args, words in cases:
            with self.subTest(args=args):
                code, out, err = run("run", "-m", MODEL, "-p", "x", *args)
                self.assertEqual((code, out), (2, b""), err)
                self.assert_one_line(err, "dsa run: ", *words)

    def test_an_option_without_an_effect_is_refused(self):
        run_model = ["run", "-m", MODEL, "-p", "x"]
        verify_model = ["verify", "-m", MODEL, "--expected", MODEL / "expected_fp32.safetensors"]
        one_file = ["inspect", MODEL / "model.safetensors"]
        cases = [
            (run_model + ["--attention", "dense"], ["--keep-first", "1"]),
            (run_model + ["--attention", "dense"], ["--keep-recent", "1"]),
            (run_model + ["--attention", "window:9"], ["--top-k-tokens", "9"]),
            (["verify"], ["--tolerance", "1"]),
            (["verify"], ["--threads", "1"]),
            (["verify"], ["--kv-cache", "bf16"]),
            (verify_model + ["--kv-cache", "bf16"], ["--tolerance", "1"]),
            (one_file, ["--ctx", "64"]),
            (one_file, ["--batch", "2"]),
            (one_file, ["--kv-cache", "f32"]),
            (one_file, ["--index-cache", "f32"]),
        ]
        for args, option in cases:
            with self.subTest(args=args, option=option):
                code, out, err = run(*args, *option)
                self.assertEqual((code, out), (2, b""), err)
                self.assert_one_line(err, f"dsa {args[0]}: {option[0]}: has no effect", "want ")
        code, _, err = run("tokenize", MODEL, "--chat", "chat.json")
        self.assertEqual(code, 2)
        self.assert_one_line(err, "dsa tokenize: a directory with --chat", "--json")

    def test_an_empty_name_is_no_file(self):
        for args in (["run", "-m", MODEL, "-f", ""], ["tokenize", MODEL, "-f", ""],
                     ["tokenize", "--chat", ""]):
            code, out, err = run(*args, stdin=b"text")
            self.assertEqual((code, out), (1, b""))
            self.assert_one_line(err, f'dsa {args[0]}: "": cannot open: ')

    def test_a_context_beyond_the_model_warns(self):
        with tempfile.TemporaryDirectory() as folder:
            tokens = pathlib.Path(folder) / "tokens.json"
            tokens.write_text(json.dumps([1] * 1025))
            for args in (["run", "-m", MODEL, "-p", "x", "-n", "1", "--ctx", "1025"],
                         ["logits", "-m", MODEL, "--tokens", tokens, "-o",
                          pathlib.Path(folder) / "out"],
                         ["perplexity", "-m", MODEL, "-f", MODEL / "heldout.txt", "--ctx", "1025",
                          "--max-windows", "1"]):
                with self.subTest(command=args[0]):
                    code, _, err = run(*args)
                    self.assertEqual(code, 0)
                    self.assertIn(f"dsa {args[0]}: warning: a context of 1,025 tokens exceeds", err)
                    self.assertNotIn("warning", run(*args, "-q")[2])

    def test_a_model_that_is_not_there_is_one_line_with_its_path_and_exit_code_1(self):
        commands = [
            ["run", "-m", "no/such/dir", "-p", "x"],
            ["logits", "-m", "no/such/dir", "--tokens", "x.json", "-o", "out.safetensors"],
            ["perplexity", "-m", "no/such/dir", "-f", "x.txt"],
            ["inspect", "no/such/dir"],
            ["tokenize", "no/such/dir", "-p", "x"],
            ["verify", "-m", "no/such/dir", "--expected", "x.safetensors"],
        ]
        for args in commands:
            with self.subTest(command=args[0]):
                code, out, err = run(*args)
                self.assertEqual((code, out), (1, b""))
                self.assert_one_line(err, f"dsa {args[0]}: ", "no/such/dir")

    def test_input_files_that_are_not_there_are_named(self):
        commands = [
            ["run", "-m", MODEL, "-f", "gone.txt"],
            ["logits", "-m", MODEL, "--tokens", "gone.txt", "-o", "out.safetensors"],
            ["perplexity", "-m", MODEL, "-f", "gone.txt"],
            ["tokenize", MODEL, "-f", "gone.txt"],
            ["tokenize", "--chat", "gone.txt"],
        ]
        for args in commands:
            with self.subTest(command=args[0]):
                code, _, err = run(*args)
                self.assertEqual(code, 1)
                self.assert_one_line(err, f"dsa {args[0]}: gone.txt: ")

    def test_an_unknown_tier_is_refused_by_every_command_that_computes(self):
        for args in (["cpu"], ["run", "-m", MODEL, "-p", "x"]):
            with self.subTest(command=args[0]):
                code, _, err = run(*args, env={"DSA_CPU_TIER": "mmx"})
                self.assertEqual(code, 1)
                self.assert_one_line(err, f"dsa {args[0]}: ", "DSA_CPU_TIER", "mmx")

    def test_a_reader_that_goes_away_ends_the_program_quietly(self):
        text = MODEL / "heldout.txt"  # its ids are more than a pipe holds
        process = subprocess.Popen([PROGRAM, "tokenize", str(MODEL), "-f", str(text)],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.read(1)
        process.stdout.close()
        self.assertEqual(process.stderr.read(), b"")
        process.stderr.close()
        self.assertNotEqual(process.wait(timeout=60), 0)

    def test_a_full_disk_is_an_error(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PROGRAM, "cpu"], stdout=full, stderr=subprocess.PIPE,
                                  timeout=60, check=False)
        self.assertEqual(done.returncode, 1)
        self.assert_one_line(done.stderr.decode(), "dsa cpu: standard output: ")


if __name__ == "__main__":
    from dsa_program import main
    main()
