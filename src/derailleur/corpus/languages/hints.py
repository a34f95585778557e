"""What a file says of itself: the interpreter in its `#!` line, the mode in an Emacs or Vim modeline."""

import re

from derailleur.corpus.languages.table import LANGUAGES

_BY_INTERPRETER = {
    interpreter: language.name for language in LANGUAGES.values() for interpreter in language.interpreters
}

_SHEBANG = re.compile(rb"#![ \t]*([^\r\n]{1,512})")

# options and assignments between `env` and the program: env -S, env -u NAME, env LANG=C
_ENV = re.compile(rb"(?:\S*/)?env\s+(?:(?:-[uC]\s+\S+|-\S+|--\S+|\w+=\S*)\s+)*")

_PROGRAM = re.compile(rb"(?:\S*/)?([^\s/]+)")

_VERSION = re.compile(r"-?[0-9][0-9.]*$")

# A script that sh starts and another interpreter goes on with: `exec tclsh "$0" "$@"` in the first lines
_EXEC = re.compile(
    rb"\n[ \t]*(?:eval[ \t]+['\"])?exec[ \t]+(?:\S*/)?([\w.+-]+)[^\n]*\$0[^\n]*(?:\$@|\$\*|\$\{1\+)"
)

_EMACS = re.compile(
    rb"-\*-[ \t]*(?:(?:[^\n]{0,200}?[;: \t])?mode[ \t]*:[ \t]*)?([\w+#-]+)[ \t]*(?:;[^\n]*?)?-\*-", re.I
)

_VIM = re.compile(rb"\b(?:vim?|ex)[0-9<=>]*:[^\n]{0,200}?\b(?:ft|filetype|syn|syntax)=([\w+#-]+)")

_MODELINE_BYTES = 1024  # of the head and of the tail: editors look at five lines of each

_MODES = {
    **{name.lower().replace(" ", "-"): name for name in LANGUAGES},
    **_BY_INTERPRETER,
    **{"c++": "C++", "cpp": "C++", "caml": "OCaml", "tuareg": "OCaml", "cperl": "Perl", "csharp": "C#"},
    **{"coq": "Rocq Prover", "elisp": "Emacs Lisp", "f90": "Fortran", "javascript": "JavaScript"},
    **{"js2": "JavaScript", "latex": "TeX", "plain-tex": "TeX", "lisp": "Common Lisp", "make": "Makefile"},
    **{"makefile-automake": "Makefile", "makefile-gmake": "Makefile", "nroff": "Roff", "nxml": "XML"},
    **{"objc": "Objective-C", "perl6": "Raku", "rst": "reStructuredText", "shell-script": "Shell"},
    **{"sml": "Standard ML", "vim": "Vim Script", "dosbatch": "Batchfile", "pod": "Pod"},
}


def interpreted_language(data: bytes) -> str | None:
    """The language of a script by its `#!` line."""
    shebang = _SHEBANG.match(data)
    if not shebang:
        return None
    command = shebang[1].strip()
    if env := _ENV.match(command):
        command = command[env.end() :]
    program = _PROGRAM.match(command)
    language = _of_program(program[1]) if program else None
    if language == "Shell" and (goes_on := _EXEC.search(data, shebang.end(), shebang.end() + 512)):
        return _of_program(goes_on[1]) or language
    return language


def modeline_language(data: bytes) -> str | None:
    """The language that an Emacs or Vim modeline in the first or last lines names."""
    tail = max(len(data) - _MODELINE_BYTES, 0)
    if data.find(b"-*-", 0, _MODELINE_BYTES) >= 0 and (mode := _EMACS.search(data, 0, _MODELINE_BYTES)):
        return _of_mode(mode[1])
    for start in sorted({0, tail}):
        if mode := _VIM.search(data, start, start + _MODELINE_BYTES):
            return _of_mode(mode[1])
    return None


def _of_program(program: bytes) -> str | None:
    name = program.decode("utf-8", "replace")
    return _BY_INTERPRETER.get(name) or _BY_INTERPRETER.get(_VERSION.sub("", name))


def _of_mode(mode: bytes) -> str | None:
    return _MODES.get(mode.decode("utf-8", "replace").lower().removesuffix("-mode"))
