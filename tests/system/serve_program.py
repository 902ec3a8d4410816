"""A running `dsa serve` for the system tests, and ways to talk to it."""
import http.client
import json
import os
import pathlib
import queue
import re
import signal
import socket
import subprocess
import threading
import time

from dsa_program import MODEL, PROGRAM, model_with

START_SECONDS = 120
WAIT_SECONDS = 120
JSON = {"Content-Type": "application/json"}


def long_model(folder):
    """The model with room for the long prompts of tools: 4,096 positions."""
    config = json.loads((MODEL / "config.json").read_text())
    return model_with(folder, config={**config, "max_position_embeddings": 4096})


def wait_for(condition, what):
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {WAIT_SECONDS} s: {what}")
        time.sleep(0.05)


def is_idle(metrics):
    """Nothing is left of any request but the one that asks."""
    return (metrics["dsa_requests_active"] == 0 and metrics["dsa_http_streams_open"] == 0
            and metrics["dsa_http_requests_open"] == 1
            and metrics["dsa_sequences_running"] == 0 and metrics["dsa_sequences_waiting"] == 0
            and metrics["dsa_pages_free"] + metrics["dsa_pages_evictable"] == metrics["dsa_pages"])


class Server:
    """`with Server("--max-active", 4) as server:` on a free port of the loopback."""

    def __init__(self, *args, model=MODEL, env=None):
        self.log = []
        self.process = subprocess.Popen(
            [PROGRAM, "serve", "-m", str(model), "--port", "0", "-t", "2", *map(str, args)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})})
        listening = queue.Queue()
        self.reader = threading.Thread(target=self._read, args=(listening,), daemon=True)
        self.reader.start()
        url = listening.get(timeout=START_SECONDS)
        if url is None:
            raise AssertionError(f"the server did not start: {self.log}")
        self.url = url
        self.port = int(url.rsplit(":", 1)[1])
        self.pid = self.process.pid

    def _read(self, listening):
        for line in self.process.stderr:
            text = line.decode().rstrip("\n")
            self.log.append(text)
            if '"event":"listening"' in text:
                listening.put(json.loads(text)["url"])
        listening.put(None)

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        self.stop(signal.SIGKILL)
        found = [line for line in self.log if "WARNING: ThreadSanitizer" in line]
        if found and error is None:  # it reports and goes on
            raise AssertionError("\n".join(self.log))

    def stop(self, how=signal.SIGTERM, timeout=120):
        """The exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(timeout)
        self.reader.join(10)
        self.process.stderr.close()
        return code

    def connect(self, timeout=300):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(self, method, path, body=None, headers=None):
        """Status, headers and body (bytes)."""
        connection = self.connect()
        try:
            data = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
            connection.request(method, path, data, {**(JSON if data else {}), **(headers or {})})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def get(self, path):
        status, _, data = self.request("GET", path)
        assert status == 200, (status, data)
        return json.loads(data)

    def post(self, path, body, want=200):
        status, _, data = self.request("POST", path, body)
        assert status == want, (status, data)
        return json.loads(data)

    def complete(self, prompt, want=200, **fields):
        return self.post("/v1/completions", {"prompt": prompt, **fields}, want)

    def chat(self, text, want=200, **fields):
        return self.post("/v1/chat/completions",
                         {"messages": [{"role": "user", "content": text}], **fields}, want)

    def stream(self, path, body):
        """The events of a stream as objects; the last must be [DONE]."""
        status, headers, data = self.request("POST", path, {**body, "stream": True})
        assert status == 200, (status, data)
        assert headers["Content-Type"].startswith("text/event-stream"), headers
        events = [e for e in data.decode().split("\n\n") if e and not e.startswith(":")]
        assert all(e.startswith("data: ") for e in events), events
        assert events[-1] == "data: [DONE]", events[-1]
        return [json.loads(e[len("data: "):]) for e in events[:-1]]

    def metrics(self):
        """{name or name{labels}: value}"""
        _, _, data = self.request("GET", "/metrics")
        lines = [line for line in data.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (l.rsplit(" ", 1) for l in lines)}

    def process_status(self):
        """Open files and threads of the server."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        threads = int(re.search(r"Threads:\s+(\d+)", status)[1])
        return len(os.listdir(f"/proc/{self.pid}/fd")), threads

    def socket(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=300)


def text_of(events):
    """Text of each choice of a stream of /v1/completions."""
    texts = {}
    for event in events:
        for choice in event["choices"]:
            texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
    return texts


def request_bytes(path, body, extra=""):
    data = json.dumps(body).encode()
    return (f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n{extra}\r\n").encode() + data
