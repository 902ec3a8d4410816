"""bench/serve/soak in its short form: mixed requests, some of them from clients that vanish or send
garbage, are answered rightly and leave nothing behind; many streams at once all end whole."""
import subprocess
import sys
import unittest

from dsa_program import PROGRAM, SANITIZED, SOURCE_DIR

SECONDS = 600


def soak(*args):
    """Exit code and output of a run in a child process, as its users start it."""
    done = subprocess.run([sys.executable, "-B", "bench/serve/soak.py", "--program", PROGRAM,
                           "--threads", "2", *map(str, args)], cwd=SOURCE_DIR, text=True,
                          capture_output=True, timeout=SECONDS)
    return done.returncode, done.stdout + done.stderr


class Soak(unittest.TestCase):

    def test_mixed_requests_are_answered_rightly_and_leave_nothing(self):
        # More trouble than in a full run, since there are fewer requests. The memory of so short a
        # run is that of a program which warms up, and in sanitizers it is not the program's own.
        args = ("--vanish", 0.15, "--garbage", 0.05, "--memory-mb", 0 if SANITIZED else 16)
        code, out = soak("--requests", 80 if SANITIZED else 300, *args)
        self.assertEqual(code, 0, out)
        self.assertIn("| pages left | 0 | 0 | ok |", out)

    def test_a_server_that_grows_more_than_it_may_fails_the_run(self):
        code, out = soak("--requests", 40, "--memory-mb", 0.001)
        self.assertEqual(code, 1, out)
        self.assertIn("**FAILED**", out)

    @unittest.skipIf(SANITIZED, "minutes in an instrumented build")
    def test_open_streams_get_their_tokens(self):
        # Milliseconds are not judged here: other tests run at the same time.
        code, out = soak("--streams", 64, "--stream-tokens", 16, "--max-step-ms", 10000)
        self.assertEqual(code, 0, out)
        self.assertIn("| streams alone: whole streams | 64 | 64 | ok |", out)


if __name__ == "__main__":
    from dsa_program import main
    main()
