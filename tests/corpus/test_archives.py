"""Archives read back what was put in; damaged and dangerous ones are a single entry."""

import bz2
import gzip
import io
import lzma
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derailleur.corpus.sources import ArchiveLimits, Entry, SourceConfig, Unit, open_sources, read_unit
from derailleur.corpus.sources.tar import _Extra

names = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/\\:"), min_size=1, max_size=40
).filter(lambda name: name not in (".", ".."))
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
contents = st.binary(max_size=2000).filter(lambda data: not data.startswith(b"version https://git-lfs"))
trees = st.dictionaries(paths, contents, min_size=1, max_size=8).filter(
    lambda tree: not any(other.startswith(f"{path}/") for path in tree for other in tree)
)
Tree = Mapping[str, bytes]


def zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
    ".tar.zst": zstd,
}


def tar_of(tree: Tree, tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as archive:
        for path, data in tree.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def zip_of(tree: Tree, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for path, data in tree.items():
            archive.writestr(zipfile.ZipInfo(path), data, method)
    return buffer.getvalue()


def read(path: Path, unit_bytes: int = 1 << 25, **keys: object) -> list[Entry]:
    config = SourceConfig.model_validate({"exclude_folders": (), **keys})
    [source] = open_sources([path], config, out=path.parent / "out")
    entries = []
    for unit in source.units(unit_bytes):
        assert unit.source == source.name
        found = list(read_unit(Unit.from_json(unit.to_json()), config))
        assert unit.num_files in (None, len(found))
        entries += found
    return entries


def read_bytes(name: str, data: bytes, **keys: object) -> list[Entry]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        return read(path, **keys)  # type: ignore[arg-type]


def reasons(entries: list[Entry]) -> dict[str, str]:
    return {entry.path: entry.verdict.reason if entry.verdict else "" for entry in entries}


def stripped(tree: Tree) -> dict[str, bytes]:
    tops = {path.partition("/")[0] + "/" if "/" in path else "" for path in tree}
    top = tops.pop() if len(tops) == 1 else ""
    return {path.removeprefix(top): data for path, data in tree.items()}


@settings(max_examples=40, deadline=None)
@given(trees, st.sampled_from(sorted(COMPRESS)), st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_any_tree_reads_back_from_tar(tree: Tree, suffix: str, tar_format: int) -> None:
    entries = read_bytes(f"x{suffix}", COMPRESS[suffix](tar_of(tree, tar_format)))
    assert {entry.path: entry.data for entry in entries} == stripped(tree)
    assert {entry.repository for entry in entries} == {"x"}
    assert [entry.origin for entry in entries] == [f"x{suffix}!{path}" for path in tree]


@settings(max_examples=40, deadline=None)
@given(trees, st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
def test_any_tree_reads_back_from_zip(tree: Tree, method: int) -> None:
    data = zip_of(tree, method)
    whole = read_bytes("x.zip", data)
    assert {entry.path: entry.data for entry in whole} == stripped(tree)
    assert read_bytes("x.zip", data, unit_bytes=1000) == whole


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_is_never_more_than_entries_with_a_reason(data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from([*COMPRESS, ".zip"]))
    tree = {"a/b.py": b"x = 1\n" * 50, "a/c.py": bytes(range(256)), "a/d.py": b"y = 2\n"}
    packed = bytearray(zip_of(tree) if suffix == ".zip" else COMPRESS[suffix](tar_of(tree)))
    if data.draw(st.booleans()):
        packed = packed[: data.draw(st.integers(0, len(packed) - 1))]
    else:
        for _ in range(3):
            packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    for salvage in (False, True):
        entries = read_bytes(f"x{suffix}", bytes(packed), salvage=salvage)
        assert all(entry.verdict is None or entry.verdict.action for entry in entries)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar"])
def test_an_archive_that_was_cut_off_is_one_entry_and_its_members_can_be_salvaged(suffix: str) -> None:
    tree = {f"p/{number}.py": Random(number).randbytes(40_000) for number in range(8)}
    cut = COMPRESS[suffix](tar_of(tree))
    cut = cut[: int(0.6 * len(cut))]
    [entry] = read_bytes(f"x{suffix}", cut)
    assert entry.verdict and (entry.path, entry.verdict.reason) == (f"x{suffix}", "corrupt_archive")
    if suffix == ".tar.bz2":
        return  # one block of 900 kB
    *good, last = read_bytes(f"x{suffix}", cut, salvage=True)
    assert last.verdict == entry.verdict
    assert good and {entry.path: entry.data for entry in good}.items() <= stripped(tree).items()


def test_special_members_are_listed_and_their_paths_never_leave_the_archive() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind in (
            ("link.py", tarfile.SYMTYPE),
            ("hard.py", tarfile.LNKTYPE),
            ("pipe", tarfile.FIFOTYPE),
            ("disk", tarfile.BLKTYPE),
            ("folder", tarfile.DIRTYPE),
            ("sparse.py", tarfile.GNUTYPE_SPARSE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        for name in ("../up.py", "/etc/root.py", "a/../../b.py", "./ok.py", "ok.py", "c:\\x.py", "y" * 5000):
            member = tarfile.TarInfo(name)
            member.size = 2
            archive.addfile(member, io.BytesIO(b"x\n"))
    assert reasons(read_bytes("x.tar", buffer.getvalue())[:-1]) == {
        "link.py": "symbolic_link",
        "hard.py": "hard_link",
        "pipe": "not_a_regular_file",
        "disk": "not_a_regular_file",
        "sparse.py": "sparse_file",
        "../up.py": "unsafe_path",
        "/etc/root.py": "unsafe_path",
        "a/../../b.py": "unsafe_path",
        "ok.py": "duplicate_member",
        "c:\\x.py": "unsafe_path",
    }
    entries = read_bytes("x.tar", buffer.getvalue())
    assert [entry.data for entry in entries if entry.path == "ok.py"] == [b"x\n", None]
    assert entries[-1].verdict and entries[-1].verdict.reason == "long_path"


def test_special_members_of_zip() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("link.py")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("../up.py", "x")
        archive.writestr("good.py", "x = 1\n")
        archive.writestr("bad.py", "y = 2 # to be damaged\n")
        archive.writestr("locked.py", "z")
        archive.getinfo("locked.py").flag_bits |= 1
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("good.py", "again")
    data = buffer.getvalue().replace(b"to be damaged", b"to be Damaged")
    entries = read_bytes("x.zip", data)
    assert reasons(entries) == {
        "link.py": "symbolic_link",
        "../up.py": "unsafe_path",
        "good.py": "duplicate_member",
        "bad.py": "corrupt_member",
        "locked.py": "encrypted",
    }
    assert entries[2].data == b"x = 1\n"
    assert entries[3].verdict and "CRC" in entries[3].verdict.detail


def test_names_that_are_not_utf8() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        archive.addfile(tarfile.TarInfo("café.py"), io.BytesIO())
    assert [entry.path for entry in read_bytes("x.tar", buffer.getvalue())] == ["caf\\xe9.py"]
    unflagged = zip_of({"cafe.py": b"x"}).replace(b"cafe", b"caf\x82")
    assert [entry.path for entry in read_bytes("x.zip", unflagged)] == ["caf\\x82.py"]


def bomb_of_overlaps() -> bytes:
    """Two entries of the directory that share one member's bytes."""
    data = zip_of({"a.py": bytes(range(256)) * 40})
    start, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    directory = data[start:end]
    tail = bytearray(data[end:])
    tail[8:12] = (2).to_bytes(2, "little") * 2
    tail[12:16] = (2 * len(directory)).to_bytes(4, "little")
    return data[:start] + directory + directory.replace(b"a.py", b"b.py") + bytes(tail)


@pytest.mark.parametrize(
    ("name", "data", "detail"),
    [
        ("x.tar.gz", gzip.compress(tar_of({"a.py": bytes(8 << 20)})), "unpacks to more than 1048576 bytes"),
        ("x.tar.xz", lzma.compress(tar_of({"a.py": bytes(8 << 20)})), "unpacks to more than 1048576 bytes"),
        ("x.tar.zst", zstd(tar_of({"a.py": bytes(8 << 20)})), "unpacks to more than 1048576 bytes"),
        ("x.zip", zip_of({"a.py": bytes(8 << 20)}), "unpacks to more than 1048576 bytes"),
        ("x.zip", bomb_of_overlaps(), "members overlap at byte 0"),
        ("x.zip", zip_of({f"{n}.py": b"" for n in range(11)}), "over 10 members"),
        ("x.tar", tar_of({f"{n}.py": b"" for n in range(11)}), "over 10 members"),
    ],
)
def test_bombs_are_one_entry_even_if_salvage_is_wanted(name: str, data: bytes, detail: str) -> None:
    for salvage in (False, True):
        [entry] = read_bytes(name, data, limits=ArchiveLimits(ratio=20, members=10), salvage=salvage)
        assert entry.verdict
        assert (entry.path, entry.verdict.reason, entry.verdict.detail) == (name, "bomb", detail)


def test_a_header_may_not_ask_for_much_memory() -> None:
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.XHDTYPE, 1 << 40
    [entry] = read_bytes("x.tar", member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert entry.verdict and entry.verdict.reason == "bomb"


def pax(*records: bytes) -> bytes:
    """A header before a member that says more of it."""
    data = b""
    for record in records:
        length = next(n for n in range(len(record), len(record) + 9) if n == len(b"%d %s\n" % (n, record)))
        data += b"%d %s\n" % (length, record)
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, len(data)
    return header.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


def test_of_a_pax_header_only_what_is_used_is_kept() -> None:
    extra = _Extra()
    header = pax(b"path=b.py", b"size=3", *(b"x%d=%d" % (n, n) for n in range(50_000)))[512:]
    extra.take(ord("x"), header)
    assert extra.of_next == {b"path": b"b.py", b"size": b"3"}


@pytest.mark.parametrize("size", [b"9" * 5000, b"9" * 19, b"-1", b""])
def test_a_size_that_nothing_has_is_damage(size: bytes) -> None:
    [good, damage] = read_bytes(
        "x.tar", tar_of({"a.py": b"a"})[:1024] + pax(b"size=" + size) + member(5), salvage=True
    )
    assert (good.path, damage.path) == ("a.py", "x.tar")
    assert damage.verdict and damage.verdict.reason == "corrupt_archive"


def test_a_binary_size_that_nothing_has_is_damage() -> None:
    [entry] = read_bytes("x.tar", member(1 << 80), salvage=True)
    assert entry.verdict and entry.verdict.detail == f"a size of {1 << 80}"


def member(size: int) -> bytes:
    header = tarfile.TarInfo("b.py")
    header.size = size
    return header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_zipfile_unpacks_without_a_bound_is_not_unpacked(method: int) -> None:
    [entry] = read_bytes("x.zip", zip_of({"a.py": b"a = 1\n"}, method))
    assert entry.verdict and entry.verdict.reason == "unsupported_compression"


def test_archives_inside_archives_are_files_unless_depth_allows() -> None:
    inner = zip_of({"src/a.py": b"a = 1\n"})
    outer = gzip.compress(tar_of({"top/lib.zip": inner, "top/b.py": b"b = 2\n"}))
    assert {entry.path: entry.data for entry in read_bytes("x.tgz", outer)} == {
        "lib.zip": inner,
        "b.py": b"b = 2\n",
    }
    nested = read_bytes("x.tgz", outer, limits=ArchiveLimits(depth=1))
    assert [(entry.repository, entry.path, entry.origin) for entry in nested] == [
        ("x/lib.zip", "a.py", "x.tgz!lib.zip!src/a.py"),
        ("x", "b.py", "x.tgz!top/b.py"),
    ]
    [refused, _] = read_bytes("x.tgz", outer, limits=ArchiveLimits(depth=1, nested_bytes=10))
    assert refused.verdict and refused.verdict.reason == "too_large"


@pytest.mark.parametrize(
    ("file", "repository"),
    [
        ("requests-2.32.0.tar.gz", "requests-2.32.0"),
        ("numpy-2.1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "numpy-2.1.0"),
        ("requests-2.32.0-py3-none-any.whl", "requests-2.32.0"),
        ("build-1.0-2-py3-none-any.whl", "build-1.0"),
        ("lodash-4.17.21.TGZ", "lodash-4.17.21"),
        ("curl_7.88.1.orig.tar.xz", "curl_7.88.1"),
        ("serde-1.0.0.crate", "serde-1.0.0"),
    ],
)
def test_repositories_are_named_after_their_archives(file: str, repository: str) -> None:
    lower = file.lower()
    data = zip_of({"m.py": b"x"}) if lower.endswith(".whl") else gzip.compress(tar_of({"m.py": b"x"}))
    data = lzma.compress(tar_of({"m.py": b"x"})) if lower.endswith(".xz") else data
    [entry] = read_bytes(file, data)
    assert (entry.repository, entry.path, entry.data) == (repository, "m.py", b"x")


def test_files_that_are_not_wanted_are_not_read() -> None:
    tree = {"a.py": b"x" * 50, "node_modules/m.js": b"x", "b.txt": b"x", "big.py": b"x" * 200}
    keys = {"include": ("**/*.py", "**/*.js"), "max_file_bytes": 100, "exclude_folders": ("node_modules",)}
    for name, data in (("x.tar", tar_of(tree)), ("x.zip", zip_of(tree))):
        assert reasons(read_bytes(name, data, **keys)) == {
            "a.py": "",
            "node_modules/m.js": "excluded_folder",
            "b.txt": "not_included",
            "big.py": "too_large",
        }
