"""A page in a headless Chromium, spoken to over its debugging protocol: what a person sees and does, and nothing that the page does not let in."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)


class Page:
    """One tab.

    Attributes:
        faults: what the page complained of in its console.
        asked: the addresses that it loaded or asked.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self._connection, self._number = connection, 0
        self.faults: list[str] = []
        self.asked: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its result."""
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=60))
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self._take(message.get("method"), message.get("params", {}))

    def _take(self, method: str | None, told: dict[str, Any]) -> None:
        if method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.faults.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Runtime.exceptionThrown":
            self.faults.append(told["exceptionDetails"]["exception"].get("description", str(told)))
        elif method == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])

    def look(self, width: int, theme: str = "light", height: int = 900) -> None:
        """A window of so many pixels, for somebody who prefers the light or the dark."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])

    def open(self, address: str, until: str) -> None:
        """Go to an address, and wait until something is true there."""
        self.call("Page.navigate", url=address)
        self.wait(f"document.readyState === 'complete' && location.href.startsWith({address!r}) && ({until})")

    def asks(self, script: str) -> Any:
        """What a script comes to."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, script: str, seconds: float = 20) -> None:
        """Until a script comes to something true."""
        until = time.monotonic() + seconds
        while not self.asks(script):
            assert time.monotonic() < until, f"not true within {seconds} s: {script}; {self.faults}"
            time.sleep(0.02)

    def press(self, key: str, text: str = "") -> None:
        """A key of the keyboard, such as Tab or Enter."""
        code = {"Tab": 9, "Enter": 13, " ": 32}[key]
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)

    def picture(self, file: Path) -> None:
        """All of the page as a PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def violations(self) -> list[tuple[str, list[str]]]:
        """What axe-core finds."""
        self.asks(resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
        return self.asks(
            "axe.run(document, {resultTypes: ['violations']}).then(found =>"
            " found.violations.map(rule => [rule.id, rule.nodes.map(node => node.html.slice(0, 200))]))"
        )


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A tab of a browser of its own, whose files are below ``folder``."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--disable-background-networking"]
    process = subprocess.Popen(
        [str(BROWSER), *options, f"--user-data-dir={folder / 'browser'}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        told, until = folder / "browser" / "DevToolsActivePort", time.monotonic() + 60
        while not (told.exists() and len(told.read_text().splitlines()) == 2):
            assert process.poll() is None, "the browser ended"
            assert time.monotonic() < until, "the browser does not start"
            time.sleep(0.05)
        port, path = told.read_text().splitlines()
        with connect(f"ws://127.0.0.1:{port}{path}", max_size=None) as control:
            control.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
            targets = json.loads(control.recv(timeout=60))["result"]["targetInfos"]
        (tab,) = [target["targetId"] for target in targets if target["type"] == "page"]
        with connect(f"ws://127.0.0.1:{port}/devtools/page/{tab}", max_size=None) as connection:
            yield Page(connection)
    finally:
        process.terminate()
        process.wait(timeout=30)
