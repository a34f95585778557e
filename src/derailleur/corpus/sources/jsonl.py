"""JSON lines as sources: a row is a file; a line that is none is quarantined alone."""

import codecs
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from derailleur.corpus.ledger import Action, Verdict
from derailleur.corpus.rows import COMPRESSIONS
from derailleur.corpus.sources.columns import columns_of, row_entry
from derailleur.corpus.sources.compression import RefusedError, Unpacked
from derailleur.corpus.sources.config import SourceConfig
from derailleur.corpus.sources.entry import Entry, Unit, refused
from derailleur.corpus.sources.files import file_fingerprint, num_bytes, open_regular, reason
from derailleur.corpus.sources.selection import Selection, printable

JSONL = "jsonl"

_BLOCK = 1 << 20
_UNPACKED_BLOCK = 1 << 16  # what a damaged stream loses before the damage

_LONGEST_ESCAPE = len("\\u0000")
_OTHER_KEYS_BYTES = 1 << 20


@dataclass(frozen=True)
class JsonlSource:
    """The rows of one JSONL file.

    Attributes:
        name: also the repository's of rows that name none.
    """

    name: str
    path: Path

    def fingerprint(self) -> str:
        """SHA-256 over the file's path, size and time."""
        return file_fingerprint(self.path)

    def units(self, unit_bytes: int) -> Iterator[Unit]:
        """Ranges of bytes that end with a line; a compressed file is one unit.

        Line ends are counted, so that a row can be named by its line: the file is read once for it.
        """
        where = {"path": str(self.path), "repository": self.name}
        if self.path.suffix in COMPRESSIONS:
            whole = where | {"start": 0, "end": None, "line": 1}
            yield Unit(self.name, JSONL, num_bytes(self.path), None, whole)
            return
        try:
            with open_regular(self.path) as stream:
                for start, end, line, num_lines in _ranges(stream, unit_bytes):
                    part = where | {"start": start, "end": end, "line": line}
                    yield Unit(self.name, JSONL, end - start, num_lines, part)
        except OSError as error:
            verdict = Verdict("quarantined", "unreadable", reason(error))
            name = printable(self.path.name)
            yield refused(self.name, Entry(self.name, name, 0, None, verdict, origin=name))


def read_jsonl(unit: Unit, config: SourceConfig) -> Iterator[Entry]:
    """Read the rows of a unit; blank lines are none.

    A compressed file that is damaged gives one entry, unless what can be read of it shall be used.
    """
    where = unit.payload
    path = Path(where["path"])
    name = printable(path.name)
    rows = _Rows(where["repository"], name, config)
    verdict = None
    try:
        with open_regular(path) as stream:
            if where["end"] is None and not config.salvage:
                _read_through(_unpacked(stream, path, config))
            yield from rows.entries(_lines(stream, path, where["start"], where["end"], config), where["line"])
    except OSError as error:
        verdict = Verdict("quarantined", "unreadable", reason(error))
    except RefusedError as error:
        verdict = error.verdict
    if verdict:
        yield Entry(where["repository"], name, unit.num_bytes, None, verdict, origin=name)


class _Rows:
    """Turns lines into entries."""

    def __init__(self, table: str, file_name: str, config: SourceConfig) -> None:
        self._table = table
        self._file_name = file_name
        self._selection = Selection(config)
        self._longest = longest_line(config)

    def entries(self, lines: Iterable[bytes], first: int) -> Iterator[Entry]:
        """The entries of lines, of which the first has the number `first`."""
        for number, line in enumerate(lines, first):
            if line.strip():
                yield self._entry(line, number)

    def _entry(self, line: bytes, number: int) -> Entry:
        where = f"{self._file_name}:{number}"
        try:
            values = self._parse(line)
        except _BadLineError as error:
            return Entry(self._table, where, len(line), None, error.verdict, origin=where)
        return row_entry(values, table=self._table, number=number, origin=where, selection=self._selection)

    def _parse(self, line: bytes) -> dict[str, Any]:
        """A line's values by their meaning, its content as bytes."""
        if len(line) >= self._longest:
            raise _BadLineError("dropped", "too_large", f"a line of {self._longest} bytes or more")
        try:
            row = json.loads(line.strip().removeprefix(codecs.BOM_UTF8).decode("utf-8"))
        except UnicodeDecodeError as error:
            at = f"0x{line[error.start]:02x} at byte {error.start} of the line"
            raise _BadLineError("quarantined", "not_utf8", at) from None
        except (ValueError, RecursionError) as error:
            raise _BadLineError("quarantined", "not_json", str(error).partition("\n")[0]) from None
        if not isinstance(row, dict):
            raise _BadLineError("quarantined", "not_json", f"expected an object, got {type(row).__name__}")
        values = {meaning: row[column] for meaning, column in columns_of(row).items()}
        content = values.get("content")
        if not isinstance(content, str):
            there = "content" in values
            what = f"of type {type(content).__name__}" if there else f"among {', '.join(row)}"[:200]
            raise _BadLineError("quarantined", "no_content", f"no content {what}")
        try:
            return values | {"content": content.encode()}
        except UnicodeEncodeError:
            raise _BadLineError("quarantined", "not_utf8", "half a surrogate pair") from None


class _BadLineError(Exception):
    def __init__(self, action: Action, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.verdict = Verdict(action, reason, detail)


def longest_line(config: SourceConfig) -> int:
    """No row of a file that is wanted takes so many bytes."""
    return _LONGEST_ESCAPE * config.max_file_bytes + _OTHER_KEYS_BYTES


def _lines(
    stream: IO[bytes], path: Path, start: int, end: int | None, config: SourceConfig
) -> Iterator[bytes]:
    """The lines of a range; of one that is too long, no more than shows it."""
    stream.seek(start)
    lines = stream if end is not None else io.BufferedReader(_unpacked(stream, path, config), _UNPACKED_BLOCK)
    longest = longest_line(config)
    position = start
    while (end is None or position < end) and (line := lines.readline(longest)):
        position += len(line)
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = lines.readline(_BLOCK)
            position += len(rest)
        yield line


def _read_through(stream: Unpacked) -> None:
    """Raise `RefusedError` unless the whole stream unpacks."""
    while stream.read(_BLOCK):
        pass


def _unpacked(stream: IO[bytes], path: Path, config: SourceConfig) -> Unpacked:
    stream.seek(0)
    most_bytes = int(config.limits.ratio * path.stat().st_size) + _BLOCK
    return Unpacked(stream, COMPRESSIONS[path.suffix], most_bytes=most_bytes)


def _ranges(stream: IO[bytes], unit_bytes: int) -> Iterator[tuple[int, int, int, int]]:
    """Ranges of whole lines: their start and end, the number of the first line, how many lines."""
    start, line = 0, 1
    while True:
        size = num_lines = 0
        last = b""
        while size < unit_bytes and (block := stream.read(min(_BLOCK, unit_bytes - size))):
            size, last = size + len(block), block
            num_lines += block.count(b"\n")
        while last and not last.endswith(b"\n"):
            last = stream.readline(_BLOCK)
            size += len(last)
            num_lines += last.endswith(b"\n") or not last  # the last line of all may have no end
        if size == 0:
            return
        yield start, start + size, line, num_lines
        start, line = start + size, line + num_lines
