"""The table, names, `#!` lines and modelines, and content where names leave the language open."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.corpus.languages import DEFAULT_LANGUAGES, KNOWN_LANGUAGES, LANGUAGES, kind_of, language_of
from derailleur.corpus.languages.content import BY_CONTENT
from derailleur.corpus.languages.detect import CANDIDATES
from derailleur.corpus.languages.hints import interpreted_language, modeline_language


def test_the_table_is_well_formed() -> None:
    assert len(LANGUAGES) >= 300
    assert DEFAULT_LANGUAGES <= KNOWN_LANGUAGES
    for language in LANGUAGES.values():
        assert language.extensions or language.names or language.interpreters, language.name
        assert all(re.fullmatch(r"\.[^\sA-Z]+", extension) for extension in language.extensions), language
    for attribute in ("names", "interpreters"):
        times = Counter(item for language in LANGUAGES.values() for item in getattr(language, attribute))
        assert max(times.values()) == 1, f"{times.most_common(1)} is in two languages"


def test_content_decides_exactly_what_languages_share() -> None:
    shared = {extension for extension, languages in CANDIDATES.items() if len(languages) > 1}
    assert shared <= set(BY_CONTENT)
    assert set(BY_CONTENT) - {"*"} <= set(CANDIDATES)
    for extension, rules in BY_CONTENT.items():
        named = {language for language, _ in rules.tests} | {rules.otherwise}
        assert named - {None} <= KNOWN_LANGUAGES, extension
        for language in CANDIDATES.get(extension, ()):
            assert language in named, f"{extension}: nothing decides for {language}"


def test_kinds() -> None:
    assert kind_of("Python") == "programming"
    assert kind_of("HTML") == "markup"
    assert kind_of("YAML") == kind_of("CSV") == "data"
    assert kind_of("Markdown") == kind_of("Text") == "prose"


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a/b/c.PY", "Python"),
        ("Makefile", "Makefile"),
        ("src/CMakeLists.txt", "CMake"),
        ("src/Makefile.in", "Makefile"),
        ("config.hpp.in", "C++"),
        ("notes.txt", "Text"),
        ("data.json", "JSON"),
        ("index.blade.php", "Blade"),
        ("view.html.erb", "HTML+ERB"),
        ("app.component.tsx", "TypeScript"),
        ("a.d.ts", "TypeScript"),
        ("Cargo.lock", "TOML"),
        ("LICENSE", "Text"),
        (".bashrc", "Shell"),
        ("x.h", "C"),
        ("x.m", "Objective-C"),
        ("x.pl", "Perl"),
        (".py", None),
        ("libfoo.so.1", None),
        ("folder.py/unknown", None),
        ("", None),
        ("a.", None),
        (".", None),
    ],
)
def test_by_name_alone(path: str, language: str | None) -> None:
    assert language_of(path) == language


@pytest.mark.parametrize(
    ("line", "language"),
    [
        (b"#!/bin/sh\n", "Shell"),
        (b"#! /usr/bin/env python3.11\n", "Python"),
        (b"#!/usr/bin/env -S node --no-warnings\n", "JavaScript"),
        (b"#!/usr/bin/env -u HOME LANG=C ruby -w\n", "Ruby"),
        (b"#!/usr/bin/python3.12-config\n", None),
        (b"#!/opt/local/bin/perl5.36 -w\r\n", "Perl"),
        (b"#!/usr/bin/Rscript --vanilla", "R"),
        (b'#!/bin/sh\n# runs under tclsh \\\nexec tclsh "$0" "$@"\n', "Tcl"),
        (b"#!/bin/sh\neval 'exec perl -x -wS $0 ${1+\"$@\"}'\n", "Perl"),
        (b'#!/bin/sh\nexec "$SHELL" -c "$@"\n', "Shell"),
        (b"#!perl6\n", "Raku"),
        (b"#!\n", None),
        (b"#!/usr/bin/env\n", None),
        (b"# !/bin/sh\n", None),
        (b"", None),
    ],
)
def test_interpreters(line: bytes, language: str | None) -> None:
    assert interpreted_language(line) == language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (b"/* -*- C++ -*- */\n", "C++"),
        (b"# -*- coding: utf-8; mode: python; tab-width: 4 -*-\n", "Python"),
        (b"% -*- mode: Prolog -*-\n", "Prolog"),
        (b"# -*- coding: utf-8 -*-\n", None),
        (b"// vim: set ts=4 ft=cpp :\n", "C++"),
        (b"x\n" * 3000 + b"# vim: ft=ruby\n", "Ruby"),
        (b"# vim: sw=4\n", None),
        (b"x\n" * 3000 + b"# vim: ft=ruby\n" + b"x\n" * 3000, None),
    ],
)
def test_modelines(text: bytes, language: str | None) -> None:
    assert modeline_language(text) == language


@pytest.mark.parametrize(
    ("path", "text", "language"),
    [
        ("a.h", '#ifdef __cplusplus\nextern "C" {\n#endif\nint f(void);\n', "C"),
        ("a.h", "#ifdef __cplusplus\n#include <cstdint>\n#else\n#include <stdint.h>\n#endif\n", "C"),
        ("a.h", "/* what a class\n   class of objects this is */\nstruct s { int x; };\n", "C"),
        ("a.h", "#pragma once\nnamespace a { class B; }\n", "C++"),
        ("a.h", "#include <vector>\nstd::vector<int> f();\n", "C++"),
        ("a.h", "struct A {\n  A();\npublic:\n  int x;\n};\n", "C++"),
        ("a.h", "#import <Foundation/Foundation.h>\n@interface A : NSObject\n@end\n", "Objective-C"),
        ("a.h", "/* -*- C++ -*- */\nint f();\n", "C++"),
        ("a.m", "% adds\nfunction y = add(a, b)\n  y = a + b;\nend\n", "MATLAB"),
        ("a.m", "x = 1:10;\nplot(x)\n", "MATLAB"),
        ("a.m", "#include <stdio.h>\nint main(void) { return 0; }\n", "Objective-C"),
        ("a.m", ":- module hello.\n:- interface.\n", "Mercury"),
        ("a.m", '(* a package *)\nBeginPackage["A`"]\n', "Wolfram Language"),
        ("a.pl", "use strict;\nmy $x = 1;\n", "Perl"),
        ("a.pl", "parent(a, b).\nolder(X, Y) :- parent(X, Y).\n", "Prolog"),
        ("a.pl", "use v6;\nsay 'x';\n", "Raku"),
        ("a.pm", "/* XPM */\nstatic char *a[] = {\n", "X PixMap"),
        ("a.pm", "unit module A;\n", "Raku"),
        ("a.v", "module a(input b);\nendmodule\n", "Verilog"),
        ("a.v", "Theorem a : 1 = 1.\nProof. reflexivity. Qed.\n", "Rocq Prover"),
        ("a.v", "module main\n\nfn main() {\n\tprintln('a')\n}\n", "V"),
        ("a.fs", "module A\nlet x = 1\n", "F#"),
        ("a.fs", "#version 330\nvoid main() {}\n", "GLSL"),
        ("a.fs", ": square ( n -- n ) dup * ;\n", "Forth"),
        ("a.r", "REBOL [ Title: 1 ]\n", "Rebol"),
        ("a.r", "x <- 1\n", "R"),
        ("a.cls", "\\NeedsTeXFormat{LaTeX2e}\n", "TeX"),
        ("a.cls", 'VERSION 1.0 CLASS\nAttribute VB_Name = "A"\n', "VBA"),
        ("a.cls", "public with sharing class A {\n}\n", "Apex"),
        ("a.d", "module a;\nimport std.stdio;\n", "D"),
        ("a.d", "a.o: a.c \\\n  a.h\n", "Makefile"),
        ("a.inc", "<?php\n$a = 1;\n", "PHP"),
        ("a.inc", "%macro save 0\n  push rax\n%endmacro\n", "Assembly"),
        ("a.inc", "{$mode objfpc}\n", "Pascal"),
        ("a.inc", "just words\n", None),
        ("a.sc", "object A extends App\n", "Scala"),
        ("a.sc", "A : B {\n  f { ^1 }\n}\n", "SuperCollider"),
        ("a.ts", '<?xml version="1.0"?>\n<!DOCTYPE TS>\n<TS></TS>\n', "XML"),
        ("a.ts", "export const a: number = 1;\n", "TypeScript"),
        ("a.t", "use Test::More;\nok(1);\n", "Perl"),
        ("a.t", "use Test;\nplan 1;\nok True;\n", "Raku"),
        ("a.t", "Builds.\n\n  $ dune build\n", None),
        ("a.cgi", "#!/usr/bin/python\nprint(1)\n", "Python"),
        ("a.l", "%{\n#include <stdio.h>\n%}\n%%\n", "Lex"),
        ("a.l", ".TH A 1\n.SH NAME\n", "Roff"),
        ("a.pro", "SOURCES += a.cpp\n", "QMake"),
        ("a.pro", "-keep class a.B\n", "Proguard"),
        ("a.pro", "a(X) :- b(X).\n", "Prolog"),
        ("a.php", "<?hh\nfunction f(): int { return 1; }\n", "Hack"),
        ("a.rs", "#pragma version(1)\n#pragma rs java_package_name(a)\n", "RenderScript"),
        ("a.rs", "fn main() {}\n", "Rust"),
        ("a.md", '(define_insn "add"\n', "GCC Machine Description"),
        ("a.mod", "IMPLEMENTATION MODULE A;\n", "Modula-2"),
        ("a.ml", "let x = 1\n", "OCaml"),
        ("a.ml", "structure A = struct\n  val x = 1\nend\n", "Standard ML"),
        ("a.cs", "!Point methodsFor: 'arithmetic'!\n", "Smalltalk"),
        ("a.cl", "__kernel void f() {}\n", "OpenCL"),
        ("a.cl", "(defun f () 1)\n", "Common Lisp"),
        ("a.1", ".TH A 1\n", "Roff"),
        ("a.1", "a log\n", None),
        ("a", "#!/usr/bin/env python\n", "Python"),
        ("a", "just words\n", None),
        ("a.unknown", '<?xml version="1.0"?>\n<a/>\n', "XML"),
    ],
)
def test_content_decides(path: str, text: str, language: str | None) -> None:
    assert language_of(path, text.encode()) == language


def test_a_name_that_decides_needs_no_content() -> None:
    assert language_of("a.py", b"#!/bin/sh\n") == "Python"


@given(st.sampled_from(sorted(CANDIDATES)), st.binary(max_size=300))
def test_any_content_has_a_known_language_or_none(extension: str, data: bytes) -> None:
    assert language_of(f"a{extension}", data) in {*KNOWN_LANGUAGES, None}


@pytest.mark.parametrize(
    "unit", [b" ", b"a", b"\n", b"(", b"$a", b"a:", b"a = ", b"\n#if __cplusplus", b"-*- a"]
)
def test_hostile_content_ends(unit: bytes) -> None:
    """A form that needed the square of its text's length would take minutes here."""
    data = (unit * (1 << 16))[: 1 << 16]
    for rules in {id(rules): rules for rules in BY_CONTENT.values()}.values():
        assert rules.decide(data) in {*KNOWN_LANGUAGES, None}
    assert modeline_language(data) in {*KNOWN_LANGUAGES, None}
