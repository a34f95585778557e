"""Git repositories are read from their object stores, whatever state they are in."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from derailleur.corpus.sources import ArchiveLimits, Entry, SourceConfig, Unit, open_sources, read_unit
from derailleur.errors import DataError

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="makes repositories with git")

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


def git(folder: Path, *arguments: str) -> str:
    identity = {
        f"GIT_{who}_{what}": "t@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"} | identity
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, check=True)
    return done.stdout.decode().strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Two commits; the second has a link, a submodule, an LFS pointer and a large file."""
    folder = tmp_path / "checkout"
    (folder / "src").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    (folder / "src/a.py").write_text("old = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    git(folder, "tag", "v1")
    (folder / "src/a.py").write_text("new = 2\n")
    (folder / "src.py").write_text("x\n")
    (folder / "big.py").write_text("x" * 5000)
    (folder / "model.bin").write_bytes(LFS)
    (folder / "link.py").symlink_to("/etc/passwd")
    (folder / os.fsdecode(b"caf\xe9.py")).write_text("y\n")
    git(folder, "add", ".")
    git(folder, "update-index", "--add", "--cacheinfo", f"160000,{git(folder, 'rev-parse', 'v1')},vendored")
    git(folder, "commit", "-q", "-m", "two")
    return folder


@pytest.fixture
def bare(checkout: Path) -> Path:
    git(checkout.parent, "clone", "-q", "--bare", str(checkout), "project.git")
    git(checkout.parent / "project.git", "gc", "-q")
    return checkout.parent / "project.git"


def read(source: Path | str, unit_bytes: int = 1 << 25, **keys: object) -> list[Entry]:
    config = SourceConfig.model_validate({"max_file_bytes": 1000, **keys})
    [opened] = open_sources([source], config, out=Path("/nowhere/out"))
    units = [Unit.from_json(unit.to_json()) for unit in opened.units(unit_bytes)]
    entries = [entry for unit in units for entry in read_unit(unit, config)]
    assert sum(unit.num_files or 0 for unit in units) == len(entries)
    return entries


def test_a_bare_repository_is_read_at_head(bare: Path, checkout: Path) -> None:
    entries = read(bare)
    assert {entry.path: (entry.data, entry.verdict and entry.verdict.reason) for entry in entries} == {
        "big.py": (None, "too_large"),
        "caf\\xe9.py": (b"y\n", None),
        "link.py": (None, "symbolic_link"),
        "model.bin": (None, "lfs_pointer"),
        "src.py": (b"x\n", None),
        "src/a.py": (b"new = 2\n", None),
        "vendored": (None, "submodule"),
    }
    assert [entry.path for entry in entries] == sorted(entry.path for entry in entries)
    assert {(entry.repository, entry.revision) for entry in entries} == {
        ("project", git(bare, "rev-parse", "HEAD"))
    }
    by_path = {entry.path: entry for entry in entries}
    assert by_path["src/a.py"].origin == git(bare, "rev-parse", "HEAD:src/a.py")
    assert by_path["big.py"].num_bytes == 5000
    assert read(bare, unit_bytes=1) == entries


def test_a_revision_is_read_from_the_object_store_and_a_checkout_as_a_folder(checkout: Path) -> None:
    (checkout / "src/a.py").write_text("changed = 3\n")
    [old] = read(f"{checkout}@v1")
    assert (old.repository, old.path, old.data) == ("checkout", "src/a.py", b"old = 1\n")
    assert old.revision == git(checkout, "rev-parse", "v1")
    folder = {entry.path: entry for entry in read(checkout)}
    assert folder["src/a.py"].data == b"changed = 3\n"
    assert folder["src/a.py"].revision == ""
    assert not [path for path in folder if path.startswith(".git")]
    with pytest.raises(DataError, match="checkout: no revision 'v2'"):
        read(f"{checkout}@v2")
    with pytest.raises(DataError, match="no revision 'HEAD:src'"):
        read(f"{checkout}@HEAD:src")
    (checkout.parent / "plain").mkdir()
    with pytest.raises(DataError, match="plain: no revision 'HEAD'"):
        read(f"{checkout.parent / 'plain'}@HEAD")


@pytest.mark.parametrize(
    ("url", "repository"),
    [
        ("https://github.com/owner/name.git", "owner/name"),
        ("https://user:secret@host.org:8443/group/owner/name", "owner/name"),
        ("git@gitlab.com:owner/name.git", "owner/name"),
        ("ssh://git@host.org/owner/name/", "owner/name"),
        ("https://user:secret@host.org/name", "project"),
        ("../elsewhere/owner/name", "project"),
        ("file:///srv/owner/name.git", "project"),
    ],
)
def test_owner_and_name_come_from_the_remote(bare: Path, url: str, repository: str) -> None:
    git(bare, "config", "remote.origin.url", url)
    assert {entry.repository for entry in read(bare)} == {repository}


def test_no_configuration_but_the_repositorys_own_is_read(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(bare, "remote", "remove", "origin")
    (tmp_path / ".gitconfig").write_text('[remote "origin"]\n url = https://example.com/of/user\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert {entry.repository for entry in read(bare)} == {"project"}


def test_bare_repositories_inside_a_folder_are_read_as_such(bare: Path, checkout: Path) -> None:
    shutil.copytree(bare, checkout.parent / "mirrors/owner/one.git")
    git(checkout.parent / "mirrors/owner/one.git", "remote", "remove", "origin")
    (checkout.parent / "mirrors/readme.py").write_text("x")
    entries = read(checkout.parent / "mirrors")
    assert {(entry.repository, entry.path) for entry in entries} >= {
        ("mirrors/owner/one", "src/a.py"),
        ("mirrors", "readme.py"),
    }


def test_a_missing_or_damaged_object_is_an_entry_and_the_rest_is_read(checkout: Path) -> None:
    blob = git(checkout, "rev-parse", "HEAD:src/a.py")
    path = checkout / f".git/objects/{blob[:2]}/{blob[2:]}"
    path.chmod(0o600)
    path.write_bytes(b"garbage")
    reasons = {entry.path: entry.verdict and entry.verdict.reason for entry in read(f"{checkout}@HEAD")}
    assert reasons["src/a.py"] == "unreadable"
    assert reasons["src.py"] is None
    path.unlink()
    assert {entry.path: entry.verdict for entry in read(f"{checkout}@HEAD")}["src/a.py"]
    tree = git(checkout, "rev-parse", "HEAD:src")
    (checkout / f".git/objects/{tree[:2]}/{tree[2:]}").unlink()
    reasons = {entry.path: entry.verdict and entry.verdict.reason for entry in read(f"{checkout}@HEAD")}
    assert reasons["src/"] == "unreadable"
    assert reasons["src.py"] is None


def test_a_damaged_repository_is_one_entry(bare: Path) -> None:
    for pack in (bare / "objects/pack").iterdir():
        pack.chmod(0o600)
        pack.write_bytes(b"")
    [entry] = read(bare)
    assert entry.verdict
    assert (entry.repository, entry.verdict.reason) == ("project", "corrupt_repository")
    (bare / "HEAD").write_bytes(b"\0\xff")
    [entry] = read(bare)
    assert entry.verdict and entry.verdict.reason == "corrupt_repository"


def test_trees_that_stand_for_endless_files_are_one_entry(checkout: Path) -> None:
    tree = git(checkout, "rev-parse", "v1:src")
    for _ in range(12):
        lines = "".join(f"040000 tree {tree}\t{name}\n" for name in "abcdefghij")
        made = subprocess.run(
            ["git", "mktree"], cwd=checkout, input=lines.encode(), capture_output=True, check=True
        )
        tree = made.stdout.decode().strip()
    git(checkout, "tag", "bomb", git(checkout, "commit-tree", tree, "-m", "bomb"))
    [entry] = read(f"{checkout}@bomb", limits=ArchiveLimits(members=1000))
    assert entry.verdict and entry.verdict.reason == "bomb"
    assert entry.revision == git(checkout, "rev-parse", "bomb")


def test_the_fingerprint_is_the_commits(bare: Path, checkout: Path) -> None:
    def fingerprint() -> str:
        [source] = open_sources([bare], SourceConfig(), out=Path("/nowhere"))
        return source.fingerprint()

    first = fingerprint()
    (bare / "description").write_text("other")
    assert fingerprint() == first
    git(bare, "update-ref", "HEAD", git(bare, "rev-parse", "v1"))
    assert fingerprint() != first


def test_a_repository_that_vanishes_after_it_was_listed_is_quarantined(bare: Path) -> None:
    config = SourceConfig()
    [source] = open_sources([bare], config, out=bare.parent / "out")
    [unit] = source.units(1 << 25)
    shutil.rmtree(bare)
    entries = list(read_unit(unit, config))
    assert len(entries) == unit.num_files
    assert {entry.verdict.action for entry in entries if entry.verdict} == {"quarantined"}


def test_an_object_that_claims_to_be_huge_is_an_entry(bare: Path) -> None:
    git(bare, "gc", "-q")
    [pack] = bare.glob("objects/pack/*.pack")
    pack.chmod(0o600)
    data = bytearray(pack.read_bytes())
    for place in range(20, len(data) - 20):
        data[place] ^= 0xA5
    pack.write_bytes(data)
    entries = read(bare)
    assert entries and all(entry.verdict and entry.verdict.action == "quarantined" for entry in entries)
