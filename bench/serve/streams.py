"""Many streams at once: how evenly their tokens come, alone and while long prompts are read."""
import dataclasses
import json
import selectors
import socket
import statistics
import threading
import time

import client
from program import Server

PROMPT = "And it came to pass in those days"
READ_SECONDS = 600  # for all streams of a run
PROMPT_TOKENS = 2000  # of the prompts that come meanwhile
PAUSE = 0.5  # seconds between such prompts


@dataclasses.dataclass
class Stream:
    """One client. Times are when its socket had the bytes, on the monotonic clock."""

    connection: socket.socket
    rest: bytes = b""
    times: list = dataclasses.field(default_factory=list)  # of tokens
    text: str = ""
    whole: bool = False

    def take(self, data: bytes, now: float) -> None:
        *events, self.rest = (self.rest + data).split(b"\n\n")
        for event in events:
            _, _, event = event.partition(b"data: ")  # the first has the HTTP header before it
            if event == b"[DONE]":
                self.whole = True
            if not event.startswith(b"{"):
                continue
            for choice in json.loads(event).get("choices", []):  # none: an error; it is not whole
                self.text += choice["text"]
                self.times += [now] * len((choice["logprobs"] or {}).get("tokens", []))

    def gaps(self) -> list[float]:
        return [after - before for before, after in zip(self.times, self.times[1:])]


def open_stream(address, n_tokens: int) -> Stream:
    # HTTP/1.0: the body comes without chunk headers. Token 1 ends a text; logprobs name each token.
    body = json.dumps({"prompt": PROMPT, "max_tokens": n_tokens, "temperature": 0, "stream": True,
                       "logprobs": 0, "logit_bias": {"1": -100}}).encode()
    connection = socket.create_connection(address[:2])
    connection.sendall(b"POST /v1/completions HTTP/1.0\r\nHost: localhost\r\n"
                       b"Content-Type: application/json\r\n"
                       b"Content-Length: %d\r\n\r\n" % len(body) + body)
    connection.setblocking(False)
    return Stream(connection)


def read_all(streams: list[Stream]) -> None:
    """One thread reads them all, so that the measuring takes little of the machine."""
    end = time.monotonic() + READ_SECONDS
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream.connection, selectors.EVENT_READ, stream)
        while selector.get_map() and time.monotonic() < end:
            for key, _ in selector.select(1):
                now = time.monotonic()
                data = key.data.connection.recv(65536)
                if data:
                    key.data.take(data, now)
                else:
                    selector.unregister(key.data.connection)
                    key.data.connection.close()


class Readers:
    """Long prompts, one after the other, in the background until the end of the `with`."""

    def __init__(self, address) -> None:
        self.address, self.n_read = address, 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        while True:
            ids = [5 + (7 * self.n_read + i) % 900 for i in range(PROMPT_TOKENS)]
            body = {"prompt": ids, "max_tokens": 1, "use_prefix_cache": False}
            with client.post(self.address, "/v1/completions", body) as response:
                response.read()
            self.n_read += response.status == 200
            if self.ended.wait(PAUSE):
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.ended.set()
        self.thread.join()


def late(stream: Stream) -> list[float]:
    """How much later than usual for its stream each token came."""
    gaps = stream.gaps()
    usual = statistics.median(gaps) if gaps else 0.0
    return [max(0.0, gap - usual) for gap in gaps]


def rows(name: str, streams: list[Stream], seconds: float, options) -> list[tuple]:
    """What was found, as (what, found, wanted, whether it is so)."""
    whole = sum(stream.whole and len(stream.times) == options.stream_tokens for stream in streams)
    n_texts = len({stream.text for stream in streams})
    gaps = [gap for stream in streams for gap in stream.gaps()]
    p50, p95, p99 = (1e3 * client.percentile(gaps, share) for share in (0.5, 0.95, 0.99))
    jitter = 1e3 * client.percentile([s for stream in streams for s in late(stream)], 0.99)
    n_tokens = sum(len(stream.times) for stream in streams)
    return [
        (f"{name}: whole streams", whole, f"{len(streams)}", whole == len(streams)),
        (f"{name}: different texts of one greedy request", n_texts, "1", n_texts == 1),
        (f"{name}: tokens/s", f"{n_tokens / seconds:.0f}", ""),
        (f"{name}: between tokens p50 / p95 / p99", f"{p50:.0f} / {p95:.0f} / {p99:.0f} ms", ""),
        (f"{name}: jitter p99 (later than the stream's median gap)", f"{jitter:.0f} ms",
         f"at most --max-step-ms, {options.max_step_ms:g}", jitter <= options.max_step_ms),
    ]


def measure(options, model) -> list[tuple]:
    """Rows of the table: (what, found, wanted[, whether it is so])."""
    tokens = options.streams * (options.stream_tokens + 128) + 4 * PROMPT_TOKENS
    arguments = ["--max-sequences", options.streams + 4, "--cache-tokens", tokens, "--max-step-ms",
                 options.max_step_ms, "-t", options.threads]
    found = []
    with Server(options.program, model, [str(a) for a in arguments]) as server:
        found.append(("threads of the server, of which one does all I/O",
                      server.resources()["threads"], ""))
        for name, with_prompts in (("streams alone", False), ("while prompts are read", True)):
            begin = time.monotonic()
            streams = [open_stream(server.address, options.stream_tokens)
                       for _ in range(options.streams)]
            if with_prompts:
                with Readers(server.address) as readers:
                    read_all(streams)
            else:
                read_all(streams)
            found += rows(name, streams, time.monotonic() - begin, options)
        found.append((f"prompts of {PROMPT_TOKENS} tokens read meanwhile", readers.n_read,
                      "at least 1", readers.n_read > 0))
        longest = server.metrics()["dsa_step_longest_seconds"]
        found.append(("longest step of the engine", f"{1e3 * longest:.0f} ms", ""))
    return found
