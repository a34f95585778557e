"""Where a value stands in a file: in a setting, in a comment, or as lines of its own, by language."""

import re
from random import Random

from derailleur.corpus.pii.generator.kinds import Kind, Piece, spell

SUFFIXES = {
    ".py": "python",
    ".java": "java",
    **dict.fromkeys((".js", ".mjs", ".jsx", ".ts"), "javascript"),
    **dict.fromkeys((".yml", ".yaml"), "yaml"),
    ".json": "json",
    **dict.fromkeys((".ini", ".cfg", ".conf"), "ini"),
    ".properties": "properties",
    ".env": "env",
    ".toml": "toml",
    **dict.fromkeys((".xml", ".gradle.xml"), "xml"),
    **dict.fromkeys((".sh", ".bash"), "shell"),
    "Dockerfile": "dockerfile",
    **dict.fromkeys((".md", ".markdown", ".rst"), "markdown"),
}
"""Language by a file's suffix, or by its name where it has none."""

# a setting: {name} in snake case, {NAME} in capitals, {camel}, {dotted}
_SETTINGS: dict[str, tuple[str, ...]] = {
    "python": (
        '{NAME} = "{value}"',
        "{name} = '{value}'",
        'config["{name}"] = "{value}"',
        'os.environ["{NAME}"] = "{value}"',
        'client = connect({name}="{value}", timeout=30)',
        'settings = {"{name}": "{value}", "debug": False}',
        'parser.add_argument("--{name}", default="{value}")',
    ),
    "java": (
        'private static final String {NAME} = "{value}";',
        'String {camel} = "{value}";',
        'properties.setProperty("{dotted}", "{value}");',
        'builder.{camel}("{value}");',
    ),
    "javascript": (
        'const {camel} = "{value}";',
        "var config = { {camel}: '{value}', retries: 3 };",
        "process.env.{NAME} = '{value}';",
        'client.set("{name}", `{value}`);',
    ),
    "yaml": ('{name}: "{value}"', "{camel}: '{value}'", '- name: {NAME}\n  value: "{value}"'),
    "json": ('"{name}": "{value}",', '"{camel}": "{value}",'),
    "ini": ("{name} = {value}", "{name}={value}"),
    "properties": ("{dotted}={value}", "{dotted} = {value}"),
    "env": ("{NAME}={value}", 'export {NAME}="{value}"'),
    "toml": ('{name} = "{value}"',),
    "xml": ("<{camel}>{value}</{camel}>", '<property name="{dotted}" value="{value}"/>'),
    "shell": ('export {NAME}="{value}"', "{NAME}='{value}'", 'docker run -e {NAME}="{value}" app'),
    "dockerfile": ("ENV {NAME}={value}", 'ARG {NAME}="{value}"'),
}

_COMMENTS: dict[str, tuple[str, ...]] = {
    "java": ("// {value}", "/* {value} */", "/**\n * {value}\n */"),
    "javascript": ("// {value}", "/* {value} */"),
    "json": ('"//": "{value}",',),
    "xml": ("<!-- {value} -->",),
    "markdown": ("{value}", "- {value}", "> {value}"),
}
_HASH_COMMENT = ("# {value}",)

_BLOCKS = {
    "python": 'PEM = """{value}\n"""',
    "java": "/*\n{value}\n*/",
    "javascript": "const pem = `{value}\n`;",
    "yaml": "pem: |\n{value}",
    "shell": "cat > key.pem <<EOF\n{value}\nEOF",
    "markdown": "\n```\n{value}\n```\n",
}

_FENCED = ("env", "ini", "properties", "yaml", "json", "xml", "shell", "dockerfile", "toml", "python")


def fits(kind: Kind, language: str) -> bool:
    """Whether a kind may stand in a file of a language."""
    return not kind.languages or language in kind.languages


def lines_with(piece: Piece, kind: Kind, language: str, random: Random) -> Piece:
    """Whole lines, without the last line end, that hold a value where it could stand in `language`."""
    if kind.raw:
        return _raw_lines(piece, language)
    sentence = not kind.names or (kind.sentences and random.random() < 0.4)
    if sentence:
        said = piece.inside(_quoted_sentence(spell(random.choice(kind.sentences), random).text, language))
        return said.inside(random.choice(_COMMENTS.get(language, _HASH_COMMENT)))
    if language == "markdown":
        inner = random.choice(_FENCED)
        return _setting(piece, kind, inner, random).inside(f"\n```{inner}\n{{value}}\n```\n")
    return _setting(piece, kind, language, random)


def _setting(piece: Piece, kind: Kind, language: str, random: Random) -> Piece:
    template = random.choice(_SETTINGS[language])
    words = random.choice(kind.names).lower().split("_")
    spellings = {
        "name": "_".join(words),
        "NAME": "_".join(words).upper(),
        "camel": words[0] + "".join(word.capitalize() for word in words[1:]),
        "dotted": ".".join(words),
    }
    for key, spelling in spellings.items():
        template = template.replace(f"{{{key}}}", spelling)
    return piece.inside(template)


def _quoted_sentence(sentence: str, language: str) -> str:
    return sentence.replace('"', "'") if language == "json" else sentence


def _raw_lines(piece: Piece, language: str) -> Piece:
    """A line as it is; a block where the language keeps one."""
    return piece.inside(_BLOCKS[language]) if "\n" in piece.text else piece


# a line after which another of its kind may follow
_AFTER: dict[str, re.Pattern[str]] = {
    "json": re.compile(r'\s*"[^"]+": .*,\s*$'),
    "yaml": re.compile(r"\s*[\w-]+: \S"),
    "xml": re.compile(r"\s*<[^/!?][^>]*/>\s*$|\s*<(\w+)>[^<]*</\1>\s*$"),
    "java": re.compile(r".*[;{}]\s*$"),
    "javascript": re.compile(r".*[;}]\s*$"),
}


def insertion_points(lines: list[str], language: str) -> list[int]:
    """Indices of lines before which something can be written; never none."""
    after = _AFTER.get(language)
    points = [number for number, line in enumerate(lines, 1) if after is None or after.match(line)]
    return points or [len(lines)]


def indentation(lines: list[str], point: int) -> str:
    """The blanks at the start of the line before a point."""
    line = lines[point - 1] if point else ""
    return line[: len(line) - len(line.lstrip(" \t"))] if line.strip() else ""
