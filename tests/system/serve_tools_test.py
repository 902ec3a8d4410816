"""dsa serve: what a model writes to call tools, as a client gets it, streamed and not."""
import json
import tempfile
import unittest

from dsa_program import main
from puppet import Puppet
from serve_program import Server

TOOLS = [{"type": "function", "function": {"name": "write_file", "parameters": {
    "type": "object", "properties": {"path": {"type": "string"}, "content": {"type": "string"}}}}}]
OPEN, CLOSE = "<｜DSML｜function_calls>", "</｜DSML｜function_calls>"
INVOKE, END = '<｜DSML｜invoke name="write_file">', "</｜DSML｜invoke>"


def parameter(name, value):
    return f'<｜DSML｜parameter name="{name}" string="true">{value}</｜DSML｜parameter>'


def gathered(events):
    """The message and the reason to finish that a stream's events add up to, and its n deltas."""
    content, calls, reason, n_deltas = "", [], None, 0
    for event in events:
        choice = event["choices"][0]
        content += choice["delta"].get("content") or ""
        reason = choice["finish_reason"] or reason
        for call in choice["delta"].get("tool_calls", []):
            n_deltas += 1
            if call["index"] == len(calls):
                calls.append([call["function"]["name"], ""])
            calls[call["index"]][1] += call["function"]["arguments"]
    return content, calls, reason, n_deltas


class ToolCalls(unittest.TestCase):

    def say(self, text, start="</think>", **fields):
        """Content, calls and reason of an answer, the same streamed and not; its number of deltas."""
        body = {"messages": [{"role": "user", "content": "x"}], "temperature": 0, "tools": TOOLS,
                **fields}
        with tempfile.TemporaryDirectory() as folder:
            with Server(model=Puppet(folder).make(text, start)) as server:
                choice = server.post("/v1/chat/completions", body)["choices"][0]
                streamed = gathered(server.stream("/v1/chat/completions", body))
        calls = [[c["function"]["name"], c["function"]["arguments"]]
                 for c in choice["message"].get("tool_calls", [])]
        whole = (choice["message"]["content"] or "", calls, choice["finish_reason"])
        self.assertEqual(streamed[:3], whole)
        return streamed

    def test_a_good_call_beside_a_malformed_one(self):
        content, calls, reason, _ = self.say(
            f"Look.\n{OPEN}{INVOKE}{parameter('path', 'a')}{END}"
            f"<｜DSML｜invoke nme='b'>{END}{CLOSE}")
        self.assertEqual(content, f"Look.\n<｜DSML｜invoke nme='b'>{END}")
        self.assertEqual(calls, [["write_file", '{"path": "a"}']])
        self.assertEqual(reason, "tool_calls")

    def test_a_long_call_arrives_as_it_is_written_and_stays_open_where_it_is_cut(self):
        lines = "".join(f"{n:03d}\n" for n in range(200))
        text = f"{OPEN}{INVOKE}{parameter('path', 'a')}{parameter('content', lines)}{END}{CLOSE}"
        content, calls, reason, n_deltas = self.say(text)
        self.assertEqual((content, reason), ("", "tool_calls"))
        self.assertEqual(json.loads(calls[0][1]), {"path": "a", "content": lines})
        self.assertGreater(n_deltas, 50)
        for most in (60, 100):
            content, calls, reason, _ = self.say(text, max_tokens=most)
            self.assertEqual((content, reason, len(calls)), ("", "length", 1))
            with self.assertRaises(json.JSONDecodeError):
                json.loads(calls[0][1])
        content, calls, reason, _ = self.say(text[:text.index("050")])  # the model stops
        self.assertEqual(reason, "stop")
        with self.assertRaises(json.JSONDecodeError):
            json.loads(calls[0][1])

    def test_no_markup_is_left_where_no_tool_may_be_called(self):
        call = f"\n\n{OPEN}\n{INVOKE}{parameter('path', 'a')}{END}{CLOSE}"
        self.assertEqual(self.say("Look." + call, tool_choice="none")[:3], ("Look.", [], "stop"))

    def test_a_call_inside_the_reasoning(self):
        call = f"I look.\n\n{OPEN}\n{INVOKE}{parameter('path', 'a')}{END}{CLOSE}"
        content, calls, reason, _ = self.say(call, "<think>", thinking={"type": "enabled"})
        self.assertEqual((content, reason), ("", "tool_calls"))
        self.assertEqual(calls, [["write_file", '{"path": "a"}']])


if __name__ == "__main__":
    main()
