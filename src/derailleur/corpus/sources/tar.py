"""Reads tar archives (v7, ustar, pax, GNU) as a stream, one header at a time.

The standard library's reader keeps every header and takes a header's word for how much memory it needs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from derailleur.corpus.ledger import Verdict
from derailleur.corpus.sources.compression import RefusedError, Unpacked
from derailleur.corpus.sources.members import Member

_BLOCK = 512
_CHUNK = 1 << 20
_LONGEST_HEADER = 1 << 20  # of a pax or GNU header: names, times and the like
_ZEROS = bytes(_BLOCK)

_FILES = frozenset(b"0\x007")
_FOLDER = ord("5")
_GNU_NAME, _GNU_LINK, _GNU_SPARSE = b"LKS"
_PAX, _PAX_OF_ALL, _PAX_OF_SUN = b"xgX"
_WITHOUT_DATA = frozenset(b"123456V")  # whatever their size says

_SPARSE = frozenset({b"GNU.sparse.name", b"GNU.sparse.size", b"GNU.sparse.major"})
"""Each of the three forms of a sparse file has one of them."""

_PAX_KEYS = frozenset({b"path", b"size"}) | _SPARSE
"""What is kept of pax headers: all of it, header after header, could be any amount of memory."""

_MOST_SIZE = (1 << 63) - 1  # what others count bytes in

_SPECIAL = {
    ord("1"): Verdict("dropped", "hard_link"),
    ord("2"): Verdict("dropped", "symbolic_link"),
    _GNU_SPARSE: Verdict("dropped", "sparse_file"),
}
_OTHER = Verdict("dropped", "not_a_regular_file")


def tar_members(stream: Unpacked) -> Iterator[Member]:
    """The members of a tar archive, in its order; the stream is read to its end.

    Raises:
        RefusedError: naming the byte, if a header is damaged or the archive was cut off.
    """
    extra = _Extra()
    while (block := _exactly(stream, _BLOCK)) != _ZEROS:
        header = _parse(block, stream.position - _BLOCK)
        if header.kind in (_PAX, _PAX_OF_SUN, _PAX_OF_ALL, _GNU_NAME, _GNU_LINK):
            extra.take(header.kind, _long_header(stream, header.size))
            continue
        if header.kind == _GNU_SPARSE:
            _skip_sparse_map(stream, block)
        name, size, is_sparse = extra.applied(header)
        extra.forget()
        left = 0 if header.kind in _WITHOUT_DATA else size
        end = stream.position + -(-left // _BLOCK) * _BLOCK
        if not _is_folder(header.kind, name):
            verdict = _SPECIAL[_GNU_SPARSE] if is_sparse else _verdict(header.kind)
            yield Member(name, size, verdict, partial(_read, stream, size))
        _skip(stream, end - stream.position)
    while stream.read(_CHUNK):  # the checksum of a compressed stream comes last
        pass


@dataclass(frozen=True, slots=True)
class _Header:
    name: bytes
    size: int
    kind: int


@dataclass(slots=True)
class _Extra:
    """What headers before a member say of it, instead of its own: `of_all` from there on, the rest once."""

    of_all: dict[bytes, bytes] = field(default_factory=dict)
    of_next: dict[bytes, bytes] = field(default_factory=dict)

    def take(self, kind: int, data: bytes) -> None:
        if kind == _PAX_OF_ALL:
            self.of_all.update(_pax_records(data))
        elif kind == _GNU_NAME:
            self.of_next[b"path"] = data.rstrip(b"\0")
        elif kind != _GNU_LINK:
            self.of_next.update(_pax_records(data))

    def applied(self, header: _Header) -> tuple[bytes, int, bool]:
        """Name, size and whether the member is sparse."""
        records = self.of_all | self.of_next
        name = records.get(b"GNU.sparse.name") or records.get(b"path") or header.name
        stated = records.get(b"size", b"0")
        if not stated.isdigit() or len(stated) > len(str(_MOST_SIZE)):
            raise RefusedError("corrupt_archive", f"a size of {stated[:20]!r}")
        size = int(stated) if b"size" in records else header.size
        if size > _MOST_SIZE:
            raise RefusedError("corrupt_archive", f"a size of {size}")
        return name, size, not _SPARSE.isdisjoint(records)

    def forget(self) -> None:
        self.of_next.clear()


def _parse(block: bytes, position: int) -> _Header:
    try:
        stated, size = _number(block[148:156]), _number(block[124:136])
    except ValueError:
        raise RefusedError("corrupt_archive", f"no tar header at byte {position}") from None
    if stated != sum(block[:148]) + sum(block[156:]) + 8 * ord(" ") or size < 0:
        raise RefusedError("corrupt_archive", f"no tar header at byte {position}")
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and (prefix := block[345:500].partition(b"\0")[0]):
        name = prefix + b"/" + name
    return _Header(name, size, block[156])


def _number(field: bytes) -> int:
    """An octal number, or a binary one where GNU tar found octal too short."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big") if field[0] == 0x80 else -1
    return int(field.partition(b"\0")[0].strip() or b"0", 8)


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    """Records of the form `LENGTH KEY=VALUE\\n`, where the length is the whole record's."""
    records = {}
    data = data.rstrip(b"\0")
    start = 0
    while start < len(data):
        length, space, _ = data[start : start + 20].partition(b" ")
        if not (space and length.isdigit() and len(length) + 2 < int(length) <= len(data) - start):
            raise RefusedError("corrupt_archive", "a damaged pax header")
        end = start + int(length)
        key, _, value = data[start + len(length) + 1 : end - 1].partition(b"=")
        if key in _PAX_KEYS:
            records[key] = value
        start = end
    return records


def _is_folder(kind: int, name: bytes) -> bool:
    return kind == _FOLDER or (kind in _FILES and name.endswith(b"/"))  # v7 has no kind for folders


def _verdict(kind: int) -> Verdict | None:
    return None if kind in _FILES else _SPECIAL.get(kind, _OTHER)


def _long_header(stream: Unpacked, size: int) -> bytes:
    if size > _LONGEST_HEADER:
        raise RefusedError("bomb", f"a header of {size} bytes")
    data = _exactly(stream, size)
    _skip(stream, -size % _BLOCK)
    return data


def _skip_sparse_map(stream: Unpacked, block: bytes) -> None:
    is_extended = block[482]
    while is_extended:
        is_extended = _exactly(stream, _BLOCK)[504]


def _read(stream: Unpacked, size: int, most_bytes: int) -> bytes:
    return _exactly(stream, min(size, most_bytes))


def _skip(stream: Unpacked, size: int) -> None:
    while size:
        size -= len(_exactly(stream, min(size, _CHUNK)))


def _exactly(stream: Unpacked, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise RefusedError("corrupt_archive", f"cut off at byte {stream.position}")
    return data
