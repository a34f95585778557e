"""The page in headless Chromium, against a real server: it streams, compares and fills in."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


class Browser:
    """A page in Chromium, driven through its debugging pipe."""

    def __init__(self, address: str, profile: Path) -> None:
        assert CHROMIUM is not None
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        # Chromium reads commands from descriptor 3 and writes answers to descriptor 4.
        redirect = ["bash", "-c", f'exec "$@" 3<&{commands} 4>&{answers}', "bash"]
        call = [CHROMIUM, *OPTIONS, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            [*redirect, *call], pass_fds=(commands, answers), stderr=subprocess.DEVNULL
        )
        os.close(commands)
        os.close(answers)
        self._buffer = b""
        self._last_id = 0
        target = self.send("Target.createTarget", url=address)["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.problems: list[str] = []
        self.send("Runtime.enable")
        self.send("Log.enable")
        self.until("document.readyState == 'complete' && server !== null")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the DevTools protocol and its result."""
        self._last_id += 1
        command: dict[str, Any] = {"id": self._last_id, "method": method, "params": params}
        if hasattr(self, "_session"):
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            while b"\0" not in self._buffer:
                block = os.read(self._answers, 1 << 16)
                assert block, "the browser ended"
                self._buffer += block
            message, _, self._buffer = self._buffer.partition(b"\0")
            answer = json.loads(message)
            if answer.get("method") == "Runtime.exceptionThrown" or _is_error(answer):
                self.problems.append(str(answer["params"]))
            if answer.get("id") == self._last_id:
                assert "error" not in answer, answer
                return answer["result"]

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression: str, seconds: float = 20) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(
            f"(() => {{ try {{ return Boolean({expression}) }} catch {{ return false }} }})()"
        ):
            assert time.monotonic() < end, f"not in time: {expression}"
            time.sleep(0.05)

    def close(self) -> None:
        """End the browser."""
        self.send("Browser.close")
        self._process.wait(10)
        os.close(self._commands)
        os.close(self._answers)


def _is_error(answer: dict[str, Any]) -> bool:
    return answer.get("method") == "Log.entryAdded" and answer["params"]["entry"]["level"] == "error"


@pytest.fixture
def browser(address: str, tmp_path: Path) -> Iterator[Browser]:
    opened = Browser(address, tmp_path / "profile")
    yield opened
    opened.close()


@pytest.fixture
def expected(address: str) -> Callable[..., str]:
    """What the interface answers to what the page should ask."""

    def ask(**body: object) -> str:
        answer = httpx.post(f"{address}/v1/completions", json={"temperature": 0, **body}, timeout=30)
        return answer.json()["choices"][0]["text"]

    return ask


def test_the_page(browser: Browser, expected: Callable[..., str]) -> None:
    """One column, two columns with a draft, filling in, an error: as a person would go through it."""
    code = "import json\n\ndef load("
    browser.evaluate(f"code.value = {json.dumps(code)}; $('#max').value = 32; describe(); run()")
    browser.until("!running")
    texts = "[...document.querySelectorAll('.new')].map(part => part.textContent)"
    assert browser.evaluate(texts) == [expected(prompt=code, preset="full", max_tokens=32)]
    assert float(browser.evaluate("$('[data-of=speed]').textContent")) > 0
    assert browser.evaluate("$('.strip').textContent") == "FFFF"

    browser.evaluate("$('#compare').click()")
    assert browser.evaluate("[...document.querySelectorAll('.preset')].map(s => s.value)") == ["full", "fast"]
    browser.evaluate("document.querySelectorAll('.draft')[1].value = 'balanced'; run()")
    browser.until("!running")
    assert browser.evaluate(texts) == [
        expected(prompt=code, preset=preset, max_tokens=32) for preset in ("full", "fast")
    ]
    assert browser.evaluate("$('[data-of=accepted]', $('#panes').children[1]).textContent").endswith("%")

    browser.evaluate(
        "document.querySelectorAll('.close')[0].click(); code.value = 'a = \\nb = 2';"
        "code.setSelectionRange(4, 4); $('#mark').click(); run()"
    )
    browser.until("!running")
    assert browser.evaluate("code.value") == "a = ▮\nb = 2"
    assert browser.evaluate(texts) == [
        expected(prompt="a = ", suffix="\nb = 2", preset="fast", draft="none", max_tokens=32)
    ]
    assert browser.evaluate("$('.after').textContent") == "\nb = 2"
    assert browser.problems == []

    browser.evaluate("code.value = 'x '.repeat(2000); run()")
    browser.until("!running")
    assert "the context is 512" in browser.evaluate("$('#message').textContent")
