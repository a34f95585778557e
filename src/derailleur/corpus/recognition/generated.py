"""What a program wrote: by its name, or by what the comments at its top say.

Only comments above the first code are read, so that a generator whose templates and strings hold the phrase
is not taken for its own output.
"""

import re
from collections.abc import Iterator

_HEAD_BYTES = 4096
_MAX_LINES = 40
_TAIL_BYTES = 512
_DETAIL = 100  # characters of the comment that are quoted

_LOCK_FILES = frozenset(
    {
        *("Cargo.lock", "Gemfile.lock", "Package.resolved", "Pipfile.lock", "Podfile.lock", "bun.lock"),
        *("composer.lock", "deno.lock", "flake.lock", "go.sum", "go.work.sum", "gradle.lockfile", "mix.lock"),
        *("npm-shrinkwrap.json", "package-lock.json", "packages.lock.json", "pdm.lock", "pixi.lock"),
        *("pnpm-lock.yaml", "poetry.lock", "uv.lock", "yarn.lock"),
    }
)

_NAME = re.compile(
    r".*(?:_pb2(?:_grpc)?\.pyi?|\.pb\.(?:go|gw\.go|cc|h|dart)|_grpc\.pb\.go|\.designer\.(?:cs|vb)|\.g(?:\.i)?\.cs"
    r"|\.(?:g|freezed|gr|mocks)\.dart|\.(?:js|css|mjs)\.map|\.snap)"
    r"|(?:moc|qrc)_.*\.cpp|ui_.*\.h|zz_generated.*\.go|lex\.yy\.c|y\.tab\.[ch]|parser\.tab\.[ch]",
    re.IGNORECASE,
)

_MAPPED = frozenset({"CSS", "JavaScript"})
_SOURCE_MAP = re.compile(rb"\n(?://|/\*)[#@] ?sourceMappingURL=")

# one of these must stand somewhere in the head; everything below is looked for only then
_GATES = (b"generat", b"made by gnu bison", b"$antlr", b"meta object code", b"javacc", b"will be lost")

_SAYS = re.compile(
    r"""
    code\ generated\ .*do\ not\ edit
    | this\ (?:\S+\ ){1,2}(?:is|was|has\ been)\ (?:\S+\ ){0,2}?(?:auto-?|machine[- ])?generated\b
      (?!\ (?:if|when|only|on\ demand))
    | ^(?:!+\ ?|[-=*~<]+\ ?)?(?:warning|note|notice|do\ not\ edit|do\ not\ modify)?[-:!.,\ ]*
      (?:auto(?:matically)?[- ]?|machine[- ])?generated\ ?(?:automatically\ )?
      (?:\b(?:by|from|with|using|via|on|at|file|code|source)\b|--?|[,;!.]|$)
    | ^@generated\b
    | ^\S+\ generated\ (?:automatically\ )?by\ (?:automake|aclocal|autoconf|gnu|configure)
    | generated\ (?:code|file|source)\b.*do\ not\ (?:edit|modify|change)
    | do\ not\ (?:edit|modify|change)\b.*generated
    | a\ bison\ parser,\ made\ by\ gnu\ bison
    | (?:lexical\ )?scanner\ (?:was\ )?generated\ by\ (?:j?flex)
    | the\ following\ code\ was\ generated\ by
    | ^\$antlr
    | meta\ object\ code\ from\ reading\ c\+\+
    | javacc:\ do\ not\ edit
    | all\ changes\ made\ in\ this\ file\ will\ be\ lost
    """,
    re.VERBOSE | re.IGNORECASE,
)

_HASH = ("#",)
_SLASH = ("//", "/*", "*")
_LEADERS = {
    **dict.fromkeys(
        (
            "Python",
            "Ruby",
            "Perl",
            "Shell",
            "R",
            "Makefile",
            "CMake",
            "YAML",
            "TOML",
            "Julia",
            "Cython",
            "Elixir",
        ),
        _HASH,
    ),
    **dict.fromkeys(
        (
            "C",
            "C++",
            "C#",
            "Objective-C",
            "Objective-C++",
            "Java",
            "JavaScript",
            "TypeScript",
            "Go",
            "Rust",
            "Swift",
        ),
        _SLASH,
    ),
    **dict.fromkeys(
        ("Kotlin", "Scala", "Dart", "CUDA", "CSS", "Groovy", "Protocol Buffers", "Vala", "D"), _SLASH
    ),
    **dict.fromkeys(("Haskell", "Lua", "SQL", "Ada", "VHDL", "Elm"), ("--", "{-", "/*", "*")),
    "PHP": ("//", "/*", "*", "#"),
}
_ANY_LEADER = (
    "#",
    "//",
    "/*",
    "*",
    "--",
    "{-",
    ";",
    "%",
    "!",
    "'",
    "(*",
    "<!--",
    '.\\"',
    "'\\\"",
    "dnl ",
    "REM ",
    "rem ",
    "c ",
    "C ",
)

_BLOCKS = {"/*": "*/", "(*": "*)", "{-": "-}", "<!--": "-->"}

# what may stand above a header comment and is no code yet
_PREAMBLE = re.compile(
    r"#(?:!|if|define|pragma|line|include)|<\?|<!DOCTYPE|['\"]use strict['\"]|package |@charset|%YAML|---$"
)


def generated_sign(path: str, data: bytes, language: str | None) -> str:
    """The name or the comment that shows that a program wrote a file, or nothing."""
    name = path.rpartition("/")[2]
    if name in _LOCK_FILES or _NAME.fullmatch(name):
        return f"name {name}"
    if language in _MAPPED and _SOURCE_MAP.search(data, max(len(data) - _TAIL_BYTES, 0)):
        return "names a source map"
    return _comment_that_says_so(data[:_HEAD_BYTES], language)


def _comment_that_says_so(head: bytes, language: str | None) -> str:
    lowered = head.lower()
    if not any(gate in lowered for gate in _GATES):
        return ""
    comments = _top_comments(head.decode("utf-8", "replace"), language)
    return next((comment[:_DETAIL] for comment in comments if _SAYS.search(comment)), "")


def _top_comments(text: str, language: str | None) -> Iterator[str]:
    """The text of each comment line above the first code, without what begins and ends the comment."""
    leaders = _LEADERS.get(language or "", _ANY_LEADER)
    closing = ""
    for line in text.splitlines()[:_MAX_LINES]:
        line = line.strip()
        leader = next((leader for leader in leaders if line.startswith(leader)), "")
        if not (closing or leader):
            if line and not _PREAMBLE.match(line):
                return
            continue
        if not closing:
            closing = _BLOCKS.get(leader, "")
        if closing and line.endswith(closing):
            closing = ""
        yield line.removeprefix(leader).strip("/*#;%!-(){}<> \t\"'")
