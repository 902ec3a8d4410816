"""dsa serve while somebody sets the clock of the machine: nothing it waits for may depend on it."""
import json
import mmap
import os
import pathlib
import struct
import subprocess
import tempfile
import time
import unittest

from dsa_program import SANITIZED
from serve_program import Server, is_idle, request_bytes, wait_for

HERE = pathlib.Path(__file__).parent
DAY = 86400
JUMPS = (DAY, -DAY, 40 * 365 * DAY, -40 * 365 * DAY)  # seconds from the right time
PROMPT = "And the LORD spake unto Moses, saying, " * 20
NO_END = {"logit_bias": {"1": -100}}


@unittest.skipIf(SANITIZED, "sanitizers must be loaded first")
class Clock(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        library = self.folder / "shifted_clock.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, HERE / "shifted_clock.c"],
                       check=True)
        shift = self.folder / "shift"
        shift.write_bytes(bytes(8))
        with shift.open("r+b") as file:
            self.shift = mmap.mmap(file.fileno(), 8)
        self.addCleanup(self.shift.close)
        self.env = {"LD_PRELOAD": str(library), "SHIFT_FILE": str(shift)}

    def jump(self, seconds):
        self.shift[:] = struct.pack("q", seconds)

    def test_a_jump_neither_ends_nor_delays_what_runs(self):
        with Server("--request-timeout", 600, "--idle-timeout", 600, "--read-timeout", 600,
                    "--write-timeout", 600, env=self.env) as server:
            wanted = server.complete(PROMPT, max_tokens=60, temperature=0, **NO_END)["choices"]
            idle, slow = server.connect(), server.socket()
            idle.request("GET", "/health")
            idle.getresponse().read()
            request = request_bytes("/tokenize", {"prompt": "x"}, "Connection: close\r\n")
            slow.sendall(request[:40])
            for jump in JUMPS:
                with server.socket() as client:
                    client.sendall(request_bytes("/v1/completions", {
                        "prompt": PROMPT, "max_tokens": 60, "temperature": 0, "stream": True,
                        **NO_END}, "Connection: close\r\n"))
                    data = client.recv(64)
                    self.jump(jump)
                    while piece := client.recv(65536):
                        data += piece
                events = [json.loads(line[6:]) for line in data.decode().splitlines()
                          if line.startswith("data: {")]
                self.assertIn("data: [DONE]", data.decode())
                text = "".join(c["text"] for e in events for c in e["choices"])
                self.assertEqual(text, wanted[0]["text"])
                # The server does see the clock that was set.
                answer = server.complete("x", max_tokens=1)
                self.assertAlmostEqual(answer["created"], time.time() + jump, delta=60)
                # Connections that wait are still there.
                idle.request("GET", "/health")
                self.assertEqual(idle.getresponse().read(), b'{"status":"ok"}')
            slow.sendall(request[40:])
            self.assertTrue(slow.recv(100).startswith(b"HTTP/1.1 200"))
            idle.close()
            slow.close()
            self.jump(-DAY)
            wait_for(lambda: is_idle(server.metrics()), "idle")
            self.assertEqual(server.stop(), 0)

    def test_timeouts_end_after_the_time_that_passed(self):
        with Server("--request-timeout", 1, "--read-timeout", 1, "--idle-timeout", 1,
                    "--max-sequences", 1, "--shutdown-timeout", 1, env=self.env) as server:
            for jump in JUMPS:
                with server.socket() as idle, server.socket() as slow:
                    idle.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    self.assertIn(b"200 OK", idle.recv(1000))
                    slow.sendall(b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\n")
                    self.jump(jump)
                    # A day's jump must not add a day. The test's own sockets would wait 300 s.
                    error = server.post("/v1/completions", {
                        "prompt": "And", "max_tokens": 1000, "n": 16, **NO_END}, want=504)["error"]
                    self.assertEqual(error["code"], "timeout")
                    self.assertEqual((idle.recv(100), slow.recv(100)), (b"", b""))
            with server.socket() as client:
                client.sendall(request_bytes("/v1/completions", {
                    "prompt": "And", "max_tokens": 1000, "n": 16, "stream": True, **NO_END}))
                client.recv(64)
                server.process.terminate()
                self.jump(-DAY)
                self.assertEqual(server.stop(), 0)

    def test_pages_on_disk_that_were_used_in_the_future_are_as_good_as_others(self):
        args = ("--disk-cache", self.folder / "disk", "--disk-cache-mb", 1)
        with Server(*args) as server:
            wanted = server.complete(PROMPT, max_tokens=6, temperature=0, logprobs=2)["choices"]
            self.assertEqual(server.stop(), 0)
        pages = list((self.folder / "disk").glob("*/*.page"))
        self.assertGreater(len(pages), 1)
        for number, page in enumerate(pages):
            used = 0 if number % 2 else time.time() + 100 * 365 * DAY
            os.utime(page, (used, used))
        with Server(*args) as server:
            answer = server.complete(PROMPT, max_tokens=6, temperature=0, logprobs=2)
            self.assertGreaterEqual(answer["usage"]["prompt_cache_hit_tokens"], 64 * len(pages))
            self.assertEqual(answer["choices"], wanted)
            for i in range(8):  # more than fits: the bound is kept whatever the files' times
                server.complete(f"{i} {PROMPT}", max_tokens=1)
            wait_for(lambda: server.metrics()["dsa_disk_pending_bytes"] == 0, "writing has ended")
            metrics = server.metrics()
            self.assertLessEqual(metrics["dsa_disk_bytes"], 1 << 20)
            self.assertGreater(metrics["dsa_disk_evictions_total"], 0)


if __name__ == "__main__":
    from dsa_program import main
    main()
