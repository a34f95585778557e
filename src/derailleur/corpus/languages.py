"""Programming languages by file extension; one extension means one language.

Data and prose formats (JSON, XML, YAML, plain text) are left out on purpose. Extensions that several
languages share go to the most common one: `.h` is C, `.m` is Objective-C, `.pl` is Perl.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath

LANGUAGES: Mapping[str, tuple[str, ...]] = {
    "Assembly": (".asm", ".s"),
    "C": (".c", ".h"),
    "C#": (".cs",),
    "C++": (".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx", ".ipp", ".tpp"),
    "CMake": (".cmake",),
    "CSS": (".css",),
    "CUDA": (".cu", ".cuh"),
    "Clojure": (".clj", ".cljc", ".cljs"),
    "Cython": (".pxd", ".pxi", ".pyx"),
    "Dart": (".dart",),
    "Elixir": (".ex", ".exs"),
    "Elm": (".elm",),
    "Erlang": (".erl", ".hrl"),
    "F#": (".fs", ".fsi", ".fsx"),
    "Fortran": (".f", ".f03", ".f08", ".f77", ".f90", ".f95", ".for"),
    "Go": (".go",),
    "Groovy": (".gradle", ".groovy"),
    "HTML": (".htm", ".html"),
    "Haskell": (".hs", ".lhs"),
    "Java": (".java",),
    "JavaScript": (".cjs", ".js", ".jsx", ".mjs"),
    "Julia": (".jl",),
    "Kotlin": (".kt", ".kts"),
    "Lua": (".lua",),
    "MATLAB": (".matlab",),
    "Markdown": (".markdown", ".md"),
    "Nim": (".nim",),
    "OCaml": (".ml", ".mli"),
    "Objective-C": (".m", ".mm"),
    "PHP": (".php",),
    "Perl": (".pl", ".pm"),
    "PowerShell": (".ps1", ".psm1"),
    "Protocol Buffers": (".proto",),
    "Python": (".py", ".pyi", ".pyw"),
    "R": (".r",),
    "Racket": (".rkt",),
    "Ruby": (".rake", ".rb"),
    "Rust": (".rs",),
    "SQL": (".sql",),
    "Scala": (".sc", ".scala"),
    "Scheme": (".scm",),
    "Shell": (".bash", ".sh", ".zsh"),
    "Solidity": (".sol",),
    "Svelte": (".svelte",),
    "Swift": (".swift",),
    "Tcl": (".tcl",),
    "TeX": (".sty", ".tex"),
    "TypeScript": (".cts", ".mts", ".ts", ".tsx"),
    "Verilog": (".sv", ".svh", ".v"),
    "VHDL": (".vhd", ".vhdl"),
    "Vue": (".vue",),
    "Zig": (".zig",),
}

_BY_EXTENSION = {extension: name for name, extensions in LANGUAGES.items() for extension in extensions}

_BY_NAME = {
    "CMakeLists.txt": "CMake",
    "Dockerfile": "Dockerfile",
    "GNUmakefile": "Makefile",
    "Makefile": "Makefile",
    "Rakefile": "Ruby",
    "makefile": "Makefile",
}

KNOWN_LANGUAGES = frozenset(LANGUAGES) | frozenset(_BY_NAME.values())
"""Every name that `language_of` can give."""


def language_of(path: str) -> str | None:
    """The language of a file by its name, or None."""
    name = PurePosixPath(path)
    return _BY_NAME.get(name.name) or _BY_EXTENSION.get(name.suffix.lower())
