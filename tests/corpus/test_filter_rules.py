"""Each filter's measures against plain Python and its bounds; profiles, registry, configuration."""

import html.parser
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from derailleur.config import load_config, validate
from derailleur.corpus.filters import FILTERS, FilterConfig, Filters, Judgement
from derailleur.corpus.filters.characters import CharactersConfig, CharactersFilter
from derailleur.corpus.filters.html import HtmlConfig, HtmlFilter
from derailleur.corpus.filters.literals import LiteralsConfig, LiteralsFilter
from derailleur.corpus.filters.repetition import RepetitionConfig, RepetitionFilter, duplicate_lines
from derailleur.corpus.ledger import Verdict
from derailleur.errors import ConfigError, DataError


@dataclass
class Text:
    content: bytes
    language: str = "Python"
    stars: int | None = None


def judge(name: str, text: str, language: str = "Python", stars: int | None = None, **config) -> Judgement:
    filters = Filters(validate(FilterConfig, {"order": [name], **config}))
    return filters.judge(Text(text.encode(), language, stars))


def reason(judgement: Judgement) -> str | None:
    return judgement.verdict and judgement.verdict.reason


@pytest.mark.parametrize(("stars", "expected"), [(None, "stars"), (4, "stars"), (5, None), (100, None)])
def test_stars(stars: int | None, expected: str | None) -> None:
    assert reason(judge("stars", "x = 1", stars=stars)) == expected


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("x = 1\n" * 50, "Python", "comments"),
        ("# c\n" + "x = 1\n" * 10, "Python", None),
        ("# comment\n" * 10, "Python", "comments"),
        ('"""Docstring."""\nx = (  # does not parse\n' + "y = 2\n" * 10, "Python", None),
        ("x = 1\n" * 50, "Ada", None),
        ("", "Python", None),
    ],
)
def test_comments(text: str, language: str, expected: str | None) -> None:
    assert reason(judge("comments", text, language)) == expected


def test_comments_at_a_bound_are_dropped() -> None:
    text = "#" * 80 + "\n" + "x" * 19
    assert judge("comments", text).verdict == Verdict("dropped", "comments", "0.800")
    assert judge("comments", text, comments={"max_share": None}).verdict is None
    assert judge("comments", "x = 1", comments={"min_share": None}).verdict is None


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    made.train_from_iterator(["def function(value): return value\n" * 20], trainer)
    made.enable_truncation(3)  # would falsify the count
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


def test_fertility(tokenizer: Path) -> None:
    config = {"tokenizer": tokenizer}
    code = judge("fertility", "def function(value): return value\n" * 3, fertility=config)
    assert code.verdict is None
    assert code.measures["characters_per_token"] > 2.5
    data = judge("fertility", "9Z" * 50, fertility=config)
    assert data.verdict == Verdict("dropped", "fertility", "1.000")
    assert reason(judge("fertility", "9Z" * 50, "C", fertility=config)) is None  # no bound for C
    assert judge("fertility", "é" * 9, fertility={**config, "max_bytes": 5}).measures == {
        "characters_per_token": pytest.approx(0.5)
    }
    assert judge("fertility", "", fertility=config).measures == {}


def test_fertility_needs_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"filters.fertility.tokenizer: .* needs a tokenizer.json"):
        judge("fertility", "x")
    with pytest.raises(DataError, match=r"none.json: not a tokenizer.json"):
        judge("fertility", "x", fertility={"tokenizer": tmp_path / "none.json"})


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ('<?xml version="1.0"?><a/>', "Python", "xml"),
        (" " * 95 + "<?xml", "Python", "xml"),
        ("é" * 96 + "<?xml", "Python", None),
        ("<?xml", "XML", None),
        ("x = 1", "Python", None),
    ],
)
def test_xml(text: str, language: str, expected: str | None) -> None:
    assert reason(judge("xml", text, language)) == expected


class VisibleText(html.parser.HTMLParser):
    """The standard library's parser as the oracle: text outside scripts and styles."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.hidden = 0
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in ("script", "style") and self.hidden > 0

    def handle_data(self, data: str) -> None:
        self.text += "" if self.hidden else data

    def handle_entityref(self, name: str) -> None:
        self.text += f"&{name};"


def visible_characters(text: str) -> float:
    return HtmlFilter(HtmlConfig()).measure(Text(text.encode(), "HTML"))["html_text_characters"]


def visible_twin(text: str) -> int:
    parser = VisibleText()
    parser.feed(text)
    parser.close()
    return len(re.sub(r"[ \t\n\r\f\v]+", " ", parser.text).strip())


def test_visible_text_as_the_standard_library_sees_it() -> None:
    page = """<!DOCTYPE html>
    <html><head><title>A  title</title><style type="text/css">p > a { }</style></head>
    <body class='a > b' data-x="<p>"><!-- <p>hidden</p> --><p>Text&nbsp;and é <b>bold</b>text</p>
    <SCRIPT>if (a < b) document.write("<p>no</p>")</SCRIPT><scripts>yes</scripts> 1 < 2 </body></html>"""
    assert visible_characters(page) == visible_twin(page)


html_parts = [
    "<p>",
    "</p>",
    "<b class='x>'>",
    "<script>",
    "</script>",
    "<style a='b'>",
    "</style>",
    "a",
    " ",
    "\n",
    "é",
    "<br/>",
]


@settings(deadline=None, max_examples=300)
@given(parts=st.lists(st.sampled_from(html_parts), max_size=20))
def test_visible_text_of_any_tags(parts: list[str]) -> None:
    text = "".join(parts)
    while (opened := text.rfind("<script>")) > text.rfind("</script>") or text.rfind("<style a") > text.rfind(
        "</style>"
    ):
        text += "</script></style>"  # what an unclosed script hides, parsers do not agree on
        if opened < 0:
            break
    assert visible_characters(text) == visible_twin(text)


@pytest.mark.parametrize("unit", ["<", "<!--", "<script>", "<a '", "</", "-->", "<script", "<!-- --", "< "])
def test_a_megabyte_of_broken_html(unit: str) -> None:
    assert visible_characters(unit * (1_000_000 // len(unit))) >= 0


def test_html() -> None:
    assert reason(judge("html", "<p>" + "word " * 40 + "</p>", "HTML")) is None
    assert reason(judge("html", "<p>" + "word " * 10 + "</p>", "HTML")) == "html_text_characters"
    assert reason(judge("html", "<p class='x'></p>" * 100 + "word " * 40, "HTML")) == "html_text_share"
    assert reason(judge("html", "<p></p>", "Python")) is None


@pytest.mark.parametrize(
    ("size", "expected"), [(49, "data_size"), (50, None), (5000, None), (5001, "data_size")]
)
def test_data_size(size: int, expected: str | None) -> None:
    assert reason(judge("data_size", "é" * size, "JSON")) == expected
    assert reason(judge("data_size", "é" * size, "Python")) is None


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ('name,text\n"a, b",some words\nother,"more\nwords and words"\n', "CSV", None),
        ("name\ttext\nsomebody\tsome words here\nother\tmore of the words\n", "TSV", None),
        ("a,b\n", "CSV", "table_size"),
        ("a,b\n" * 2000, "CSV", "table_size"),
        ("prose, with commas\n, and no\ncolumns at all, is not, a, table\n", "CSV", "table_irregular"),
        ("1,2\n3,4\n" * 20, "CSV", "table_of_numbers"),
        ("1,2\n3,4\n" * 20, "Python", None),
    ],
)
def test_tables(text: str, language: str, expected: str | None) -> None:
    assert reason(judge("tables", text, language)) == expected


def characters_twin(text: str) -> dict[str, float]:
    letters = [(c.isalpha() and c.isascii()) or not c.isascii() for c in text]
    spaces = sum(c in " \t\n\r\f\v" for c in text)
    lines = text.count("\n") + (text != "" and not text.endswith("\n"))
    num = max(len(text), 1)
    return {
        "num_words": len(re.findall(r"(?:[0-9A-Za-z_]|[^\x00-\x7f])+", text)),
        "num_characters": len(text),
        "num_lines": lines,
        "num_bytes": len(text.encode()),
        "characters_per_line": len(text) / max(lines, 1),
        "letter_share": sum(letters) / max(len(text) - spaces, 1),
        "digit_share": sum(c in "0123456789" for c in text) / num,
        "space_share": spaces / num,
        "replacement_share": text.count("\ufffd") / num,
    }


@settings(deadline=None, max_examples=200)
@given(text=st.text(st.sampled_from("aZ09_ \t\n=é漢\ufffd")))
def test_characters_equal_plain_python(text: str) -> None:
    measured = CharactersFilter(CharactersConfig()).measure(Text(text.encode()))
    assert dict(measured) == pytest.approx(characters_twin(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two three\n" * 12, None),
        ("word\n" * 29, "few_words"),
        ("a\n" * 20 + "b " * 10, None),
        ("one two three " * 12, "few_lines"),
        ("one two \n" * 100_001, "many_lines"),
        ("ab c\n" * 10 + "\n" * 40 + "a b c d e f g h i j", "short_lines"),
        ("one {{{{{{{{{{\n" * 30, "letter_share"),
        ("letters 1234\n" * 30, "digit_share"),
        (("one two" + " " * 20 + "\n") * 20, "space_share"),
    ],
)
def test_characters(text: str, expected: str | None) -> None:
    bounds = {"min_mean_line_length": 2} if "a\n" in text else {}
    assert reason(judge("characters", text, characters=bounds)) == expected


def repetition_twin(text: str) -> dict[str, float]:
    lines = [re.sub(r"\s", "", line) for line in text.split("\n")]
    lines = [line for line in lines if line]
    counts = Counter(line for line in lines if len(line.encode()) >= 2)
    measures = {"duplicate_lines": sum(n for n in counts.values() if n > 1) / max(len(lines), 1)}
    words = re.findall(r"[0-9a-z_]+", text.lower())
    total = max(sum(map(len, words)), 1)
    for size in (2, 3, 4):
        grams = Counter(tuple(words[i : i + size]) for i in range(len(words) - size + 1))
        most = max(((n, n * sum(map(len, gram))) for gram, n in grams.items()), default=(0, 0))
        measures[f"top_{size}_grams"] = (most[1] if most[0] > 1 else 0) / total
    for size in range(5, 11):
        seen, covered = set(), set()
        for i in range(len(words) - size + 1):
            gram = tuple(words[i : i + size])
            covered |= set(range(i, i + size)) if gram in seen else set()
            seen.add(gram)
        measures[f"duplicate_{size}_grams"] = sum(len(words[i]) for i in covered) / total
    return measures


@settings(deadline=None, max_examples=200)
@given(words=st.lists(st.sampled_from(["a", "b", "Cc", "dd_1", "+", "\n", "a\n"]), max_size=60))
def test_repetition_equals_plain_python(words: list[str]) -> None:
    text = " ".join(words)
    measured = RepetitionFilter(RepetitionConfig()).measure(Text(text.encode()))
    assert dict(measured) == pytest.approx(repetition_twin(text))


def test_repetition() -> None:
    varied = "\n".join(f"name{i} = call{i}(value{i * 7 % 31})" for i in range(40))
    assert judge("repetition", varied).verdict is None
    assert reason(judge("repetition", varied + "\nthe same line again" * 120)) == "duplicate_lines"
    assert reason(judge("repetition", "print(again, i)" * 50)) == "top_2_grams"
    assert duplicate_lines(b"}\n" * 10) == 0


@pytest.mark.parametrize(
    "content", [b"a" * 1_000_000, b"a " * 500_000, b"ab\n" * 333_333, b"a b\n" * 250_000]
)
def test_a_megabyte_of_repetition(content: bytes) -> None:
    assert RepetitionFilter(RepetitionConfig()).measure(Text(content))["duplicate_lines"] <= 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 'short'\n" * 10 + "y = f(x)\n" * 10, None),
        ("x = '" + "many words in it " * 20 + "'\n", "strings"),
        ("x = '" + "a b " * 11 + "'\n" + "y = some_function(x)\n" * 2, "long_strings"),
        ("x = '" + "abc" * 30 + "'\n" + "y = some_function_of(x)\n" * 3, "long_words"),
        ("x = 'http://" + "abc/" * 20 + "'\n" + "y = some_function_of(x)\n" * 4, None),
        ("x = [" + "0xdeadbeef, " * 20 + "]\n", "hex_words"),
        ("x = b\n" + "QUJD" * 300, "encoded_data"),
        ("x = \\u00e9\\u00e8" + "\\u00e9" * 30, "encoded_data"),
        ("a = " + "de ad be ef " * 20, "encoded_data"),
        ('"""' + "A docstring is no string. " * 20 + '"""\nx = 1\n', None),
    ],
)
def test_literals(text: str, expected: str | None) -> None:
    assert reason(judge("literals", text)) == expected


@pytest.mark.parametrize("unit", ["A", "ab ", "ab  ", "\\u00e9", "0x", "'", "'a", "ab,", "0x1 "])
def test_a_megabyte_of_literals(unit: str) -> None:
    text = (unit * (1_000_000 // len(unit))).encode()
    measured = LiteralsFilter(LiteralsConfig()).measure(Text(text))
    assert 0 <= measured["string_share"] <= 1


def test_strings_of_unknown_languages_are_not_measured() -> None:
    assert judge("literals", "'" + "x y " * 50 + "'", "Befunge").verdict is None


def test_signs_in_lines() -> None:
    assert reason(judge("autogenerated", "# Code generated by protoc. DO NOT EDIT.\n")) == "autogenerated"
    assert reason(judge("autogenerated", "# x\n" * 50 + "# do not edit\n")) is None
    assert reason(judge("asserts", "assert x\n\n" * 5 + "x = 1\n" * 5)) == "asserts"
    assert reason(judge("asserts", "assert x\n" * 4 + "x = 1\n" * 6)) is None
    assert reason(judge("prompt_comments", "# TODO: it\n" + "x = 1\n" * 50)) == "prompt_comments"
    assert reason(judge("prompt_comments", "todo = 1\n" + "x = 'fixme'\n" * 50)) is None
    assert reason(judge("prompt_comments", "# TODO: it\n", "Befunge")) is None
    measures = judge("prompt_comments", "# todo, todo\nx = 1\n\ny = 2 # fixme").measures
    assert measures["prompt_comment_share"] == 2 / 4
    assert reason(judge("prompt_comments", "# todo todo" * 100_000)) == "prompt_comments"  # in no time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\n", None),
        ("x = (\n", "python_syntax"),
        ("x = '\0'\n", "python_syntax"),
        ("(" * 10_000, "python_syntax"),
        ("x = '\\d'\n", None),  # a warning is no error
        ("def f():\n    x = 1\n    y = 2\n    return x\n" * 2 + "z = 1\n", "python_functions"),
        ("x = 1\n" * 20 + "if x:\n    pass\nif x:\n    pass\n", "python_passes"),
        ("import os\n" + "x = 1\n", "python_imports"),
        ("def f():\n    'doc'\n    return 1\n" * 2 + "x = 1\n" * 10, "python_simple_functions"),
        ("print(1)\n" + "x = 1\n", "python_prints"),
    ],
)
def test_python_syntax(text: str, expected: str | None) -> None:
    assert reason(judge("python_syntax", text)) == expected
    assert reason(judge("python_syntax", text, "Java")) is None


def test_filters_run_in_the_order_given() -> None:
    text = Text(b"x" * 2000)
    first = Filters(FilterConfig(order=("stars", "basic"))).judge(text)
    assert (reason(first), first.step, first.measures) == ("stars", 0, {"stars": 0})
    second = Filters(FilterConfig(order=("basic", "stars"))).judge(text)
    assert (reason(second), second.step) == ("long_line", 0)
    assert second.verdict == Verdict("dropped", "long_line", "2000 characters")


def test_every_rule_has_a_measure() -> None:
    config = FilterConfig(order=tuple(name for name in FILTERS if name != "fertility"))
    filters = Filters(config)
    assert [step.filter for step in filters.steps] == sorted(
        (step.filter for step in filters.steps), key=config.order.index
    )
    measures = filters.judge(Text(b"x = 1  # one\n" * 5, stars=9)).measures
    assert measures.keys() <= {step.measure for step in filters.steps}


def test_profiles_are_defaults() -> None:
    assert FilterConfig().order[0] == "basic"
    assert FilterConfig(profile="santacoder").order == ("basic", "comments")
    opencoder = FilterConfig(profile="opencoder", comments={"max_share": 0.5}, order="basic, comments")
    assert (opencoder.comments.min_share, opencoder.comments.max_share) == (None, 0.5)
    assert opencoder.order == ("basic", "comments")
    for profile in ("default", "santacoder", "opencoder"):
        config = FilterConfig(profile=profile)
        assert FilterConfig.model_validate(config.model_dump()) == config
        Filters(config)


def test_bounds_by_language() -> None:
    config = validate(
        FilterConfig,
        {"by_language": {"CSS": {"max_line_length": 3000}, "Java": {"comments": {"min_share": 0.1}}}},
    )
    filters = Filters(config)
    long = b"x" * 2000 + b"\n" + b"y\n" * 50
    assert reason(filters.judge(Text(long, "CSS"))) is None
    assert reason(filters.judge(Text(long, "Python"))) == "long_line"
    assert config.for_language("Java").comments.min_share == 0.1
    assert config.for_language("Java").comments.max_share == 0.8
    assert config.for_language("Java").fertility.min_characters_per_token == 2.9


def test_bounds_by_language_from_dotted_options() -> None:
    given = ["--by_language.C++.max_line_length", "5", "--by_language.Objective-C.stars.min_stars", "7"]
    config = load_config(FilterConfig, overrides=given)
    assert config.for_language("C++").max_line_length == 5
    assert config.for_language("Objective-C").stars.min_stars == 7


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"order": ["basics"]}, "unknown filter 'basics'; there are"),
        ({"order": ["basic", "basic"]}, "named twice"),
        ({"profile": "best"}, "profile"),
        (
            {"by_language": {"CSS": {"max_line": 1}}},
            "filters.by_language.CSS: unknown key 'max_line'; did you mean",
        ),
        (
            {"by_language": {"Pyhton": {}}},
            "filters.by_language: unknown language 'Pyhton'; did you mean 'Python'?",
        ),
        ({"by_language": {"CSS": {"order": []}}}, "filters.by_language.CSS: unknown key 'order'"),
        ({"by_language": {"CSS": {"max_line_length": 0}}}, "filters.by_language.CSS: max_line_length"),
    ],
)
def test_bad_configurations_are_named(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        validate(FilterConfig, values)
