"""Requests to a server with OpenAI's API. An address is (host, port, API key or None)."""
import contextlib
import http.client
import json


def headers_for(address) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if address[2]:
        headers["Authorization"] = f"Bearer {address[2]}"
    return headers


def get(address, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*address[:2], timeout=600)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers_for(address))
        response = connection.getresponse()
        return response.status, response.read()


@contextlib.contextmanager
def post(address, path: str, body: dict):
    """The response, whose body is not yet read."""
    connection = http.client.HTTPConnection(*address[:2], timeout=600)
    with contextlib.closing(connection):
        connection.request("POST", path, json.dumps(body), headers_for(address))
        yield connection.getresponse()


def events(response):
    """The objects of an event stream as they come; ValueError where it breaks off or fails."""
    for line in response:
        if line.startswith(b"data: [DONE]"):
            return
        if not line.startswith(b"data: "):
            continue
        event = json.loads(line[6:])
        if event.get("error"):
            raise ValueError(event["error"].get("message", "error"))
        yield event
    raise ValueError("the stream ended without [DONE]")


def percentile(values, share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
