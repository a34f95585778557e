"""Load of editors and scripts on a server: completions, streams and infilling, each at a preset of its own.

    locust -f benchmarks/locustfile.py --headless -u 8 -r 8 -t 30s -H http://127.0.0.1:8000

prints requests, failures and percentiles of latency by preset: of whole answers (infill, completion), and
until a stream's first event (first token). A key, if the server asks for one, is read from the environment
variable DERAILLEUR_API_KEY.
"""

import os
import random
import time
from typing import Any

from locust import HttpUser, between, task

_LINES = [
    "import json\n",
    "def read(path):\n    with open(path) as file:\n        return file.read()\n",
    "class Table:\n    def __init__(self, rows):\n        self.rows = rows\n",
    "for name, value in sorted(values.items()):\n    print(name, value)\n",
]


class Editor(HttpUser):
    """Asks for a filling or a completion, waits a moment, asks again."""

    wait_time = between(0.05, 0.3)

    def on_start(self) -> None:
        """Learn which presets there are."""
        key = os.environ.get("DERAILLEUR_API_KEY", "")
        self.authorization = {"Authorization": f"Bearer {key}"} if key else {}
        answer = self.client.get("/v1/presets", headers=self.authorization)
        self.presets = [preset["name"] for preset in answer.json()["data"]]

    @task(3)
    def infill(self) -> None:
        """Fill in at a cursor between two pieces of code."""
        body = {
            "input_prefix": self._code(),
            "prompt": "    return ",
            "input_suffix": "\n\n" + random.choice(_LINES),
            "input_extra": [{"filename": "other.py", "text": self._code()}],
            "n_predict": 24,
        }
        self._post("/infill", "infill", body)

    @task(2)
    def completion(self) -> None:
        """Continue a file."""
        self._post("/v1/completions", "completion", {"prompt": self._code(), "max_tokens": 24})

    @task(1)
    def stream(self) -> None:
        """Continue a file, reading the text as it comes."""
        preset = random.choice(self.presets)
        body = {"prompt": self._code(), "max_tokens": 48, "stream": True, "preset": preset}
        begin = time.perf_counter()
        with self.client.post(
            "/v1/completions",
            json=body,
            headers=self.authorization,
            stream=True,
            catch_response=True,
            name=f"first token {preset}",
        ) as answer:
            lines = answer.iter_lines(chunk_size=1)
            last = next(lines, b"")
            answer.request_meta["response_time"] = 1000 * (time.perf_counter() - begin)
            for line in lines:
                last = line or last
            if last != b"data: [DONE]":
                answer.failure(f"status {answer.status_code}, ended with {last!r}")

    def _code(self) -> str:
        """A file, which may begin like one that was sent before."""
        return "".join(random.choices(_LINES, k=random.randint(2, 8)))

    def _post(self, path: str, name: str, body: dict[str, Any]) -> None:
        preset = random.choice(self.presets)
        self.client.post(
            path, json=body | {"preset": preset}, headers=self.authorization, name=f"{name} {preset}"
        )
