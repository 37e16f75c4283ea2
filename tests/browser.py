"""A browser to use a page as a person does: Chromium without a window, told what to do through a pipe."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time

import pytest

SECONDS = 600         # longer than anything takes that has not hung
KEYS = {"Enter": (13, "\r"), "Tab": (9, ""), "Escape": (27, ""), "ArrowUp": (38, ""), "ArrowDown": (40, ""),
        "ArrowLeft": (37, ""), "ArrowRight": (39, "")}


@contextlib.contextmanager
def browser(folder):
    """A Browser with one page; the test is skipped where no Chromium is installed."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no chromium is installed: apt-get install chromium")
    (child_reads, we_write), (we_read, child_writes) = os.pipe(), os.pipe()

    def at_3_and_4():       # where the browser looks for its pipe
        reads, writes = os.dup(child_reads), os.dup(child_writes)
        os.dup2(reads, 3), os.dup2(writes, 4)

    process = subprocess.Popen(
        [program, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
         f"--user-data-dir={folder / 'profile'}", "about:blank"],
        preexec_fn=at_3_and_4, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(child_reads), os.close(child_writes)
    try:
        yield Browser(we_read, we_write)
    finally:
        process.terminate()
        process.wait(SECONDS)
        os.close(we_read), os.close(we_write)


class Browser:
    """What a person does with a page, and what there is to see on it."""

    def __init__(self, reads, writes):
        self.reads, self.writes, self.rest, self.number, self.session, self.events = reads, writes, b"", 0, None, []
        target = self.tell("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.tell("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.tell(f"{domain}.enable")

    def tell(self, method, **parameters):
        """Send a command of the DevTools protocol; returns its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writes, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + SECONDS
        while True:
            answer = self.next_message(end)
            if answer.get("id") == self.number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self.events.append(answer)

    def next_message(self, end):
        while b"\0" not in self.rest:
            assert select.select([self.reads], [], [], end - time.monotonic())[0], "the browser does not answer"
            self.rest += os.read(self.reads, 2 ** 20)
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def open(self, path, width=1200, height=900, script=True, dark=False):
        """Open a file in a window of this size."""
        self.tell("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.tell("Emulation.setScriptExecutionDisabled", value=not script)
        self.tell("Emulation.setEmulatedMedia", media="", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.go("Page.navigate", url=path.as_uri())

    def go(self, method, **parameters):
        """Navigate, or reload, and wait until the page is there."""
        self.events = [event for event in self.events if event.get("method") != "Page.loadEventFired"]
        self.tell(method, **parameters)
        end = time.monotonic() + SECONDS
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.next_message(end))

    def value(self, expression):
        """What an expression in the page's language comes to."""
        answer = self.tell("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def click(self, selector):
        """Click with the mouse where an element is."""
        x, y = self.value(f"""(() => {{const element = document.querySelector({json.dumps(selector)});
            element.scrollIntoView({{block: "center", inline: "center", behavior: "instant"}});
            const box = element.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2]}})()""")
        for kind in ("mousePressed", "mouseReleased"):
            self.tell("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.settle()

    def press(self, *keys):
        """Press keys, one after the other; a single character is typed."""
        for key in keys:
            code, text = KEYS.get(key, (0, key))
            more = {"text": text} if text else {}
            self.tell("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **more)
            self.tell("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)
        self.settle()

    def settle(self):
        """Wait until what was done has come to be seen."""
        self.value("new Promise(done => requestAnimationFrame(() => setTimeout(done, 30)))")

    def complaints(self):
        """What the browser said against the page, such as what its policy kept from running, and what it loaded."""
        self.settle()
        return [event["params"] for event in self.events
                if event["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")]

    def loaded(self):
        """The addresses that were asked for, other than data in the page itself."""
        asked = (event["params"]["request"]["url"] for event in self.events
                 if event["method"] == "Network.requestWillBeSent")
        return [url for url in asked if not url.startswith("data:")]

    def picture(self, path, whole=True):
        """Write a picture of the page."""
        data = self.tell("Page.captureScreenshot", format="png", captureBeyondViewport=whole,
                         **({"clip": self.whole()} if whole else {}))["data"]
        path.write_bytes(base64.b64decode(data))

    def whole(self):
        size = self.tell("Page.getLayoutMetrics")["cssContentSize"]
        return {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}

    def printed(self):
        """The page as a PDF, in bytes."""
        return base64.b64decode(self.tell("Page.printToPDF", printBackground=False)["data"])
