"""dsa serve under load, at its limits, with hostile clients, and through its ends."""
import concurrent.futures
import json
import signal
import socket
import tempfile
import unittest

from serve_program import Server, is_idle, request_bytes, text_of, wait_for

PROMPTS = ["In the beginning", "And God said", "The LORD is my", "Behold", "And it came to pass"]


class Load(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.server = Server("--quiet")

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0, cls.server.log

    def test_a_request_alone_and_among_63_others_gives_the_same_text(self):
        body = {"prompt": "And Moses went up" * 8, "max_tokens": 24, "temperature": 1, "seed": 5,
                "logprobs": 1, "use_prefix_cache": False}
        alone = self.server.post("/v1/completions", body)["choices"]

        def other(i):
            return self.server.complete(PROMPTS[i % 5] * (i % 7 + 1), max_tokens=8 + i % 24,
                                        temperature=1, seed=i)
        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            others = [pool.submit(other, i) for i in range(63)]
            among = pool.submit(self.server.post, "/v1/completions", body).result()["choices"]
            for future in others:
                future.result()
        self.assertEqual(among, alone)

    def test_256_streams_at_a_time_all_end_whole(self):
        body = {"prompt": "And", "max_tokens": 4, "temperature": 0, "stream": True}
        want = self.server.complete("And", max_tokens=4, temperature=0)["choices"][0]["text"]
        clients = [self.server.socket() for _ in range(256)]
        try:
            for client in clients:
                client.sendall(request_bytes("/v1/completions", body, "Connection: close\r\n"))
            for client in clients:
                data = b""
                while chunk := client.recv(65536):
                    data += chunk
                events = [line[6:] for line in data.decode().splitlines()
                          if line.startswith("data: ")]
                self.assertEqual(events[-1], "[DONE]")
                self.assertEqual(text_of(map(json.loads, events[:-1]))[0], want)
        finally:
            for client in clients:
                client.close()

    def test_an_engine_does_not_wait_for_a_client_that_does_not_read(self):
        with Server("--quiet", "--max-unsent", 65536) as server:
            body = {"prompt": "And", "max_tokens": 500, "n": 8, "seed": 1, "stream": True,
                    "logprobs": 20, "logit_bias": {"1": -100}}
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", server.port))
            client.sendall(request_bytes("/v1/completions", body))
            wait_for(lambda: server.metrics()["dsa_http_clients_slow_total"] == 1, "cut off")
            wait_for(lambda: is_idle(server.metrics()), "idle")
            client.close()


class Limits(unittest.TestCase):

    def test_limits_are_kept_and_named(self):
        with Server("--max-body", 2048, "--max-header", 1024, "--max-prompt-tokens", 20,
                    "--max-choices", 2, "--read-timeout", 1, "--max-connections", 8) as server:
            self.assertEqual(server.request("POST", "/tokenize", {"prompt": "x" * 3000})[0], 413)
            self.assertEqual(server.request("GET", "/health", headers={"X": "x" * 2000})[0], 431)
            error = server.complete("word " * 40, want=400)["error"]
            self.assertEqual((error["param"], error["code"]), ("prompt", "context_length_exceeded"))
            self.assertEqual(server.complete("x", n=3, want=400)["error"]["param"], "n")
            with server.socket() as slow:
                slow.sendall(b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\n")
                self.assertEqual(slow.recv(100), b"")  # it did not arrive in time
            clients = [server.socket() for _ in range(12)]
            wait_for(lambda: self.refused(clients) >= 4, "connections beyond the limit close")
            for client in clients:
                client.close()

    @staticmethod
    def refused(clients):
        closed = 0
        for client in clients:
            client.settimeout(0.01)
            try:
                closed += client.recv(1) == b""
            except OSError:
                pass
        return closed

    def test_more_requests_than_may_be_active_are_told_to_come_again(self):
        with Server("--max-active", 1) as server:
            with server.socket() as client:
                client.sendall(request_bytes("/v1/completions", {
                    "prompt": "And", "max_tokens": 900, "stream": True,
                    "logit_bias": {"1": -100}}))
                client.recv(64)
                status, headers, data = server.request("POST", "/v1/completions", {"prompt": "x"})
                self.assertEqual((status, headers["Retry-After"]), (429, "1"))
                self.assertEqual(json.loads(data)["error"]["code"], "overloaded")
            wait_for(lambda: is_idle(server.metrics()), "idle")
            server.complete("x", max_tokens=1)

    def test_a_request_that_takes_too_long_ends_with_an_error(self):
        with Server("--request-timeout", 1, "--max-sequences", 1) as server:
            busy = {"prompt": "And", "max_tokens": 1000, "n": 16, "logit_bias": {"1": -100}}
            error = server.post("/v1/completions", busy, want=504)["error"]
            self.assertEqual(error["code"], "timeout")
            wait_for(lambda: is_idle(server.metrics()), "idle")


class SmallPool(unittest.TestCase):
    """Ten pages: 640 tokens for all sequences together."""

    def test_what_fits_is_served_and_what_does_not_is_told_the_limit(self):
        prompts = [f"{text} {i} " * (3 + 9 * (i % 5)) for i, text in enumerate(PROMPTS * 2)]
        bodies = [{"prompt": prompt, "max_tokens": 50, "temperature": 0, "n": 1 + i % 2,
                   "logit_bias": {"1": -100}} for i, prompt in enumerate(prompts)]
        path = "/v1/completions"
        with Server("--quiet") as large:
            wanted = [large.post(path, body)["choices"] for body in bodies[:4]]
            ids = large.post("/tokenize", {"prompt": "word " * 700})["tokens"]
        with Server("--quiet", "--cache-tokens", 640) as server:
            self.assertEqual(server.metrics()["dsa_pages"], 10)
            with concurrent.futures.ThreadPoolExecutor(10) as pool:
                answers = [pool.submit(server.post, path, body) for body in bodies]
                for n in (640, 641, 700):
                    error = server.complete(ids[:n], want=400)["error"]
                    self.assertEqual(error["code"], "context_length_exceeded")
                    self.assertIn(f"{n} tokens, want at most 639", error["message"])
                error = server.chat("word " * 700, want=400)["error"]
                self.assertEqual(error["param"], "messages")
                self.assertIn("want at most 639", error["message"])
                choices = [answer.result()["choices"] for answer in answers]
            self.assertEqual(choices[:4], wanted)
            self.assertGreater(server.metrics()["dsa_preemptions_total"], 0)
            # The longest prompt that fits ends where the pool does.
            longest = server.complete(ids[:639], max_tokens=50, logit_bias={"1": -100})
            self.assertEqual(longest["usage"]["completion_tokens"], 1)
            self.assertEqual(longest["choices"][0]["finish_reason"], "length")
            wait_for(lambda: is_idle(server.metrics()), "idle")


class Framing(unittest.TestCase):
    """Bytes that two readers of HTTP might understand differently, or that never end."""

    POST = (b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\n")

    @classmethod
    def setUpClass(cls):
        cls.server = Server("--quiet")

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0, cls.server.log

    def answers(self, data):
        """All that comes back, until the server closes."""
        with self.server.socket() as connection:
            out = b""
            try:
                connection.sendall(data)
                while piece := connection.recv(65536):
                    out += piece
            except ConnectionError:
                pass
            return out

    def status(self, data):
        return int(self.answers(data).split(b" ", 2)[1])

    def test_a_body_in_an_unknown_encoding_is_not_taken_for_the_next_request(self):
        hidden = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for coding in (b"gzip", b"chunked, identity", b"xchunked"):
            found = self.answers(self.POST + b"Transfer-Encoding: " + coding + b"\r\n\r\n" + hidden)
            self.assertEqual((found[:12], found.count(b"HTTP/1.1 ")), (b"HTTP/1.1 400", 1), coding)
        self.assertEqual(self.status(b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: x\r\n\r\n"), 400)

    def test_chunk_extensions_and_trailers_without_end_are_cut_off(self):
        chunked = self.POST + b"Transfer-Encoding: chunked\r\n\r\n"
        self.assertEqual(self.status(chunked + b"f;" + b"a" * 200_000), 431)
        self.assertEqual(self.status(chunked + b"0\r\n" + b"X: y\r\n" * 60_000), 431)
        self.assertEqual(self.status(chunked + b'f\r\n{"prompt":"hi"}\r\n0\r\n\r\n'), 200)

    def test_names_that_look_like_this_machine_are_not_taken_for_it(self):
        request = b"GET /v1/models HTTP/1.1\r\nConnection: close\r\nHost: %s\r\n\r\n"
        for host, status in ((b"127.0.0.1:80", 200), (b"localhost", 200), (b"[::1]:1", 200),
                             (b"127.example.org", 403), (b"127.0.0.1.example.org", 403),
                             (b"127.1", 403), (b"example.org", 403)):
            self.assertEqual(self.status(request % host), status, host)

    def test_objects_with_very_many_members_are_refused(self):
        body = json.dumps({f"k{i}": 1 for i in range(70_000)}).encode()
        found = self.answers(self.POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.assertIn(b"more than 4096 members", found)


class Ends(unittest.TestCase):

    def test_sigterm_lets_a_stream_finish_and_refuses_new_connections(self):
        server = Server()
        body = {"prompt": "And", "max_tokens": 200, "stream": True, "logit_bias": {"1": -100}}
        with server.socket() as client:
            client.sendall(request_bytes("/v1/completions", body))
            data = client.recv(64)
            server.process.send_signal(signal.SIGTERM)
            while chunk := client.recv(65536):
                data += chunk
        self.assertIn(b"data: [DONE]", data)
        self.assertEqual(server.stop(), 0)
        with self.assertRaises(OSError):
            server.socket()

    def test_a_second_signal_does_not_wait(self):
        server = Server("--shutdown-timeout", 600)
        body = {"prompt": "And", "max_tokens": 1000, "n": 16, "stream": True,
                "logit_bias": {"1": -100}}
        with server.socket() as client:
            client.sendall(request_bytes("/v1/completions", body))
            data = client.recv(64)
            server.process.send_signal(signal.SIGINT)
            wait_for(lambda: any('"shutdown"' in line for line in server.log), "first signal")
            self.assertEqual(server.stop(signal.SIGINT), 0)
            while chunk := client.recv(65536):
                data += chunk
        self.assertNotIn(b"[DONE]", data)

    def test_the_cache_on_disk_survives_sigterm(self):
        prompt = "And the LORD spake unto Moses, saying, " * 20
        with tempfile.TemporaryDirectory() as folder:
            args = ("--disk-cache", folder)
            server = Server(*args)
            first = server.complete(prompt, max_tokens=8, temperature=0)
            self.assertEqual(first["usage"]["prompt_cache_hit_tokens"], 0)
            self.assertEqual(server.stop(signal.SIGTERM), 0)
            server = Server(*args)
            again = server.complete(prompt, max_tokens=8, temperature=0)
            self.assertGreaterEqual(again["usage"]["prompt_cache_hit_tokens"], 64)
            self.assertEqual(again["choices"], first["choices"])
            self.assertEqual(server.stop(), 0)

    def test_what_cannot_be_used_is_named_before_serving(self):
        from dsa_program import MODEL, run
        for args, word in ((("--host", "nowhere"), "host"), (("--api-keys", "/nokeys"), "/nokeys"),
                           (("--tls-cert", "/no.pem", "--tls-key", "/no.pem"), "/no.pem")):
            code, _, err = run("serve", "-m", MODEL, "--port", "0", *args)
            self.assertEqual(code, 1)
            self.assertIn(word, err)
        with Server() as server:
            code, _, err = run("serve", "-m", MODEL, "--port", server.port)
            self.assertEqual(code, 1)
            self.assertIn(str(server.port), err)
        for wrong in (["--tls-cert", "x"], ["--tls-key", "x"], ["--disk-cache-mb", "5"],
                      ["--disk-cache", "x", "--no-prefix-cache"],
                      ["--attention", "dense", "--keep-first", "1"]):
            self.assertEqual(run("serve", "-m", MODEL, *wrong)[0], 2)
        self.assertEqual(run("serve", "-m", MODEL, "--port", "70000")[0], 2)


if __name__ == "__main__":
    from dsa_program import main
    main()
