"""tools/compare_builds: a program is like itself; one that differs in an option is found out."""
import os
import pathlib
import subprocess
import tempfile
import unittest

from dsa_program import PROGRAM, SOURCE_DIR, main


class CompareBuilds(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def compare(self, other, *args):
        done = subprocess.run([SOURCE_DIR / "tools" / "compare_builds", PROGRAM, other, *args],
                              capture_output=True, text=True, timeout=600)
        return done.returncode, done.stdout + done.stderr

    def changed_program(self, command, option):
        """A program that is this one, but for an option of one command."""
        path = self.folder / "dsa"
        path.write_text(f'#!/bin/sh\n[ "$1" = {command} ] && set -- "$@" {option}\n'
                        f'exec "{PROGRAM}" "$@"\n')
        path.chmod(0o755)
        return path

    def test_a_program_is_like_itself_on_every_tier(self):
        code, out = self.compare(PROGRAM, "--quick", "--only", "baby", "--only", "train")
        self.assertEqual(code, 0, out)
        self.assertRegex(out, r"[1-9]\d the same, 0 different, 0 skipped")

    def test_another_selection_is_reported_with_its_place_and_size(self):
        other = self.changed_program("logits", "--keep-recent 1")
        code, out = self.compare(other, "--quick", "--only", "baby-v32", "--tier", "scalar")
        self.assertEqual(code, 1, out)
        where = r"DIFFERENT: baby-v32, tier scalar, fp8 caches, one step, 1 thread: "
        self.assertRegex(out, where + r"logits: \d+ of 512 rows, the first is row \d+, there by at "
                         r"most [\d.e-]+ \(column \d+: ")
        self.assertRegex(out, where + r"topk\.0: \d+ of 512 rows, the first is row \d+: only A has")

    def test_other_training_and_other_weights_are_found(self):
        other = self.changed_program("train", "--set optimizer.learning_rate=1e-4")
        code, out = self.compare(other, "--quick", "--only", "train")
        self.assertEqual(code, 1, out)
        self.assertIn("learning_rate: 0.005 and 0.0001", out)
        self.assertIn("model.embed_tokens.weight: ", out)
        other = self.changed_program("convert", "--type bf16")
        code, out = self.compare(other, "--quick", "--only", "baby-v32 as fp8", "--tier", "scalar")
        self.assertEqual(code, 1, out)
        self.assertIn("DIFFERENT: convert to baby-v32 as fp8", out)

    def test_a_program_that_fails_where_the_other_does_not_differs(self):
        other = self.changed_program("logits", "--no-such-option")
        code, out = self.compare(other, "--quick", "--only", "baby-v32", "--tier", "scalar")
        self.assertEqual(code, 1, out)
        self.assertRegex(out, r"DIFFERENT: baby-v32: A: exit code 0; B: exit code 2 \(.+\)")

    def test_wrong_use_and_nothing_to_compare_are_not_success(self):
        for args, word in (((self.folder, "--quick"), "not a program"),
                           ((PROGRAM, "--tier", "avx9"), "none is left"),
                           ((PROGRAM, "--quick", "--only", "no such"), "0 the same")):
            code, out = self.compare(*args)
            self.assertEqual(code, 2, out)
            self.assertIn(word, out)


if __name__ == "__main__":
    main()
