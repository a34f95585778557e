"""The page as it is served; what it does in a browser is tested with other clients."""

import re
from html.parser import HTMLParser

from fastapi.testclient import TestClient


class Elements(HTMLParser):
    """The attributes of every element, by tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of some kinds."""
        return [attributes for tag, attributes in self.found if tag in tags]


def test_nothing_comes_from_elsewhere(client: TestClient) -> None:
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "connect-src 'self'" in policy
    assert not re.search(r"(?:https?:)?//[a-z]", answer.text.replace("http://www.w3.org/2000/svg", ""))
    elements = Elements(answer.text)
    assert not [tag for tag, attributes in elements.found if "src" in attributes]
    assert len(elements.all("script")) == len(elements.all("style")) == 1


def test_every_control_has_a_name(client: TestClient) -> None:
    """A label, or one for those who do not see it."""
    page = client.get("/").text
    elements = Elements(page)
    labelled = {label.get("for") for label in elements.all("label")}
    in_labels = "".join(re.findall(r"<label>.*?</label>", page))
    for control in elements.all("input", "select", "textarea"):
        named = control.get("aria-label") or control.get("id") in labelled
        assert named or f'class="{control["class"]}"' in in_labels, control
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids)) and labelled - {None} <= set(ids)
