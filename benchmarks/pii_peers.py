"""What other scanners find in an annotated file; one JSON line a row: {"id", "spans"}.

    python benchmarks/pii_peers.py detect-secrets annotated.jsonl > detect-secrets.jsonl
    python benchmarks/pii_peers.py seed annotated.jsonl > seed.jsonl
    python benchmarks/pii_quality.py annotated.jsonl detect-secrets.jsonl seed.jsonl

Runs in an environment of its own, with detect-secrets==1.5.0 and regex. `detect-secrets` is that tool with
its default plugins and filters. `seed` behaves as SantaCoder's detector of November 2022, written anew from
its description: e-mail and IP addresses by pattern, keys by 18 plugins of detect-secrets and three filters.
"""

import argparse
import ipaddress
import json
import math
import pydoc_data.topics
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import regex
from detect_secrets import SecretsCollection
from detect_secrets.settings import default_settings, transient_settings

Span = tuple[int, int, str]

_SUFFIXES = {
    **{
        "python": ".py",
        "java": ".java",
        "javascript": ".js",
        "yaml": ".yaml",
        "json": ".json",
        "ini": ".ini",
    },
    **{"properties": ".properties", "env": ".env", "toml": ".toml", "xml": ".xml", "shell": ".sh"},
}

_SEED_PLUGINS = (
    *("ArtifactoryDetector", "AWSKeyDetector", "AzureStorageKeyDetector", "CloudantDetector"),
    *("DiscordBotTokenDetector", "GitHubTokenDetector", "IbmCloudIamDetector", "IbmCosHmacDetector"),
    *("JwtTokenDetector", "MailchimpDetector", "NpmDetector", "SendGridDetector", "SlackDetector"),
    *("SoftlayerDetector", "StripeDetector", "TwilioKeyDetector"),
)
_SEED_SETTINGS = {
    "plugins_used": [
        *({"name": name} for name in _SEED_PLUGINS),
        {"name": "Base64HighEntropyString", "limit": 4.5},
        {"name": "HexHighEntropyString", "limit": 3.0},
    ],
    "filters_used": [
        {"path": f"detect_secrets.filters.heuristic.{name}"}
        for name in (
            "is_potential_uuid",
            "is_likely_id_string",
            "is_templated_secret",
            "is_sequential_string",
        )
    ],
}

_LEFT = r"(?:(?<=^)|(?<=[\s(@?!;,:'\".¿¡\p{Han}])|(?<=\\['\"]))"
_RIGHT = r"(?=$|[\s@?,!;:'\").(\p{Han}])"
_EMAIL = regex.compile(
    _LEFT + r"[^\s@?!;,:)('\"]+@[^\s@!?;,/]*[^\s@!?;,/.]\.\p{L}\w+" + _RIGHT, regex.MULTILINE
)
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_GROUP = r"[0-9a-fA-F]{1,4}"
_ADDRESS = regex.compile(
    r"(?:^|[\s@?!;,:'\"(\p{Han}])"
    rf"({_OCTET}(?:\.{_OCTET}){{3}}|(?:{_GROUP}:){{7}}{_GROUP}|(?:{_GROUP}:){{1,7}}:(?:{_GROUP}(?::{_GROUP}){{0,6}})?|::{_GROUP})"
    r"(?:$|[\s@?,!;:'\").\p{Han}])",
    regex.MULTILINE,
)
_DNS_SERVERS = frozenset(
    (
        *("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "76.76.19.19", "76.223.122.150", "9.9.9.9"),
        *("149.112.112.112", "208.67.222.222", "208.67.220.220", "8.26.56.26", "8.20.247.20"),
        *("94.140.14.14", "94.140.15.15"),
    )
)


def detect_secrets(content: str, language: str) -> Iterator[Span]:
    """Everything the tool reports; its own kinds as our tags."""
    for kind, line, value in _secrets(content, language, None):
        if kind == "Private Key":  # it names the first line only
            start = content.find(value)
            end = content.find("-----", content.find("-----END", start) + 8) + 5
            yield max(start - 11, 0), max(end, start + len(value)), "KEY"
        elif kind == "Public IP (ipv4)":
            yield from ((s, e, "IP_ADDRESS") for s, e in _occurrences(content, value))
        else:
            text = content.split("\n")[line - 1].lower()
            password = kind == "Basic Auth Credentials" or (
                kind == "Secret Keyword" and any(word in text for word in ("passw", "pwd"))
            )
            tag = "PASSWORD" if password else "KEY"
            yield from ((s, e, tag) for s, e in _occurrences(content, value))


def seed(content: str, language: str) -> Iterator[Span]:
    """The detector of November 2022, less the addresses that its redaction leaves alone."""
    for match in _EMAIL.finditer(content):
        yield *match.span(), "EMAIL"
    for match in _ADDRESS.finditer(content):
        if _is_address(content, match):
            yield *match.span(1), "IP_ADDRESS"
    if _has_hashes(content):
        return
    for _, line, value in _secrets(content, language, _SEED_SETTINGS):
        if is_gibberish(value.lower()) and not _is_hash(content.split("\n")[line - 1], value):
            yield from ((s, e, "KEY") for s, e in _occurrences(content, value))


def _is_address(content: str, match: regex.Match) -> bool:
    value = match[1]
    context = content[max(0, match.start(1) - 100) : match.end(1) + 100].lower()
    if value.count(".") == 3 and len(value) == 7 and not ("dns" in context or "server" in context):
        return False
    try:
        return not ipaddress.ip_address(value).is_private and value not in _DNS_SERVERS
    except ValueError:
        return False


def _has_hashes(content: str) -> bool:
    text = content.lower()
    return text.count("sha") + text.count("hash") > int(0.02 * content.count("\n"))


def _is_hash(line: str, value: str) -> bool:
    before = line[: line.find(value)].lower()
    return len(value) in (32, 40, 64) and any(word in before for word in ("sha", "md5", "hash", "byte"))


_TEXT = " ".join(pydoc_data.topics.topics.values())
_PAIRS = Counter(pair for pair in pairwise(_TEXT) if "".join(pair).isascii())
_FIRST = Counter(first for (first, _), n in _PAIRS.items() for _ in range(n) if first.isalpha())


def is_gibberish(value: str) -> bool:
    """Mean surprise over pairs of letters above 4, add-10 smoothing; trained on Python's help texts."""
    pairs = [(a, b) for a, b in pairwise(value) if (a + b).isascii() and (a + b).isalpha()]
    surprise = [-math.log((_PAIRS[pair] + 10) / (_FIRST[pair[0]] + 520)) for pair in pairs]
    return bool(surprise) and sum(surprise) / len(surprise) > 4


def _secrets(content: str, language: str, settings: dict | None) -> list[tuple[str, int, str]]:
    """(kind, line, value), each once."""
    with tempfile.NamedTemporaryFile("w", suffix=_SUFFIXES.get(language, ".txt"), encoding="utf-8") as file:
        file.write(content)
        file.flush()
        found = SecretsCollection()
        with transient_settings(settings) if settings else default_settings():
            found.scan_file(file.name)
    return sorted({(secret.type, secret.line_number, secret.secret_value) for _, secret in found})


def _occurrences(content: str, value: str) -> Iterator[tuple[int, int]]:
    start = content.find(value)
    while value and start >= 0:
        yield start, start + len(value)
        start = content.find(value, start + len(value))


def main() -> None:
    """Scan every row."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("peer", choices=("detect-secrets", "seed"))
    made.add_argument("file", type=Path)
    options = made.parse_args()
    scan = {"detect-secrets": detect_secrets, "seed": seed}[options.peer]
    with options.file.open(encoding="utf-8") as stream:
        for row in map(json.loads, stream):
            found = sorted(set(scan(row["content"], row.get("language", ""))))
            spans = [{"start": start, "end": end, "tag": tag} for start, end, tag in found]
            print(json.dumps({"id": row["id"], "spans": spans}))


if __name__ == "__main__":
    main()
