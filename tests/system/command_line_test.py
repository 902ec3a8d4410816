"""Help, versions, mistakes on the command line, and how failures are reported."""
import subprocess
import unittest

from dsa_program import MODEL, PROGRAM, run, succeed

COMMANDS = ["run", "logits", "perplexity", "inspect", "tokenize", "cpu", "verify"]


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
            (["--temperature", "-1"], ["temperature", "-1"]),
            (["--top-p", "1.5"], ["top_p", "1.5"]),
        ]
        for args, words in cases:
            with self.subTest(args=args):
                code, out, err = run("run", "-m", MODEL, "-p", "x", *args)
                self.assertEqual((code, out), (2, b""), err)
                self.assert_one_line(err, "dsa run: ", *words)

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
