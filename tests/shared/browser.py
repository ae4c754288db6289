"""Chromium without a window, driven by its DevTools protocol over a pipe."""

import fcntl
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_COMMANDS, _ANSWERS = 3, 4
"""The descriptors that Chromium reads and writes."""


class Browser:
    """One page; `console` holds what it complained of.

    Args:
        profile: A folder of its own.
    """

    def __init__(self, profile: Path) -> None:
        pipes = [*os.pipe(), *os.pipe()]
        # Out of the way of the two that Chromium gets.
        moved = [fcntl.fcntl(pipe, fcntl.F_DUPFD_CLOEXEC, 20) for pipe in pipes]
        commands, self._commands, self._answers, answers = moved
        for pipe in pipes:
            os.close(pipe)

        def hand_over() -> None:
            os.dup2(commands, _COMMANDS)
            os.dup2(answers, _ANSWERS)

        self._process = subprocess.Popen(
            [
                *(str(BROWSER), "--headless", "--no-sandbox", "--remote-debugging-pipe", "--disable-extensions"),
                *("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--window-size=1300,1500"),
                *(f"--user-data-dir={profile}", "about:blank"),
            ],
            preexec_fn=hand_over, close_fds=False, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(commands)
        os.close(answers)
        self._read, self._calls, self._session, self.console = b"", 0, "", []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._commands)
        os.close(self._answers)

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        self._calls += 1
        session = {"sessionId": self._session} if self._session else {}
        told = {"id": self._calls, "method": method, "params": given, **session}
        os.write(self._commands, json.dumps(told).encode() + b"\0")
        while (answer := self._next()).get("id") != self._calls:
            if answer.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.console.append(json.dumps(answer["params"]))
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            read = os.read(self._answers, 1 << 16)
            assert read, "Chromium ended"
            self._read += read
        answer, _, self._read = self._read.partition(b"\0")
        return json.loads(answer)

    def evaluate(self, code: str) -> Any:
        """The value of an expression of JavaScript, or of what it promises."""
        found = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, code: str, seconds: float = 30) -> Any:
        """The value of an expression once it is true."""
        end = time.monotonic() + seconds
        while not (found := self.evaluate(code)):
            assert time.monotonic() < end, f"{code} does not come true; the console says: {self.console}"
            time.sleep(0.05)
        return found

    def choose_file(self, selector: str, file: Path) -> None:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def click(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
