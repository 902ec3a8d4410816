"""A headless Chromium, driven through the DevTools protocol over pipes: no package is needed."""
import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

WAIT_SECONDS = 60
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which(
    "google-chrome")


class PageError(AssertionError):
    """What the page or the browser complained about."""


class Chrome:
    """`with Chrome() as chrome:` one tab. The browser reads messages from fd 3 and writes to 4."""

    def __init__(self):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        from_us, self.to_browser = os.pipe()
        self.from_browser, to_us = os.pipe()
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{from_us} 4>&{to_us}', "bash", BROWSER, "--headless=new",
             "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-extensions", "--disable-background-networking", "--force-color-profile=srgb",
             f"--user-data-dir={self.profile.name}", "--remote-debugging-pipe", "about:blank"],
            pass_fds=(from_us, to_us), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(from_us)
        os.close(to_us)
        self.ids = itertools.count(1)
        self.received = b""
        self.complaints = []  # errors and warnings of the page's console, uncaught exceptions
        self.session = None
        (target,) = [t for t in self.call("Target.getTargets")["targetInfos"]
                     if t["type"] == "page"]
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"],
                                 flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        os.close(self.to_browser)  # the browser ends when its pipe does
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.from_browser)
        self.profile.cleanup()

    def call(self, method, **params):
        """The result of a command of the protocol."""
        message = {"id": next(self.ids), "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive(method)
            if answer.get("id") != message["id"]:
                self._note(answer)
            elif "error" in answer:
                raise PageError(f"{method}: {answer['error']}")
            else:
                return answer["result"]

    def _receive(self, what):
        end = time.monotonic() + WAIT_SECONDS
        while b"\0" not in self.received:
            ready, _, _ = select.select([self.from_browser], [], [], end - time.monotonic())
            data = os.read(self.from_browser, 1 << 20) if ready else b""
            if not data:
                raise PageError(f"{what}: the browser does not answer")
            self.received += data
        message, _, self.received = self.received.partition(b"\0")
        return json.loads(message)

    def _note(self, event):
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"].get("exception", params))
        if event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"])

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait(f"document.readyState === 'complete' && location.href.startsWith({url!r})")

    def evaluate(self, expression):
        """The value of a JavaScript expression; promises are awaited."""
        out = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                        awaitPromise=True)
        if "exceptionDetails" in out:
            raise PageError(f"{expression}: {out['exceptionDetails']}")
        return out["result"].get("value")

    def wait(self, expression, seconds=WAIT_SECONDS):
        """Until the expression is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.evaluate(f"!!({expression})"):
                return
            time.sleep(0.05)
        raise PageError(f"{expression}: not true after {seconds} s; {self.complaints}")

    def click(self, selector):
        """A click of the mouse in the middle of the element, which must be there to be hit."""
        x, y = self.evaluate(f"""(() => {{
            const element = document.querySelector({selector!r});
            element.scrollIntoView({{block: "nearest"}});
            const box = element.getBoundingClientRect();
            const at = [box.x + box.width / 2, box.y + box.height / 2];
            return element.contains(document.elementFromPoint(...at)) ? at : [-1, -1];
        }})()""")
        if x < 0:
            raise PageError(f"{selector}: covered or not on the page")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def press(self, key, code=0, text=""):
        """A key by its name, as in "ArrowRight"."""
        extra = {"text": text} if text else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key,
                  windowsVirtualKeyCode=code, **extra)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key,
                  windowsVirtualKeyCode=code)

    def choose_files(self, selector, *paths):
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(p) for p in paths])

    def resize(self, width, height, dark=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as out:
            out.write(base64.b64decode(data))
