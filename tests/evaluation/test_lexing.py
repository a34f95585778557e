"""Names and where they are defined, against what the interpreter itself says of its library."""

import ast
import io
import sysconfig
import tokenize
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.evaluation.definitions import mentions
from derailleur.evaluation.lexing import ANY, JAVA, JAVASCRIPT, PYTHON, SYNTAXES, Kind, Syntax, lex, syntax_of
from derailleur.tokens.documents import Document

LIBRARY = Path(sysconfig.get_path("stdlib"))
FILES = ("argparse.py", "csv.py", "dataclasses.py", "heapq.py", "json/decoder.py", "shlex.py", "textwrap.py")


def defined(text: str, syntax: Syntax) -> list[str]:
    return [mention.name for mention in mentions(text, syntax) if mention.defines]


def names_of_tokenize(text: str) -> list[tuple[int, str]]:
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [(starts[t.start[0] - 1] + t.start[1], t.string) for t in tokens if t.type == tokenize.NAME]


def names_that_ast_binds(text: str) -> set[str]:
    bound: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                bound.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                bound.add(name)
            case ast.alias(name=name, asname=renamed):
                bound.add(renamed or name.partition(".")[0])
    return bound


@pytest.mark.parametrize("file", FILES)
def test_python_names_are_those_of_the_tokenize_module(file: str) -> None:
    text = (LIBRARY / file).read_text(encoding="utf-8")
    ours = [(lexeme.start, lexeme.text) for lexeme in lex(text, PYTHON) if lexeme.kind is Kind.NAME]
    theirs = names_of_tokenize(text)
    # From 3.12 on, tokenize looks into f-strings, which are strings here.
    assert set(ours) <= set(theirs) and len(ours) >= 0.97 * len(theirs)


@pytest.mark.parametrize("file", FILES)
def test_python_definitions_are_those_that_ast_binds(file: str) -> None:
    text = (LIBRARY / file).read_text(encoding="utf-8")
    ours, theirs = set(defined(text, PYTHON)), names_that_ast_binds(text)
    assert ours <= theirs
    assert len(ours) >= 0.9 * len(theirs)


def test_python_definitions_one_by_one() -> None:
    text = (
        "import os.path, sys as system\nfrom a import (b,\n    c as d)\n"
        "class Box(Base):\n    def put(self, item, *rest, key=default, **more):\n"
        "        self.held = item; other.free = 1; (total := held)\n"
        "        call(width=height)\n        for index, value in pairs: pass\n"
        "        if a == b: left = right\n"
    )
    assert defined(text, PYTHON) == [
        *("os", "system", "b", "d", "Box", "put", "self", "item", "rest", "key", "more"),
        *("held", "index", "value", "left"),
    ]


def test_javascript_definitions_one_by_one() -> None:
    text = (
        "import { read, write as put } from './files';\nconst { join } = require('path');\n"
        "let first = 1, b;\nfunction walk(tree, ...rest) { const node = tree.root; this.seen = node; }\n"
        "class Shape extends Base {}\nif (a === b) { other.c = 1 }\n"
    )
    assert defined(text, JAVASCRIPT) == [
        *("read", "put", "join", "first", "walk", "tree", "rest", "node", "seen", "Shape"),
    ]


def test_java_definitions_one_by_one() -> None:
    text = (
        "import java.util.List;\npublic class Box<T> extends Base {\n"
        "  private final Map<String, List<T>> held;\n"
        "  int[] sizes = new int[3];\n  T get(String key, int size) throws Failure {\n"
        "    this.count = size; return held.get(key); }\n}\n"
    )
    assert defined(text, JAVA) == ["List", "Box", "held", "sizes", "get", "key", "size", "count"]


def test_any_other_language_is_read_by_the_words_that_most_share() -> None:
    text = "// let no = 1\nfn scan(input: &str) -> usize { let total = 0; total += 1; }\nfunc Run() {}\n"
    assert defined(text, ANY) == ["scan", "input", "total", "Run"]


@pytest.mark.parametrize(
    ("language", "path", "syntax"),
    [
        ("Python", "a.js", PYTHON),
        ("TypeScript", "", JAVASCRIPT),
        ("", "src/a.mjs", JAVASCRIPT),
        ("", "A.java", JAVA),
        ("Rust", "a.py", ANY),
        ("", "Makefile", ANY),
    ],
)
def test_a_language_that_the_corpus_names_comes_before_the_name_of_the_file(
    language: str, path: str, syntax: Syntax
) -> None:
    assert syntax_of(Document("", path, "heldout", "", language)) is syntax


def test_comments_and_strings_hold_no_names() -> None:
    text = 'a = \'no\' # no\nb = """no\nno""" + r\'\\\' + rb"no"\n'
    assert [mention.name for mention in mentions(text, PYTHON)] == ["a", "b"]
    text = "a = `no ${no}` // no\n/* no\nno */ b = 'no\\'no'\n"
    assert [mention.name for mention in mentions(text, JAVASCRIPT)] == ["a", "b"]


@given(
    text=st.text("ab1_$ \n\t\"'`#/*\\(){}[],;:=.é", max_size=60), language=st.sampled_from([*SYNTAXES, ""])
)
def test_any_text_is_read_in_order_and_nothing_but_space_is_left_out(text: str, language: str) -> None:
    rest, end = "", 0
    for lexeme in lex(text, SYNTAXES.get(language, ANY)):
        assert text[lexeme.start : lexeme.end] == lexeme.text != ""
        rest, end = rest + text[end : lexeme.start], lexeme.end
    assert (rest + text[end:]).strip(" \t") == "" or set(rest + text[end:]) <= set(" \t")
