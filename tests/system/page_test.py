"""The chat page of dsa serve in a headless Chromium. DSA_SCREENSHOTS=DIR keeps pictures."""
import itertools
import json
import os
import pathlib
import sys
import tempfile
import unittest

from chrome import BROWSER, Chrome
from dsa_program import MODEL, SKIPPED, main
from serve_program import Server, long_model

PICTURES = os.environ.get("DSA_SCREENSHOTS")
KEY = {"Authorization": "Bearer secret"}
ENTER = ("Enter", 13, "\r")
LAST_FOOT = "document.querySelector('article.answer:last-of-type .foot')"
STATUS = "document.querySelector('#lens-status').textContent"


class Page(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(cls.folder.name)
        (folder / "model").mkdir()
        cls.key = folder / "keys"
        cls.key.write_text("secret\n")
        cls.book = folder / "book.txt"
        cls.book.write_text((MODEL / "heldout.txt").read_text()[:5000])
        cls.server = Server("--name", "baby-v32", "--api-keys", cls.key,
                            model=long_model(folder / "model"))
        cls.chrome = Chrome()

    @classmethod
    def tearDownClass(cls):
        cls.chrome.close()
        assert cls.server.stop() == 0, cls.server.log
        cls.folder.cleanup()

    def setUp(self):
        self.chrome.resize(1280, 800)
        self.chrome.open(self.server.url + "/")
        self.chrome.evaluate("sessionStorage.setItem('key', 'secret')")
        self.chrome.open(self.server.url + "/?")  # read anew, with the key
        self.chrome.wait("document.querySelector('#model').textContent")
        self.chrome.complaints.clear()  # of the first time, without the key

    def set_field(self, name, value):
        self.chrome.evaluate(f"document.querySelector('#{name}').value = {str(value)!r}")

    def ask(self, text, **settings):
        """Sends a message and waits for the whole answer."""
        for name, value in settings.items():
            self.set_field(name.replace("_", "-"), value)
        self.chrome.click("#question")
        self.chrome.type(text)
        self.chrome.press(*ENTER)
        # An answer may have begun and ended, or have been refused, before this looks.
        self.chrome.wait("!document.querySelector('#stop').hidden || " + LAST_FOOT + " !== null"
                         " || document.querySelector('article.error') !== null")
        self.chrome.wait("document.querySelector('#stop').hidden")

    def texts(self, selector):
        return self.chrome.evaluate(
            f"[...document.querySelectorAll({selector!r})].map((e) => e.textContent)")

    def attach_book(self):
        self.chrome.choose_files("#file", self.book)
        self.chrome.wait("document.querySelector('#files li')")

    def open_lens(self):
        self.chrome.click("article.answer:last-of-type .foot button")
        self.chrome.wait(STATUS + ".startsWith('Token 1 of')")

    def picture(self, name):
        if not PICTURES:
            return
        for width, height in ((1280, 800), (390, 844)):
            for dark in (False, True):
                self.chrome.resize(width, height, dark)
                self.chrome.evaluate("new Promise((done) => setTimeout(done, 300))")
                shade = "dark" if dark else "light"
                self.chrome.screenshot(f"{PICTURES}/{name}-{width}-{shade}.png")
        self.chrome.resize(1280, 800)

    def test_the_answer_of_the_page_is_the_answer_of_the_api(self):
        body = {"messages": [{"role": "system", "content": "Be brief."},
                             {"role": "user", "content": "Who made heaven?"}],
                "max_tokens": 12, "temperature": 0.7, "seed": 5}
        status, _, _ = self.server.request("POST", "/v1/chat/completions", body)
        self.assertEqual(status, 401)
        self.ask("Who made heaven?", system="Be brief.", max_tokens=12, temperature=0.7, seed=5)
        (shown,) = self.texts("article.answer > .text")
        self.assertEqual(shown, self.answer_of_the_api(body))
        (usage,) = self.texts(".usage")
        self.assertRegex(usage, r"^12 tokens, cut at the limit · prompt of \d+: \d+ from the "
                                r"cache, \d+ read$")
        self.assertEqual(self.chrome.complaints, [])

    def answer_of_the_api(self, body):
        status, _, data = self.server.request("POST", "/v1/chat/completions", body, KEY)
        self.assertEqual(status, 200, data)
        return json.loads(data)["choices"][0]["message"]["content"]

    def test_a_second_question_about_a_file_is_read_from_the_cache(self):
        self.attach_book()
        self.ask("What is written?", max_tokens=8, temperature=0)
        self.assertEqual(self.texts(".question .file"), ["Attached: book.txt"])
        self.assertEqual(self.texts("#files li"), [])
        self.ask("And then?")
        usage = self.texts(".usage")[-1]
        hits = int(usage.split(": ")[1].split(" from")[0].replace(",", ""))
        self.assertGreater(hits, 1000)
        self.picture("chat")
        self.assertEqual(self.chrome.complaints, [])

    def test_the_lens_lights_what_the_selections_tell(self):
        self.attach_book()
        self.ask("What is written?", max_tokens=24, temperature=0)
        self.open_lens()
        self.assertRegex(self.chrome.evaluate(STATUS),
                         r"^Token 1 of 24: read 64 of [\d,]+ tokens, \d %; all layers together \d+, ")
        lit = "document.querySelectorAll('#lens-text mark').length"
        self.chrome.click("#lens-top li button")
        self.chrome.wait(lit + " > 0")
        self.picture("lens")
        self.chrome.evaluate("document.querySelector('#lens-answer').focus()")
        for _ in range(9):  # past the selections that came first
            self.chrome.press("ArrowRight", 39)
        self.chrome.wait(STATUS + ".startsWith('Token 10 of 24: read 64 of')")
        self.chrome.press("End", 35)
        self.chrome.wait(STATUS + ".startsWith('Token 24 of 24')")
        shown = self.chrome.evaluate("document.querySelector('#lens-answer').textContent")
        self.assertEqual(shown, self.texts("article.answer > .text")[0])
        self.set_field("lens-layer", 2)
        self.chrome.evaluate(
            "document.querySelector('#lens-layer').dispatchEvent(new Event('change'))")
        self.chrome.wait(STATUS + ".endsWith('%')")
        self.chrome.resize(1280, 8000)  # all of the context is in view, and so marked
        lit = "[...document.querySelectorAll('#lens-text mark:not(.chosen)')]"
        expected = self.selected_text("What is written?", token=23, layer=2)
        self.chrome.wait(f"{lit}.map((mark) => mark.textContent).join('') === "
                         + json.dumps(expected))
        self.chrome.resize(1280, 800)
        self.chrome.press("Escape", 27)
        self.chrome.wait("!document.querySelector('#lens').open")
        self.assertEqual(self.chrome.complaints, [])

    def selected_text(self, question, token, layer):
        """The tokens that /v1/selections names for the greedy answer about the book."""
        content = (f"[file name]: book.txt\n[file content begin]\n{self.book.read_text()}\n"
                   f"[file content end]\n{question}")
        body = {"request": {"messages": [{"role": "user", "content": content}],
                            "max_tokens": token + 1, "temperature": 0},
                "tokens": [token], "layers": [layer], "merged": False}
        status, _, data = self.server.request("POST", "/v1/selections", body, KEY)
        self.assertEqual(status, 200, data)
        found = json.loads(data)
        text = found["prompt"]["text"] + found["answer"]["text"]
        lengths = found["prompt"]["lengths"] + found["answer"]["lengths"]
        starts = [0, *itertools.accumulate(lengths)]
        positions = itertools.accumulate(found["tokens"][0]["layers"][0]["deltas"])
        return "".join(text[starts[p]:starts[p + 1]] for p in positions)

    def test_stop_ends_an_answer_and_keeps_what_came(self):
        self.set_field("max-tokens", 3000)
        self.chrome.click("#question")
        self.chrome.type("Speak long.")
        self.chrome.press(*ENTER)
        self.chrome.wait("document.querySelector('article.answer > .text')?.textContent.length > 20")
        self.chrome.click("#stop")
        self.chrome.wait("document.querySelector('#stop').hidden")
        self.assertIn("stopped", self.texts(".usage")[0])
        self.open_lens()
        self.assertEqual(self.chrome.complaints, [])

    def test_reasoning_has_a_place_of_its_own(self):
        self.chrome.click("#open-settings")
        self.chrome.wait("document.querySelector('#settings').open")
        self.chrome.click("#thinking")
        self.picture("settings")
        self.chrome.press("Escape", 27)
        self.ask("Who?", max_tokens=8, temperature=0)
        self.assertNotEqual(self.texts(".reasoning .text"), [""])
        self.assertEqual(self.texts("article.answer > .text"), [""])

    def test_an_error_is_shown_in_the_words_of_the_api(self):
        self.ask("Who?", temperature=9)
        (error,) = self.texts("article.error")
        self.assertIn("temperature", error)
        self.assertEqual(self.texts("article.answer"), [])
        self.assertEqual(self.chrome.evaluate("document.querySelector('#question').value"), "Who?")

    def test_the_page_asks_for_a_key_when_the_server_does(self):
        self.chrome.evaluate("sessionStorage.clear()")
        self.chrome.open(self.server.url + "/")
        self.chrome.wait("!document.querySelector('#key-form').hidden")
        self.chrome.wait("document.activeElement.id === 'key'")
        self.chrome.type("secret")
        self.chrome.press(*ENTER)
        self.chrome.wait("document.querySelector('#key-form').hidden")
        self.assertIn("4,096", self.texts("#model")[0])

    def test_the_context_view_is_light_at_100000_tokens(self):
        self.chrome.evaluate("document.querySelector('#lens').showModal()")
        shown = self.chrome.evaluate("""(async () => {
          const {ContextView} = await import("/context_view.js");
          const {Strip} = await import("/strip.js");
          const view = new ContextView(document.querySelector("#lens-text"));
          const strip = new Strip(document.querySelector("#lens-strip"), view);
          const n = 100000;
          view.setText("word ".repeat(n), new Array(n).fill(5));
          const levels = new Uint8Array(n);
          for (let i = 0; i < n; i += 3) levels[i] = 1 + i % 5;
          view.light(levels);
          strip.show(levels);
          const frame = () => new Promise((done) => setTimeout(done, 100));
          await frame();
          view.scrollTo(70000);
          await frame();
          const [first, end] = view.visible();
          return {first, end, nodes: document.querySelectorAll("#lens-text *").length,
                  marks: document.querySelectorAll("#lens-text mark").length};
        })()""")
        self.assertLess(shown["first"], 70000)
        self.assertGreater(shown["end"], 70000)
        self.assertLess(shown["end"] - shown["first"], 5000)
        self.assertGreater(shown["marks"], 10)
        self.assertLess(shown["nodes"], 5000)
        self.chrome.click("#lens-strip")  # its middle
        self.chrome.wait("""(() => {
          const text = document.querySelector("#lens-text");
          return Math.abs(text.scrollTop / text.scrollHeight - 0.5) < 0.02;
        })()""")
        self.picture("long")
        self.assertEqual(self.chrome.complaints, [])


if __name__ == "__main__":
    if BROWSER is None:
        print("skipped: no chromium on the PATH (Debian: apt-get install chromium)")
        sys.exit(SKIPPED)
    main()
