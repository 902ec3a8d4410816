"""tools/compare_speed: medians, ratios and marks of two programs' benches."""
import json
import pathlib
import subprocess
import tempfile
import unittest

from dsa_program import PROGRAM, SOURCE_DIR, main


class CompareSpeed(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def compare(self, *args):
        done = subprocess.run([SOURCE_DIR / "tools" / "compare_speed", *map(str, args)],
                              capture_output=True, text=True, timeout=300)
        return done.returncode, done.stdout, done.stderr

    def program(self, name, times):
        """A program whose i-th `bench` says times[i] ms for one row and always 2 ms for another."""
        for i, ms in enumerate(times):
            rows = [{"machine": {}}, {"kernel": "rope", "tier": "scalar", "threads": 1, "ms": ms},
                    {"kernel": "norm", "tier": "scalar", "threads": 1, "ms": 2}]
            (self.folder / f"{name}.{i}").write_text(json.dumps(rows))
        count = self.folder / f"{name}.count"
        count.write_text("0")
        path = self.folder / name
        path.write_text(f"#!/bin/sh\ni=$(cat {count}); echo $((i + 1)) > {count}\n"
                        f"cat {self.folder}/{name}.$i\n")
        path.chmod(0o755)
        return path

    def test_medians_ratio_and_mark(self):
        a = self.program("a", [10, 11, 90])
        code, out, err = self.compare(a, self.program("b", [12, 13, 1]), "--run", "kernels", "--rounds", 3)
        self.assertEqual(code, 1, err)
        self.assertIn("| kernels kernel rope tier scalar threads 1 | 11 | 12 | **1.091** | 0.011-1.200 |", out)
        self.assertIn("| kernels kernel norm tier scalar threads 1 | 2 | 2 | 1.000 | 1.000-1.000 |", out)
        self.assertIn("1 of 2 rows differ by more than 3 %", out)

    def test_rows_within_the_limit_are_success(self):
        code, out, _ = self.compare(self.program("a", [10]), self.program("b", [10.2]),
                                    "--run", "kernels", "--rounds", 1)
        self.assertEqual(code, 0, out)
        self.assertNotIn("**", out)

    def test_the_program_itself(self):
        code, out, err = self.compare(PROGRAM, PROGRAM, "--rounds", 1, "--limit", 1e6, "--run",
                                      f"model -m {SOURCE_DIR}/tests/checkpoints/baby-v32 --context 64 "
                                      "--attention dsa --repetitions 1")
        self.assertEqual(code, 0, err)
        self.assertRegex(out, r"context 64 attention dsa prefill \| [\d.]+ \| [\d.]+ \|")

    def test_a_program_that_fails_is_named(self):
        for other in (self.folder / "none", "false"):
            code, _, err = self.compare(PROGRAM, other, "--run", "nothing", "--rounds", 1)
            self.assertEqual(code, 2)
            self.assertIn("compare_speed: ", err)


if __name__ == "__main__":
    main()
