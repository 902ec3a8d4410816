"""Ctrl-C: a clean stop, exit code 130, nothing half-written."""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

from dsa_program import MODEL, PROGRAM


def start(*args):
    return subprocess.Popen([PROGRAM, *map(str, args)], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def interrupt(process):
    """Sends Ctrl-C; gives exit code, stdout and stderr."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err.decode()


class Interrupt(unittest.TestCase):

    def test_run_keeps_the_text_so_far_and_reports(self):
        process = start("run", "-m", MODEL, "-p", "In the beginning", "-n", 60000, "--ctx", 65000)
        first = os.read(process.stdout.fileno(), 64)
        code, rest, err = interrupt(process)
        self.assertEqual(code, 130)
        self.assertTrue((first + rest).endswith(b"\n"))
        self.assertIn("Ctrl-C", err)
        self.assertIn("tokens/s", err)

    def test_run_in_json_is_still_one_document(self):
        process = start("run", "-m", MODEL, "-f", "-", "-n", 60000, "--ctx", 65000, "--json")
        process.stdin.write(b"In the beginning")
        process.stdin.close()
        process.stdin = None
        time.sleep(1.5)
        code, out, _ = interrupt(process)
        self.assertEqual(code, 130)
        self.assertEqual(json.loads(out)["finish_reason"], "interrupted")

    def test_chat_ends_at_its_prompt(self):
        process = start("run", "-m", MODEL, "--chat")
        time.sleep(1.0)
        code, out, err = interrupt(process)
        self.assertEqual((code, out, err), (130, b"", ""))

    def test_logits_leaves_neither_the_file_nor_a_part_of_it(self):
        with tempfile.TemporaryDirectory() as folder:
            tokens = pathlib.Path(folder) / "tokens.json"
            tokens.write_text(json.dumps([i % 2000 for i in range(100000)]))
            process = start("logits", "-m", MODEL, "--tokens", tokens, "-o",
                            pathlib.Path(folder) / "out.safetensors", "-q")
            deadline = time.monotonic() + 30
            while len(os.listdir(folder)) == 1 and time.monotonic() < deadline:
                time.sleep(0.02)
            self.assertIsNone(process.poll())
            code, _, err = interrupt(process)
            self.assertEqual((code, err.count("\n")), (130, 1), err)
            self.assertIn("out.safetensors: not written", err)
            self.assertEqual(os.listdir(folder), ["tokens.json"])

    def test_a_program_that_was_told_to_ignore_it_goes_on(self):
        process = subprocess.Popen(
            [PROGRAM, "run", "-m", MODEL, "-p", "In the beginning", "-n", "300", "--quiet"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        os.read(process.stdout.fileno(), 64)
        code, _, err = interrupt(process)
        self.assertEqual((code, err), (0, ""))

    def test_perplexity_prints_no_number(self):
        process = start("perplexity", "-m", MODEL, "-f", MODEL / "heldout.txt", "--chunk", 16)
        time.sleep(1.0)
        code, out, err = interrupt(process)
        self.assertEqual((code, out), (130, b""))
        lines = [line for line in err.splitlines() if not line.startswith("measuring: ")]
        self.assertEqual(len(lines), 1, err)


if __name__ == "__main__":
    from dsa_program import main
    main()
