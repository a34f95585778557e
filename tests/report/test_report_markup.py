"""Nothing that comes from a file can become markup."""

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from derailleur.report.markup import Html, element, join


class Collector(HTMLParser):
    """Remembers every tag, attribute and piece of text, as a browser would see them."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("<>&\"'/=! "), max_size=40)


@given(text=TEXT, attribute=TEXT)
def test_text_and_attributes_come_back_as_they_went_in(text: str, attribute: str) -> None:
    seen = Collector(element("p", text, title=attribute))
    assert seen.tags == ["p"]
    assert seen.attributes == [("title", attribute)]
    assert seen.text == text


def test_only_html_is_markup() -> None:
    assert join("<b>", Html("<i>"), None, ["&", 3]) == "&lt;b&gt;<i>&amp;3"
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert element("td", class_="number", title=None) == '<td class="number"></td>'
