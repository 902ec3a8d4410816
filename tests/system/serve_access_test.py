"""Who may ask dsa serve for what: keys, origins, TLS, and what is read before that is known."""
import contextlib
import json
import pathlib
import ssl
import subprocess
import tempfile
import time
import unittest

from dsa_program import MODEL
from serve_program import Server, request_bytes


class Access(unittest.TestCase):

    def test_keys_are_asked_for_everywhere_but_for_health(self):
        with tempfile.NamedTemporaryFile("w", suffix=".keys") as keys:
            keys.write("# people\nfirst-key\n\nsecond-key\n")
            keys.flush()
            with Server("--api-keys", keys.name) as server:
                self.assertEqual(server.get("/health"), {"status": "ok"})
                for given in (None, "Bearer first", "Bearer ", "first-key", "Basic first-key"):
                    headers = {} if given is None else {"Authorization": given}
                    for path in ("/v1/models", "/metrics"):
                        status, _, data = server.request("GET", path, headers=headers)
                        self.assertEqual(status, 401)
                        self.assertEqual(json.loads(data)["error"]["code"], "invalid_api_key")
                for key in ("first-key", "second-key"):
                    status, _, _ = server.request("POST", "/tokenize", {"prompt": "x"},
                                                  {"Authorization": f"Bearer {key}"})
                    self.assertEqual(status, 200)

    def test_other_origins_are_let_in_only_when_named(self):
        origin = {"Origin": "https://app.example"}
        preflight = {**origin, "Access-Control-Request-Method": "POST"}
        with Server() as server:
            headers = server.request("GET", "/health", headers=origin)[1]
            self.assertNotIn("Access-Control-Allow-Origin", headers)
            self.assertEqual(server.request("OPTIONS", "/v1/models", headers=preflight)[0], 405)
        with Server("--cors-origin", "https://app.example") as server:
            headers = server.request("GET", "/health", headers=origin)[1]
            self.assertEqual(headers["Access-Control-Allow-Origin"], "https://app.example")
            status, headers, _ = server.request("OPTIONS", "/v1/models", headers=preflight)
            self.assertEqual(status, 204)
            self.assertIn("authorization", headers["Access-Control-Allow-Headers"])
            asked = "authorization,content-type,x-stainless-os,x-stainless-lang"
            for path in ("/v1/chat/completions", "/chat/completions/"):
                status, headers, _ = server.request("OPTIONS", path, headers={
                    **preflight, "Access-Control-Request-Headers": asked})
                self.assertEqual((status, headers["Access-Control-Allow-Headers"]), (204, asked))

    def test_a_loopback_answers_to_local_names_and_to_those_that_were_allowed(self):
        def status(server, host):
            return server.request("GET", "/v1/models", headers={"Host": host})[0]

        local = ("localhost:8080", "LOCALHOST", "localhost.", "[::1]:80", "127.0.0.1", "x.localhost")
        with Server("--host", "localhost") as server:
            for host in local:
                self.assertEqual(status(server, host), 200, host)
            for host in ("llm.example.org", "localhost.example.org", "127.0.0.1.example.org"):
                self.assertEqual(status(server, host), 403, host)
            proxied = (b"GET http://localhost/v1/models HTTP/1.1\r\nHost: other.example\r\n\r\n")
            with server.socket() as client:
                client.sendall(proxied)
                self.assertIn(b"HTTP/1.1 200", client.recv(65536))
            with server.socket() as client:
                client.sendall(proxied.replace(b"//localhost", b"//other.example"))
                self.assertIn(b"HTTP/1.1 403", client.recv(65536))
        with Server("--allowed-host", "LLM.example.org:443", "--allowed-host", "b.example",
                    "--host", "[::1]") as server:
            self.assertTrue(server.url.startswith("http://[::1]:"), server.url)
        with Server("--allowed-host", "LLM.example.org:443", "--allowed-host", "b.example",
                    "--served-model-name", "one", "two") as server:
            for host in (*local, "llm.example.org", "llm.EXAMPLE.org.:8080", "b.example"):
                self.assertEqual(status(server, host), 200, host)
            self.assertEqual(status(server, "c.example"), 403)
            self.assertEqual([m["id"] for m in server.get("/v1/models")["data"]], ["one", "two"])
            answer = server.complete("x", max_tokens=1, model="two")
            self.assertEqual(answer["model"], "one")
            self.assertEqual(server.complete("x", want=404, model="three")["error"]["param"], "model")
        with key_file("k") as keys, Server("--api-keys", keys) as server:
            status, _, _ = server.request("GET", "/v1/models", headers={
                "Host": "llm.example.org", "Authorization": "bearer k"})
            self.assertEqual(status, 200)  # a page elsewhere does not know the key

    def test_bodies_with_an_encoding_are_refused_by_name(self):
        with Server() as server:
            for encoding, want in (("gzip", 415), ("zstd", 415), ("identity", 200)):
                status, headers, data = server.request("POST", "/tokenize", {"prompt": "x"},
                                                       {"Content-Encoding": encoding})
                self.assertEqual(status, want)
                if want == 415:
                    self.assertIn("Content-Encoding", json.loads(data)["error"]["message"])
                    self.assertEqual(headers["Accept-Encoding"], "identity")

    def test_tls_with_a_given_certificate(self):
        with tempfile.TemporaryDirectory() as folder:
            key, cert = pathlib.Path(folder, "key.pem"), pathlib.Path(folder, "cert.pem")
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                            "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
                            "-keyout", key, "-out", cert], check=True, capture_output=True)
            with Server("--tls-cert", cert, "--tls-key", key) as server:
                self.assertTrue(server.url.startswith("https://"))
                context = ssl.create_default_context(cafile=cert)
                with context.wrap_socket(server.socket(), server_hostname="127.0.0.1") as client:
                    body = {"prompt": "And", "max_tokens": 4, "stream": True}
                    client.sendall(request_bytes("/v1/completions", body, "Connection: close\r\n"))
                    data = b""
                    while chunk := client.recv(65536):
                        data += chunk
                    self.assertIn(b"data: [DONE]", data)
                with server.socket() as plain:
                    plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    self.assertNotIn(b"200 OK", plain.recv(1000))
                self.assertEqual(server.stop(), 0)

    def test_a_body_is_not_waited_for_without_a_key(self):
        head = ("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15000000\r\n"
                "Content-Type: {}\r\nAuthorization: Bearer {}\r\nExpect: 100-continue\r\n\r\n")
        with key_file("the-key") as keys, Server("--api-keys", keys) as server:
            for media, key, status in (("application/json", "other", b"401"),
                                       ("text/plain", "the-key", b"415"),
                                       ("application/json", "the-key", b"100")):
                with server.socket() as client:
                    client.sendall(head.format(media, key).encode())
                    self.assertIn(b"HTTP/1.1 " + status, client.recv(65536))

    def test_bodies_of_all_connections_together_are_bounded(self):
        limits = ("--max-body", 1_000_000, "--max-bodies", 1_500_000)
        with Server(*limits) as server:
            clients = [server.socket() for _ in range(3)]
            half = request_bytes("/tokenize", {"prompt": "a" * 900_000})[:-10]
            clients[0].sendall(half)
            self.wait_for_body(server, 800_000)
            clients[1].sendall(half)
            self.assertIn(b"HTTP/1.1 503", clients[1].recv(65536))
            clients[0].close()
            self.wait_for_body(server, 0)
            clients[2].sendall(half + b"a" * 8 + b'"}')
            self.assertIn(b"HTTP/1.1 200", clients[2].recv(65536))
            for client in clients[1:]:
                client.close()

    def wait_for_body(self, server, least):
        """Until the server has read so much of the bodies it holds; 0: nothing of any."""
        for _ in range(1000):
            held = server.metrics()["dsa_http_body_bytes"]
            if held >= least if least else held == 0:
                return
            time.sleep(0.02)
        raise AssertionError(f"{held} bytes of bodies, want {least}")

    def test_keys_do_not_find_in_the_cache_what_others_have_sent(self):
        def hits(server, key, **fields):
            body = {"prompt": "And the LORD said unto Moses, " * 40, "max_tokens": 1, **fields}
            status, _, data = server.request("POST", "/v1/completions", body,
                                             {"Authorization": f"Bearer {key}"})
            self.assertEqual(status, 200, data)
            return json.loads(data)["usage"]["prompt_cache_hit_tokens"]

        with key_file("one", "two") as keys:
            with Server("--api-keys", keys) as server:
                self.assertEqual(hits(server, "one"), 0)
                self.assertGreater(hits(server, "one"), 0)
                self.assertEqual(hits(server, "two"), 0)
                self.assertEqual(hits(server, "one", cache_salt="x"), 0)
                self.assertGreater(hits(server, "one", cache_salt="x"), 0)
            with Server("--api-keys", keys, "--share-prompt-cache") as server:
                self.assertEqual(hits(server, "one"), 0)
                self.assertGreater(hits(server, "two"), 0)

    def test_the_model_is_named_after_its_folder_however_that_is_spelled(self):
        for path in (f"{MODEL}/.", f"{MODEL}//", f"{MODEL}/../{MODEL.name}", "."):
            with contextlib.chdir(MODEL) if path == "." else contextlib.nullcontext():
                with Server(model=path) as server:
                    self.assertEqual(server.get("/v1/models")["data"][0]["id"], MODEL.name)

    def test_a_name_with_a_slash_is_found_escaped_and_plain(self):
        with Server("--name", "people/model") as server:
            for path in ("people/model", "people%2Fmodel"):
                self.assertEqual(server.get(f"/v1/models/{path}")["id"], "people/model")
            status, _, data = server.request("GET", "/v1/models/people%2")
            self.assertEqual((status, json.loads(data)["error"]["param"]), (404, "model"))


@contextlib.contextmanager
def key_file(*keys):
    with tempfile.NamedTemporaryFile("w", suffix=".keys") as file:
        file.write("\n".join(keys))
        file.flush()
        yield file.name


if __name__ == "__main__":
    unittest.main()
