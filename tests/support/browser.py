"""A headless Chromium, driven through its debugging pipe: no driver, no port, no network."""

import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager

from tests.support import processes

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars", "--remote-debugging-pipe"),
)
PATIENCE = 60
"""Seconds; a busy machine may take a while to start a browser."""


class Tab:
    """A browser tab and its requests, console messages and exceptions."""

    def __init__(self, send, receive):
        self.send_bytes, self.receive_bytes = send, receive
        self.number, self.session = 0, None
        self.requests, self.complaints = [], []
        self.loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Network", "Log", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.send_bytes(json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self.receive_bytes())
            if answer.get("id") == self.number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._note(answer)

    def _note(self, event):
        method, params = event["method"], event["params"]
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.complaints.append(str(params["args"]))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif method == "Page.loadEventFired":
            self.loaded = True

    def open(self, address):
        """Load an address anew, whatever differs from the one before."""
        self.call("Page.navigate", url="about:blank")
        self.loaded = False
        self.requests.clear()
        self.call("Page.navigate", url=address)
        end = time.monotonic() + PATIENCE
        while not self.loaded or self.run("document.readyState") != "complete":
            assert time.monotonic() < end, "the page does not load"
            self.run("0")

    def run(self, code):
        """Return the value of an expression; a promise is awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def size(self, width, height, scale=1):
        values = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **values)

    def media(self, medium="", **features):
        named = [{"name": n.replace("_", "-"), "value": v} for n, v in features.items()]
        self.call("Emulation.setEmulatedMedia", media=medium, features=named)

    def press(self, key, text=""):
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}
        values = {"key": key, "windowsVirtualKeyCode": codes.get(key, ord(key[0].upper()))}
        text = text or ("\r" if key == "Enter" else key if len(key) == 1 else "")
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **values)
        self.call("Input.dispatchKeyEvent", type="keyUp", **values)


@contextmanager
def chromium(profile):
    """Yield a tab of a browser with a temporary profile."""
    (its_in, ours_out), (ours_in, its_out) = os.pipe(), os.pipe()
    script = f'exec "$@" 3<&{its_in} 4>&{its_out}'
    command = ["bash", "-c", script, "sh", CHROMIUM, *FLAGS, f"--user-data-dir={profile}"]
    process = processes.start(
        command,
        pass_fds=(its_in, its_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(its_in)
    os.close(its_out)
    waiting = bytearray()

    def send(data):
        while data:
            data = data[os.write(ours_out, data) :]

    def receive():
        while b"\0" not in waiting:
            part = os.read(ours_in, 1 << 16)
            assert part, "the browser has ended"
            waiting.extend(part)
        message, _, rest = bytes(waiting).partition(b"\0")
        waiting[:] = rest
        return message

    try:
        yield Tab(send, receive)
    finally:
        processes.end(process)
        os.close(ours_in)
        os.close(ours_out)
