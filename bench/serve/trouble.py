"""Clients that leave at a random moment, and clients that send what is no request."""
import http.client
import json
import random
import socket
import struct
import time

from mix import COMPLETION, Request

HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BROKEN_HTTP = [
    b"GET\r\n\r\n",
    b"POST /v1/completions HTTP/9.9\r\nHost: localhost\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: localhost\r\nno colon here\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
    b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\n\r\n",
    HEAD + b"Content-Length: -5\r\n\r\n{}",
    HEAD + b"Content-Length: 5\r\nContent-Length: 2\r\n\r\n{}",
    HEAD + b"Content-Length: 99999999999999999999\r\n\r\n{}",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff1\r\n{}",
    HEAD + b"Transfer-Encoding: gzip\r\n\r\n{}",
    HEAD + b"Content-Length: 500\r\n\r\n{",  # and nothing more
]
BROKEN_JSON = [b"", b"{", b"{}{}", b'{"prompt":', b'{"prompt":"\xff\xfe"}', b"[" * 5000,
               b'{"prompt":"x","max_tokens":1e999}', b"null", b'"prompt"']
WRONG_FIELDS = [{}, {"prompt": 3}, {"prompt": "x", "max_tokens": -2}, {"prompt": "x", "n": 1 << 70},
                {"prompt": [1 << 40]}, {"prompt": "x", "nothing": 0}, {"prompt": "x", "stop": [1]},
                {"prompt": "x", "temperature": "hot"}, {"prompt": "x", "logit_bias": [1]}]


def bytes_of(path: str, body: bytes) -> bytes:
    return (f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def leave(connection: socket.socket, rng: random.Random) -> None:
    """By a reset, or as a client that closes."""
    if rng.random() < 0.5:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def vanish(address, request: Request, rng: random.Random) -> str:
    """Leaves before, during or after the answer; gives which."""
    body = dict(request.body)
    if "max_tokens" in body and request.status == 200:
        body["max_tokens"] = 300  # so that most leave while it is being answered
    data = bytes_of(request.path, json.dumps(body).encode())
    moment = rng.choice(["in the request", "at once", "during", "during", "after"])
    connection = socket.create_connection(address[:2], timeout=600)
    try:
        connection.sendall(data[:rng.randrange(len(data))] if moment == "in the request" else data)
        if moment == "during":
            connection.settimeout(rng.random())
            try:
                connection.recv(rng.randrange(1, 4000))
            except TimeoutError:
                pass
            time.sleep(rng.random() / 20)
        elif moment == "after":
            response = http.client.HTTPResponse(connection, method="POST")
            response.begin()
            response.read()
    finally:
        leave(connection, rng)
    return moment


def send_garbage(address, rng: random.Random) -> str:
    """Its kind; ValueError where it was not refused."""
    kind = rng.choice(["random bytes", "broken HTTP", "broken JSON", "wrong fields"])
    if kind == "random bytes":
        data = rng.randbytes(rng.randrange(1, 4000)) + b"\r\n\r\n"
    elif kind == "broken HTTP":
        data = rng.choice(BROKEN_HTTP)
    elif kind == "broken JSON":
        data = bytes_of(COMPLETION, rng.choice(BROKEN_JSON))
    else:
        data = bytes_of(COMPLETION, json.dumps(rng.choice(WRONG_FIELDS)).encode())
    answer = exchange(address, data)
    is_http = kind in ("broken JSON", "wrong fields")
    if (is_http or answer) and not answer.startswith(b"HTTP/1.1 4"):
        raise ValueError(f"{data[:80]!r} was answered by {answer[:80]!r}")
    if is_http and not json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]:
        raise ValueError(f"{data[:80]!r}: an error without a message")
    return kind


def exchange(address, data: bytes) -> bytes:
    """What comes back until the server closes, or half a second after it said something."""
    with socket.create_connection(address[:2], timeout=600) as connection:
        answer = b""
        try:
            connection.sendall(data)
            answer = connection.recv(65536)
            connection.settimeout(0.5)
            while answer and (piece := connection.recv(65536)):
                answer += piece
        except (ConnectionError, TimeoutError):
            pass
        return answer
