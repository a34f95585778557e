"""The lexer against tree-sitter, on tricky inputs and on real files; broken and hostile texts."""

import sysconfig
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derailleur.corpus.filters import comment_share
from derailleur.corpus.filters.lexer import CODE, COMMENT, LANGUAGES, STRING, classify

tree_sitter = pytest.importorskip("tree_sitter")


def parse(content: bytes, language: str):
    grammar = pytest.importorskip(f"tree_sitter_{language.lower()}")
    return tree_sitter.Parser(tree_sitter.Language(grammar.language())).parse(content).root_node


def comments_twin(content: bytes, language: str) -> list[tuple[int, int]]:
    """Where tree-sitter finds comments and docstrings."""
    spans = []
    pending = [parse(content, language)]
    while pending:
        node = pending.pop()
        if node.type in ("comment", "line_comment", "block_comment"):
            spans.append((node.start_byte, node.end_byte))
        if language == "Python" and node.type in ("module", "function_definition", "class_definition"):
            body = node if node.type == "module" else node.child_by_field_name("body")
            first = next((child for child in body.children if child.type != "comment"), None)
            if first is not None and first.type == "expression_statement" and first.child_count == 1:
                text = content[first.start_byte : first.end_byte]
                if first.children[0].type == "string" and text.lstrip(b"rRuU")[:1] in (b'"', b"'"):
                    spans.append((first.start_byte, first.end_byte))
        pending.extend(node.children)
    return sorted(spans)


def comments(content: bytes, language: str) -> list[bytes]:
    """The texts that the lexer calls comments; neighbours are one."""
    is_comment = np.concatenate([[False], classify(content, language) == COMMENT, [False]])
    edges = np.flatnonzero(is_comment[1:] != is_comment[:-1])
    return [content[start:end] for start, end in edges.reshape(-1, 2)]


PYTHON = rb'''#!/usr/bin/env python
# -*- coding: utf-8 -*-
"""Module."""
import re  # trailing # twice

x = "# no" + '# no' + """
# no
""" + r"\"  # no" + f"{x!r} # no"
pattern = re.compile(rb'"""')  # "yes"

class A(object):  # header

    # before the docstring
    r"""Class
    docs \"""" ; y = 1

    def f(self, a: dict = {"k": 'v'},
          b=(1, 2)) -> None:
        'one line'  # and a comment
        "no docstring"

    async def g(self):
        u"""Async."""
        return "a" \
            "b"

    def h(self):
        f"""no docstring"""

    def i(self):
        """no""" + "docstring"

if x:
    """no docstring either"""

lambda: "x"
'''

JAVASCRIPT = rb"""#!/usr/bin/env node
// line 'quoted"
/* block // */ let a = 1 /* two */ / 2; // three
const r = /[/]\/* no /.test("// no") / 2;
const t = `// no ${ f(`inner // no ${ {a: 1}.a } // no`) /* yes */ + '}' } /* no */`;
return /\/\//.exec(x) // yes
const u = a ? b / c : d / e; // yes
x = y++ / 2; // yes
const url = 'http://x' + "\" // no";
let z = {}
/* unclosed in a string: " */
"""

JAVA = rb"""/** Doc. */ package a; // line
class A { char c = '"'; char d = '\''; String s = "// no /* no */ \" //";
  String block = "" + '/' + '/';
  /* a /* not nested */ int x = 4 / 2; // yes
  @A(value = "//") int y;
}
"""


@pytest.mark.parametrize(
    ("language", "content"), [("Python", PYTHON), ("JavaScript", JAVASCRIPT), ("Java", JAVA)]
)
def test_tricky_texts_as_tree_sitter_sees_them(language: str, content: bytes) -> None:
    assert not parse(content, language).has_error
    expected = [content[start:end] for start, end in comments_twin(content, language)]
    assert comments(content, language) == expected


def real_files(suffix: str, limit: int) -> list[Path]:
    folders = [Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("purelib"))]
    return [path for folder in folders for path in sorted(folder.rglob(f"*{suffix}"))[:limit]]


@pytest.mark.parametrize(("language", "suffix", "limit"), [("Python", ".py", 120), ("JavaScript", ".js", 10)])
def test_real_files_as_tree_sitter_sees_them(language: str, suffix: str, limit: int) -> None:
    num_files = num_far = 0
    for path in real_files(suffix, limit):
        content = path.read_bytes()
        if not content or len(content) > 100_000 or parse(content, language).has_error:
            continue
        expected = sum(end - start for start, end in comments_twin(content, language)) / len(content)
        num_files += 1
        num_far += abs(np.mean(classify(content, language) == COMMENT) - expected) > 0.01
    assert num_far <= 0.01 * num_files


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("C", "int a = '\"'; // it's\n#error don't\n", ["// it's"]),
        ("C++", 'auto s = R"x(// no )" )x"; int n = 1\'000; // yes', ["// yes"]),
        ("C#", 'var p = @"C:\\"; var q = @"a "" // no"; // yes', ["// yes"]),
        ("Go", "s := `// no \\`; r := '`' // yes", ["// yes"]),
        (
            "Rust",
            "fn f<'a>(x: &'a str) { let c = '\"'; let r = r#\"\" // no\"#; /* a /* b */ c */ }",
            ["/* a /* b */ c */"],
        ),
        ("Kotlin", 'val s = """// no""" // yes', ["// yes"]),
        ("PHP", "#[Attribute]\n$a = '# no'; # yes\n$b = 1; // too", ["# yes", "// too"]),
        ("CSS", "a { background: url('x') } /* yes */ b { content: '//' }", ["/* yes */"]),
        ("TypeScript", "let a: Array<string> = []; // yes\n`${1}`", ["// yes"]),
        ("Shell", '#!/bin/sh\necho "# no" ${#x} $# # yes\n', ["#!/bin/sh", "# yes"]),
        ("Ruby", "a = '# no' # it's\nb = \"#{a}\" # too", ["# it's", "# too"]),
        ("YAML", "a: b#no # yes\n", ["# yes"]),
    ],
)
def test_other_languages(language: str, text: str, expected: list[str]) -> None:
    assert [found.decode() for found in comments(text.encode(), language)] == expected


def test_classes_cover_strings() -> None:
    content = b"x = 'a'  # b"
    assert classify(content, "Python").tolist() == [CODE] * 4 + [STRING] * 3 + [CODE] * 2 + [COMMENT] * 3


def test_shares() -> None:
    assert comment_share("# é\n".encode(), "Python") == pytest.approx(3 / 4)
    assert comment_share(b"", "Python") is None
    assert comment_share(b"x", "Befunge") is None
    broken = b'# comment\ndef f(:\n  """never closed'
    share = comment_share(broken, "Python")
    assert share is not None
    assert share > 0.2  # what does not parse is measured all the same


@settings(deadline=None, max_examples=200)
@given(
    language=st.sampled_from(sorted(LANGUAGES)), text=st.text(st.sampled_from("aRr#/*\\'\"`${}[]()\n @=é"))
)
def test_any_text_is_lexed(language: str, text: str) -> None:
    classes = classify(text.encode(), language)
    assert set(classes.tolist()) <= {CODE, COMMENT, STRING}


@pytest.mark.parametrize("language", ["Python", "JavaScript", "Rust", "C++", "C#", "Shell"])
@pytest.mark.parametrize(
    "unit", ["/", "=/[", "'", '"', "`${", "/*", "#", 'R"(', 'r#"', "\\", '@"', "(", "'a", '"""a', "\n"]
)
def test_a_megabyte_made_to_be_slow(language: str, unit: str) -> None:
    content = (unit * (1_000_000 // len(unit))).encode()
    assert len(classify(content, language)) == len(content)
