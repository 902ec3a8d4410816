"""dsa serve: the endpoints, as a client sees them."""
import json
import tempfile
import unittest

from dsa_program import glm_model, model_with
from serve_program import Server, long_model, request_bytes, text_of

PROMPT = "In the beginning"
SCHEMA = {"type": "object", "properties": {
    "name": {"enum": ["a", "b"]}, "n": {"type": "integer"},
    "list": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2}},
    "required": ["name", "n", "list"], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {
    "type": "object", "properties": {"a": {"type": "string", "enum": ["x", "yz"]},
                                     "b": {"type": "boolean"}}, "required": ["a", "b"]}}}]


class Endpoints(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.server = Server("--name", "baby-v32", model=long_model(cls.folder.name))

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0, cls.server.log
        cls.folder.cleanup()

    def greedy(self, prompt=PROMPT, n=24, **fields):
        answer = self.server.complete(prompt, max_tokens=n, temperature=0, **fields)
        return answer["choices"][0]["text"]

    def test_health_models_and_page(self):
        self.assertEqual(self.server.get("/health"), {"status": "ok"})
        models = self.server.get("/v1/models")["data"]
        self.assertEqual([m["id"] for m in models], ["baby-v32"])
        self.assertEqual(self.server.get("/v1/models/baby-v32"), models[0])
        status, headers, page = self.server.request("GET", "/")
        self.assertEqual((status, headers["Content-Type"]), (200, "text/html; charset=utf-8"))
        self.assertIn(b"<html", page)
        status, headers, nothing = self.server.request("HEAD", "/")
        self.assertEqual((status, int(headers["Content-Length"]), nothing), (200, len(page), b""))

    def test_tokenize_and_detokenize_undo_each_other(self):
        text = "In the \u00e9 beginning \U0001F600"
        out = self.server.post("/tokenize", {"prompt": text, "add_special_tokens": False,
                                             "return_token_strs": True})
        self.assertEqual(out["count"], len(out["tokens"]))
        self.assertEqual(len(out["token_strs"]), out["count"])
        self.assertEqual(self.server.post("/detokenize", {"tokens": out["tokens"]}),
                         {"prompt": text})
        chat = self.server.post("/tokenize", {"messages": [{"role": "user", "content": "x"}]})
        self.assertGreater(chat["count"], 1)

    def test_a_stream_gives_the_text_of_an_answer_in_one_piece(self):
        whole = self.server.complete(PROMPT, max_tokens=24, temperature=0)
        events = self.server.stream("/v1/completions", {
            "prompt": PROMPT, "max_tokens": 24, "temperature": 0,
            "stream_options": {"include_usage": True}})
        self.assertEqual(text_of(events)[0], whole["choices"][0]["text"])
        self.assertEqual(events[-2]["choices"][0]["finish_reason"], "length")
        self.assertEqual(events[-1]["choices"], [])
        self.assertTrue(all(event["usage"] is None for event in events[:-1]))
        usage = events[-1]["usage"]
        self.assertEqual(usage["completion_tokens"], 24)
        self.assertEqual(usage["prompt_tokens"], whole["usage"]["prompt_tokens"])

    def test_without_a_temperature_it_does_what_the_model_says(self):
        with tempfile.TemporaryDirectory() as folder:
            model = model_with(folder, generation_config={"do_sample": False})
            with Server(model=model) as greedy:
                answer = greedy.complete(PROMPT, max_tokens=24)["choices"][0]["text"]
        self.assertEqual(answer, self.greedy())

    def test_a_prompt_as_ids_or_in_a_list_is_the_same_prompt(self):
        ids = self.server.post("/tokenize", {"prompt": PROMPT})["tokens"]
        text = self.greedy()
        self.assertEqual(self.greedy(ids), text)
        answer = self.server.complete([PROMPT, "And God said"], max_tokens=24, temperature=0, n=2)
        self.assertEqual([c["index"] for c in answer["choices"]], [0, 1, 2, 3])
        self.assertEqual([c["text"] for c in answer["choices"]],
                         [text] * 2 + [self.greedy("And God said")] * 2)

    def test_stop_strings_end_the_text_wherever_tokens_end(self):
        text = self.greedy()
        for begin, end in ((3, 7), (5, 6), (10, 19)):
            stop = text[begin:end]
            answer = self.server.complete(PROMPT, max_tokens=24, temperature=0, stop=[stop, "@@"])
            choice = answer["choices"][0]
            self.assertEqual(choice["text"], text[:text.find(stop)])
            self.assertEqual(choice["finish_reason"], "stop")
            events = self.server.stream("/v1/completions", {
                "prompt": PROMPT, "max_tokens": 24, "temperature": 0, "stop": stop})
            self.assertEqual(text_of(events)[0], choice["text"])

    def test_a_seed_repeats_and_choices_differ(self):
        fields = {"max_tokens": 24, "temperature": 1.5, "seed": 7, "n": 3}
        texts = [c["text"] for c in self.server.complete(PROMPT, **fields)["choices"]]
        self.assertEqual(len(set(texts)), 3)
        again = [c["text"] for c in self.server.complete(PROMPT, **fields)["choices"]]
        self.assertEqual(again, texts)
        other = self.server.complete(PROMPT, **{**fields, "seed": -8})["choices"]
        self.assertNotEqual([c["text"] for c in other], texts)

    def test_logprobs_of_both_kinds(self):
        choice = self.server.complete(PROMPT, max_tokens=6, temperature=0, logprobs=3)["choices"][0]
        logprobs = choice["logprobs"]
        self.assertEqual("".join(logprobs["tokens"]), choice["text"])
        self.assertEqual(logprobs["text_offset"][0], 0)
        for token, own, top in zip(logprobs["tokens"], logprobs["token_logprobs"],
                                   logprobs["top_logprobs"]):
            self.assertEqual(len(top), 3)
            self.assertEqual(max(top.values()), own)
            self.assertEqual(top[token], own)
        chat = self.server.chat("Hi", max_tokens=6, temperature=0, logprobs=True, top_logprobs=2)
        choice = chat["choices"][0]
        content = choice["logprobs"]["content"]
        self.assertEqual(b"".join(bytes(t["bytes"]) for t in content).decode(),
                         choice["message"]["content"])
        self.assertTrue(all(len(t["top_logprobs"]) == 2 for t in content))
        self.assertTrue(all(t["top_logprobs"][0]["logprob"] <= 0 for t in content))

    def test_a_prompt_is_echoed_with_the_logprobs_it_had_when_it_was_generated(self):
        fields = {"temperature": 0, "logprobs": 2}
        whole = self.server.complete(PROMPT, max_tokens=8, echo=True, **fields)["choices"][0]
        alone = self.server.complete(PROMPT, max_tokens=8, **fields)["choices"][0]
        self.assertEqual(whole["text"], PROMPT + alone["text"])
        ids = self.server.post("/tokenize", {"prompt": whole["text"]})["tokens"]
        lists = whole["logprobs"]
        self.assertEqual("".join(lists["tokens"]), whole["text"])
        self.assertEqual(lists["text_offset"][0], 0)
        self.assertIsNone(lists["token_logprobs"][0])
        self.assertIsNone(lists["top_logprobs"][0])
        self.assertTrue(all(len(top) == 2 for top in lists["top_logprobs"][1:]))
        again = self.server.complete([ids, ids[:2]], max_tokens=0, echo=True, **fields)
        self.assertEqual(again["usage"]["completion_tokens"], 0)
        read, short = again["choices"]
        self.assertEqual((read["text"], read["finish_reason"]), (whole["text"], "length"))
        self.assertEqual(short["logprobs"]["tokens"], lists["tokens"][:2])
        for one, other in zip(read["logprobs"]["token_logprobs"][1:], lists["token_logprobs"][1:]):
            self.assertAlmostEqual(one, other, delta=0.05)  # of fp8
        events = self.server.stream("/v1/completions", {"prompt": PROMPT, "max_tokens": 8,
                                                        "echo": True, **fields})
        self.assertEqual(text_of(events)[0], whole["text"])
        self.assertEqual(self.server.complete(PROMPT, max_tokens=0)["choices"][0]["text"], "")

    def test_prompt_logprobs_are_by_id(self):
        ids = self.server.post("/tokenize", {"prompt": PROMPT})["tokens"]
        answer = self.server.complete(PROMPT, max_tokens=1, temperature=0, prompt_logprobs=2,
                                      echo=True, logprobs=0)["choices"][0]
        listed = answer["prompt_logprobs"]
        self.assertEqual((len(listed), listed[0]), (len(ids), None))
        for token, entry, own in zip(ids[1:], listed[1:], answer["logprobs"]["token_logprobs"][1:]):
            self.assertEqual(entry[str(token)]["logprob"], own)
            self.assertEqual([e["rank"] for e in entry.values()][:2], [1, 2])
            self.assertIn(len(entry), (2, 3))
        chat = self.server.chat("Hi", max_tokens=1, prompt_logprobs=0)
        self.assertEqual(len(chat["prompt_logprobs"]), chat["usage"]["prompt_tokens"])

    def test_logit_bias_and_penalties_reach_the_sampler(self):
        token = self.server.post("/tokenize", {"prompt": " the", "add_special_tokens": False})
        (the,) = token["tokens"]
        biased = self.server.complete(PROMPT, max_tokens=4, temperature=0,
                                      logit_bias={str(the): 100})["choices"][0]["text"]
        self.assertEqual(biased, " the" * 4)
        text = self.greedy(frequency_penalty=2, presence_penalty=2)
        self.assertNotEqual(text, self.greedy())

    def test_an_end_that_is_ignored_or_put_off(self):
        # The likeliest token of the answer is made its end.
        token = self.server.complete(PROMPT, max_tokens=1, temperature=0, logprobs=0)
        (end,) = self.server.post("/tokenize", {
            "prompt": token["choices"][0]["text"], "add_special_tokens": False})["tokens"]
        fields = {"max_tokens": 6, "temperature": 0, "stop_token_ids": [end]}
        choice = self.server.complete(PROMPT, **fields)["choices"][0]
        self.assertEqual((choice["text"], choice["finish_reason"]), ("", "stop"))
        usage = self.server.complete(PROMPT, **fields, min_tokens=4)["usage"]
        self.assertGreaterEqual(usage["completion_tokens"], 4)
        with tempfile.TemporaryDirectory() as folder:
            model = model_with(folder, generation_config={"eos_token_id": end})
            with Server(model=model) as server:
                fields = {"max_tokens": 6, "temperature": 0}
                self.assertEqual(server.complete(PROMPT, **fields)["choices"][0]["text"], "")
                usage = server.complete(PROMPT, **fields, ignore_eos=True)["usage"]
                self.assertEqual(usage["completion_tokens"], 6)

    def test_usage_so_far_in_every_chunk(self):
        events = self.server.stream("/v1/completions", {
            "prompt": PROMPT, "max_tokens": 6, "temperature": 0,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True}})
        counts = [event["usage"]["completion_tokens"] for event in events]
        self.assertEqual(counts, sorted(counts))
        self.assertEqual((counts[0], counts[-1]), (1, 6))
        self.assertEqual(len({event["usage"]["prompt_tokens"] for event in events}), 1)

    def test_a_chat_streams_what_it_answers(self):
        body = {"messages": [{"role": "developer", "content": "Be brief."},
                             {"role": "user", "content": [{"type": "text", "text": "Who?"}]}],
                "max_completion_tokens": 12, "temperature": 0}
        whole = self.server.post("/v1/chat/completions", body)
        self.assertEqual(whole["object"], "chat.completion")
        self.assertEqual(whole["choices"][0]["message"]["role"], "assistant")
        events = self.server.stream("/v1/chat/completions", body)
        deltas = [e["choices"][0]["delta"] for e in events]
        self.assertEqual(deltas[0], {"role": "assistant", "content": ""})
        self.assertEqual("".join(d.get("content", "") for d in deltas),
                         whole["choices"][0]["message"]["content"])

    def test_reasoning_has_a_place_of_its_own(self):
        for field in ({"chat_template_kwargs": {"thinking": True}}, {"reasoning_effort": "high"},
                      {"thinking": {"type": "enabled"}}):
            answer = self.server.chat("Who?", max_tokens=8, temperature=0, **field)
            message = answer["choices"][0]["message"]
            self.assertEqual(message["content"], "")
            self.assertNotEqual(message["reasoning_content"], "")
            details = answer["usage"]["completion_tokens_details"]
            self.assertEqual(details["reasoning_tokens"], 8)

    def test_json_is_enforced_at_any_temperature(self):
        for seed in range(2):
            answer = self.server.chat("x", max_tokens=300, temperature=2, seed=seed,
                                      response_format={"type": "json_schema", "json_schema":
                                                       {"name": "s", "schema": SCHEMA}})
            value = json.loads(answer["choices"][0]["message"]["content"])
            self.assertIn(value["name"], ("a", "b"))
            self.assertIsInstance(value["n"], int)
            self.assertIn(len(value["list"]), (1, 2))
        # A string may go on for ever: quotes are pushed so that it ends.
        quote, brace = (self.server.post("/tokenize", {"prompt": c, "add_special_tokens": False}
                                         )["tokens"][0] for c in ('"', "}"))
        answer = self.server.chat("x", max_tokens=300, temperature=1, seed=1,
                                  logit_bias={str(quote): 20, str(brace): 20},
                                  response_format={"type": "json_object"})
        self.assertEqual(answer["choices"][0]["finish_reason"], "stop")
        self.assertIsInstance(json.loads(answer["choices"][0]["message"]["content"]), dict)

    def test_tools_that_must_be_called_are_called_streamed_or_not(self):
        body = {"messages": [{"role": "user", "content": "x"}], "tools": TOOLS, "seed": 4,
                "tool_choice": {"type": "function", "function": {"name": "f"}},
                "parallel_tool_calls": False}
        choice = self.server.post("/v1/chat/completions", body)["choices"][0]
        self.assertEqual(choice["finish_reason"], "tool_calls")
        (call,) = choice["message"]["tool_calls"]
        arguments = json.loads(call["function"]["arguments"])
        self.assertEqual(call["function"]["name"], "f")
        self.assertIn(arguments["a"], ("x", "yz"))
        self.assertIsInstance(arguments["b"], bool)
        text = ""
        for event in self.server.stream("/v1/chat/completions", body):
            for part in event["choices"][0]["delta"].get("tool_calls", []):
                self.assertEqual(part["index"], 0)
                text += part["function"]["arguments"]
        self.assertEqual(json.loads(text), arguments)
        # The conversation can go on with the call and its result.
        again = {**body, "tool_choice": "none", "max_tokens": 4, "messages": body["messages"] + [
            choice["message"], {"role": "tool", "tool_call_id": call["id"], "content": "done"}]}
        self.server.post("/v1/chat/completions", again)

    def test_what_was_read_before_is_counted_as_a_hit(self):
        prompt = "And it came to pass in those days, " * 12
        first = self.server.complete(prompt, max_tokens=4, temperature=0)
        again = self.server.complete(prompt, max_tokens=4, temperature=0)
        for usage in (first["usage"], again["usage"]):
            self.assertEqual(usage["prompt_cache_hit_tokens"] + usage["prompt_cache_miss_tokens"],
                             usage["prompt_tokens"])
        self.assertEqual(first["usage"]["prompt_cache_hit_tokens"], 0)
        self.assertGreaterEqual(again["usage"]["prompt_cache_hit_tokens"], 64)
        self.assertEqual(first["choices"][0]["text"], again["choices"][0]["text"])

    def test_selections_name_what_was_read(self):
        prompt = "And the LORD spake unto Moses, saying, " * 12
        out = self.server.post("/v1/selections", {
            "request": {"prompt": prompt, "max_tokens": 3, "temperature": 0},
            "tokens": [0, 2], "layers": [1]})
        n_prompt = out["prompt"]["n_tokens"]
        self.assertEqual(sum(out["prompt"]["lengths"]), len(out["prompt"]["text"]))
        self.assertEqual(len(out["prompt"]["lengths"]), n_prompt)
        self.assertEqual([t["index"] for t in out["tokens"]], [0, 2])
        for token in out["tokens"]:
            self.assertEqual(token["position"], n_prompt + token["index"])
            self.assertEqual(token["n_read"], 64)
            (layer,) = token["layers"]
            self.assertEqual((layer["layer"], len(layer["deltas"]), len(layer["scores"])),
                             (1, 64, 64))
            self.assertLess(sum(layer["deltas"]), token["position"])
            merged = token["merged"]
            self.assertEqual(sum(merged["layers"]), 64 * out["n_layers"])
            self.assertTrue(all(0 <= s <= 1 for s in merged["scores"]))

    def test_wrong_requests_are_refused_by_field(self):
        message = [{"role": "user", "content": "x"}]
        chat = "/v1/chat/completions"
        cases = [
            (chat, {"messages": message, "foo": 1}, 400, "foo"),
            (chat, {"messages": message, "temperature": 3}, 400, "temperature"),
            (chat, {"messages": message, "top_p": "x"}, 400, "top_p"),
            (chat, {"messages": message, "model": "gpt-4"}, 404, "model"),
            (chat, {"messages": []}, 400, "messages"),
            (chat, {}, 400, "messages"),
            (chat, {"messages": [{"role": "bot", "content": "x"}]}, 400, "messages[0].role"),
            (chat, {"messages": message + [{"role": "user"}]}, 400, "messages[1].content"),
            (chat, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400,
             "messages[0].content"),
            (chat, {"messages": message, "tools": [{}]}, 400, "tools[0].type"),
            (chat, {"messages": message, "tool_choice": "required"}, 400, "tool_choice"),
            (chat, {"messages": message, "tools": TOOLS, "tool_choice":
                    {"type": "function", "function": {"name": "g"}}}, 400, "tool_choice"),
            (chat, {"messages": message, "top_logprobs": 2}, 400, "top_logprobs"),
            (chat, {"messages": message, "n": 0}, 400, "n"),
            (chat, {"messages": message, "stop": ["a", 1]}, 400, "stop"),
            (chat, {"messages": message, "logit_bias": {"x": 1}}, 400, "logit_bias.x"),
            (chat, {"messages": message, "response_format": {"type": "yaml"}}, 400,
             "response_format"),
            (chat, {"messages": message, "response_format": {"type": "json_schema", "json_schema": {
                "schema": {"properties": {"a": {"pattern": "(?=x)"}}}}}}, 400,
             "response_format.json_schema.schema.properties.a.pattern"),
            ("/v1/completions", {"prompt": "x", "echo": "x"}, 400, "echo"),
            ("/v1/completions", {"prompt": [99999]}, 400, "prompt"),
            ("/v1/completions", {"prompt": "x " * 5000}, 400, "prompt"),
            (chat, {"messages": message, "max_tokens": 0}, 400, "max_tokens"),
            ("/v1/completions", {"prompt": "x", "stream_options": {}}, 400, "stream_options"),
            ("/v1/selections", {"request": {"prompt": "x", "n": 2}}, 400, "request.n"),
            ("/detokenize", {"tokens": [-1]}, 400, "tokens"),
            ("/tokenize", {"prompt": 3}, 400, "prompt"),
        ]
        for path, body, status, param in cases:
            with self.subTest(path=path, body=body):
                error = self.server.post(path, body, want=status)["error"]
                self.assertEqual((error["param"], error["type"]), (param, "invalid_request_error"))
                self.assertTrue(error["message"])

    def test_a_stream_begins_when_its_request_is_accepted(self):
        body = {"prompt": "And it came to pass, " * 350, "max_tokens": 1, "stream": True,
                "use_prefix_cache": False}
        with self.server.socket() as client:
            client.sendall(request_bytes("/v1/completions", body))
            self.assertTrue(client.recv(65536).endswith(b"chunked\r\n\r\n"))  # the head alone

    def test_paths_are_taken_as_clients_make_them_of_any_base_url(self):
        for path in ("/v1/completions/", "//v1/completions", "/completions", "/v1/v1/completions"):
            self.assertIn("choices", self.server.post(path, {"prompt": "x", "max_tokens": 1}))
        for path in ("/v1/tokenize", "/tokenize/"):
            self.assertEqual(self.server.post(path, {"prompt": "x"})["count"], 1)
        self.assertEqual(self.server.get("/models/baby-v32/")["id"], "baby-v32")

    def test_what_is_not_a_request_is_refused(self):
        def status(*args, **kwargs):
            return self.server.request(*args, **kwargs)[0]
        self.assertEqual(status("POST", "/v1/completions", b"{"), 400)
        self.assertEqual(status("POST", "/v1/completions", b"[" * 100000), 400)
        self.assertEqual(status("POST", "/v1/completions", b'{"prompt":"\xff"}'), 400)
        self.assertEqual(status("GET", "/nothing"), 404)
        self.assertEqual(status("GET", "/v1/completions"), 405)
        self.assertEqual(status("DELETE", "/health"), 405)
        self.assertEqual(status("GET", "/health", headers={"Host": "evil.example"}), 403)
        self.assertEqual(status("POST", "/v1/completions", b"{}",
                                headers={"Content-Type": "text/plain"}), 415)
        self.assertEqual(status("GET", "/health", headers={"X": "x" * 20000}), 431)

    def test_one_connection_serves_many_requests_also_sent_ahead(self):
        with self.server.socket() as client:
            one = request_bytes("/tokenize", {"prompt": "x"})
            client.sendall(one * 3)
            data = b""
            while data.count(b"max_model_len") < 3:
                data += client.recv(65536)
            self.assertEqual(data.count(b"HTTP/1.1 200 OK"), 3)
            client.sendall(request_bytes("/tokenize", {"prompt": "x"}, "Connection: close\r\n"))
            rest = b""
            while chunk := client.recv(65536):
                rest += chunk
            self.assertIn(b"Connection: close", rest)

    def test_the_log_has_no_text_of_prompts(self):
        self.server.complete("Nebuchadnezzar walketh", max_tokens=2)
        self.assertFalse([line for line in self.server.log if "Nebuchadnezzar" in line])
        for line in list(self.server.log):
            self.assertIn("event", json.loads(line))


class OtherFamilies(unittest.TestCase):

    def test_chats_are_refused_and_completions_are_not_where_the_encoding_is_not_known(self):
        with tempfile.TemporaryDirectory() as folder:
            with Server(model=glm_model(folder)) as server:
                messages = [{"role": "user", "content": "x"}]
                refused = [server.chat("x", want=400),
                           server.post("/tokenize", {"messages": messages}, want=400),
                           server.post("/v1/selections", {"request": {"messages": messages}}, 400)]
                for error in (answer["error"] for answer in refused):
                    self.assertIn('model_type: "glm_moe_dsa"', error["message"])
                    self.assertIn("(/v1/completions)", error["message"])
                self.assertTrue(server.complete("x", max_tokens=2)["choices"][0]["text"])


if __name__ == "__main__":
    from dsa_program import main
    main()
