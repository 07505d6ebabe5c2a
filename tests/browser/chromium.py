"""A headless Chromium driven over its DevTools pipe: nothing to install beside the browser, no port to open.

Protocol: https://chromedevtools.github.io/devtools-protocol; with --remote-debugging-pipe, messages are JSON that end
in a zero byte, read by the browser from descriptor 3 and written to 4.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import time

import numpy as np

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Nothing is timed by it: it ends a test whose browser hangs.
_PATIENCE_S = 120.0
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--hide-scrollbars",
    "--mute-audio",
    # WebGL without a graphics card.
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
_KEYS = {
    "Enter": ("Enter", 13, "\r"),
    "Escape": ("Escape", 27, ""),
    "Tab": ("Tab", 9, ""),
    "PageUp": ("PageUp", 33, ""),
}


def find() -> str | None:
    """The browser's program, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


# Puts both ends of the pipe where the browser looks for them; high first, so that neither is in the other's way.
_START = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 20) for end in sys.argv[1:3]]
os.dup2(ends[0], 3)
os.dup2(ends[1], 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""


class Chromium:
    """One page in one browser; a context.

    Attributes:
        console: texts of warnings and errors, and of exceptions that nothing caught.
        requests: addresses that the page asked for.
    """

    def __init__(self, profile: pathlib.Path, *flags: str, width: int = 1280, height: int = 900):
        program = find()
        assert program, "no browser"
        self.console: list[str] = []
        self.requests: list[str] = []
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self._waiting = b""
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        words = [program, *_FLAGS, *flags, f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(theirs_in), str(theirs_out), *words],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def _read(self) -> dict:
        while b"\0" not in self._waiting:
            if not select.select([self._in], [], [], _PATIENCE_S)[0]:
                raise TimeoutError("the browser does not answer")
            held = os.read(self._in, 1 << 20)
            if not held:
                raise EOFError("the browser has ended")
            self._waiting += held
        message, self._waiting = self._waiting.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event: dict) -> None:
        held = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(held["request"]["url"])
        elif event.get("method") == "Runtime.exceptionThrown":
            details = held["exceptionDetails"]
            self.console.append(details.get("exception", {}).get("description", details["text"]))
        elif event.get("method") == "Runtime.consoleAPICalled" and held["type"] in ("error", "warning", "assert"):
            self.console.append(" ".join(str(one.get("value", one.get("description"))) for one in held["args"]))
        elif event.get("method") == "Log.entryAdded" and held["entry"]["level"] in ("error", "warning"):
            self.console.append(held["entry"]["text"])

    def send(self, method: str, **parameters) -> dict:
        """Calls a method of the protocol and returns its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer)

    def run(self, script: str):
        """The value of an expression of JavaScript; promises are awaited."""
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, script: str) -> None:
        """Until an expression is true."""
        end = time.monotonic() + _PATIENCE_S
        while not self.run(script):
            if time.monotonic() > end:
                raise TimeoutError(f"never true: {script}; console: {self.console}")
            time.sleep(0.1)

    def open(self, path: pathlib.Path) -> None:
        """Loads a file and waits until it is whole."""
        address = path.resolve().as_uri()
        self.send("Page.navigate", url=address)
        self.wait(f"location.href.split('#')[0] === {json.dumps(address)} && document.readyState === 'complete'")

    def click(self, selector: str) -> None:
        """The left button on the middle of an element, which is brought into sight."""
        place = self.run(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            " one.scrollIntoView({block: 'center', inline: 'center'}); const b = one.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def press(self, key: str) -> None:
        """A key, pressed and let go."""
        code, number, text = _KEYS.get(key, (f"Key{key.upper()}", ord(key.upper()[0]), key))
        held = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **held)
        self.send("Input.dispatchKeyEvent", type="keyUp", **held)

    def look(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Sets the window's size and the colours that the reader prefers."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, selector: str | None = None, *, whole: bool = False) -> bytes:
        """PNG of the window, of an element in it, or of the whole page."""
        options = {"captureBeyondViewport": whole}
        if selector:
            box = self.run(
                f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
                " return [b.x + scrollX, b.y + scrollY, b.width, b.height]; })()"
            )
            options["clip"] = dict(zip(("x", "y", "width", "height"), box), scale=1)
        if whole:
            size = self.send("Page.getLayoutMetrics")["cssContentSize"]
            options["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        return base64.b64decode(self.send("Page.captureScreenshot", format="png", **options)["data"])

    def pixels(self, selector: str) -> np.ndarray:
        """(rows, columns, 3) uint8 of an element as it is seen."""
        from PIL import Image

        # A frame is drawn after the next one was asked for.
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
        return np.asarray(Image.open(io.BytesIO(self.screenshot(selector))).convert("RGB"))
