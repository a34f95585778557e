import pytest

from derailleur.corpus.licences import (
    UNKNOWN,
    LicenceMatch,
    declared_licences,
    folder_licences,
    is_description,
    is_licence_file,
    nearest_folder,
)


@pytest.mark.parametrize(
    "path",
    [
        "LICENSE", "LICENCE", "license.md", "LICENSE.txt", "LICENSE-MIT", "LICENSE_APACHE", "a/b/COPYING",
        "COPYING.LESSER", "UNLICENSE", "LICENSES/MIT.txt", "NOTICE", "NOTICE.txt", "COPYRIGHT", "MIT-LICENSE",
        "LICENSES.third-party", "LICENSE.MIT.txt", "copying.lib",
    ],
)  # fmt: skip
def test_names_of_licence_files(path: str) -> None:
    assert is_licence_file(path)


@pytest.mark.parametrize(
    "path",
    [
        "license.py",
        "src/licenses.ts",
        "LICENSE/readme",
        "photo.png.license",
        "copyingmachine.c",
        "relicensed.md",
    ],
)
def test_names_of_other_files(path: str) -> None:
    assert not is_licence_file(path)


def test_the_nearest_folder_above_counts() -> None:
    found = {"": "MIT", "vendor/x": "GPL-2.0-only"}
    assert nearest_folder(found, "a.py") == ""
    assert nearest_folder(found, "vendor/y/a.py") == ""
    assert nearest_folder(found, "vendor/x/deep/a.py") == "vendor/x"
    assert nearest_folder(found, "vendor/xy/a.py") == ""
    assert nearest_folder({"b": "MIT"}, "a/a.py") is None
    assert nearest_folder({}, "a.py") is None


def licences(**files: str | None) -> dict[str, tuple[str, ...]]:
    matches = {
        path.replace("__", "/"): None if spdx is None else LicenceMatch(spdx, 1.0)
        for path, spdx in files.items()
    }
    return {folder: found.licences for folder, found in folder_licences(matches).items()}


def test_files_of_one_folder_are_joined() -> None:
    assert licences(LICENSE="MIT") == {"": ("MIT",)}
    assert licences(LICENSE="MIT", sub__COPYING="ISC") == {"": ("MIT",), "sub": ("ISC",)}
    assert licences(LICENSE="MIT", COPYING="ISC") == {"": ("ISC AND MIT",)}
    assert licences(LICENSE=None) == {"": (UNKNOWN,)}
    assert licences(LICENSE=None, COPYING="MIT") == {"": ("MIT",)}


def test_licence_files_named_by_their_licence_are_a_choice() -> None:
    matches = {"LICENSE-APACHE": LicenceMatch("Apache-2.0", 1.0), "LICENSE-MIT": LicenceMatch("MIT", 0.98)}
    found = folder_licences(matches)[""]
    assert found.licences == ("Apache-2.0 OR MIT",)
    assert found.source == "LICENSE-APACHE (1.00); LICENSE-MIT (0.98)"


def test_the_lesser_licence_stands_beside_the_one_it_adds_to() -> None:
    matches = {
        "COPYING": LicenceMatch("GPL-3.0-only", 1.0),
        "COPYING.LESSER": LicenceMatch("LGPL-3.0-only", 1.0),
    }
    assert folder_licences(matches)[""].licences == ("LGPL-3.0-only",)


def test_notices_and_collected_texts_count_only_where_nothing_else_does() -> None:
    assert licences(LICENSE="MIT", NOTICE="GPL-2.0-only") == {"": ("MIT",)}
    assert licences(NOTICE="Apache-2.0") == {"": ("Apache-2.0",)}
    assert licences(NOTICE=None) == {}
    assert licences(LICENSE="MIT", LICENSES__GPL="GPL-2.0-only") == {"": ("MIT",)}
    assert licences(LICENSES__GPL="GPL-2.0-only") == {"": ("GPL-2.0-only",)}


@pytest.mark.parametrize(
    ("path", "text", "licence"),
    [
        ("package.json", '{"license": "MIT"}', "MIT"),
        ("package.json", '{"license": "(MIT OR GPL-3.0)"}', "MIT OR GPL-3.0-only"),
        ("package.json", '{"licenses": [{"type": "MIT"}, {"type": "Apache-2.0"}]}', "MIT OR Apache-2.0"),
        ("package.json", '{"license": {"type": "BSD", "url": "x"}}', "LicenseRef-BSD"),
        ("package.json", '{"license": "UNLICENSED"}', "LicenseRef-proprietary"),
        ("package.json", '{"license": "SEE LICENSE IN LICENSE.md"}', None),
        ("package.json", '{"license": ["MIT"', None),
        ("package.json", "[1]", None),
        ("a/composer.json", '{"license": ["MIT", "GPL-2.0+"]}', "MIT OR GPL-2.0-or-later"),
        ("pyproject.toml", '[project]\nlicense = "Apache-2.0 AND MIT"', "Apache-2.0 AND MIT"),
        ("pyproject.toml", '[project]\nlicense = {text = "BSD 3-Clause"}', "BSD-3-Clause"),
        ("pyproject.toml", '[tool.poetry]\nlicense = "MIT"', "MIT"),
        ("pyproject.toml", '[project]\nclassifiers = ["License :: OSI Approved :: MIT License"]', "MIT"),
        ("pyproject.toml", '[project]\nlicense = {file = "LICENSE"}', None),
        ("pyproject.toml", "[project", None),
        ("Cargo.toml", '[package]\nlicense = "MIT/Apache-2.0"', "MIT OR Apache-2.0"),
        ("setup.cfg", "[metadata]\nlicense = Apache License 2.0\n", "Apache-2.0"),
        ("setup.cfg", "[metadata]\nclassifiers =\n  License :: OSI Approved :: ISC License (ISCL)\n", "ISC"),
        ("PKG-INFO", "Metadata-Version: 2.4\nLicense-Expression: MIT\n\ntext", "MIT"),
        ("METADATA", "Name: x\nLicense: GPLv3+\n", "GPL-3.0-or-later"),
        ("METADATA", "Name: x\nLicense: UNKNOWN\nClassifier: License :: OSI Approved :: BSD License\n", None),
        ("DESCRIPTION", "Package: x\nLicense: GPL (>= 2)\n", "GPL-2.0-or-later"),
        ("DESCRIPTION", "Package: x\nLicense: MIT + file LICENSE\n", "MIT"),
        ("DESCRIPTION", "Package: x\nLicense: GPL-2 | GPL-3\n", "GPL-2.0-only OR GPL-3.0-only"),
        (
            "pom.xml",
            "<licenses><license><name>Apache License, Version 2.0</name></license></licenses>",
            "Apache-2.0",
        ),
        ("x.gemspec", 'spec.licenses = ["MIT", "Ruby"]', "MIT OR Ruby"),
        ("x.gemspec", "s.license = 'BSD-2-Clause'", "BSD-2-Clause"),
        ("setup.cfg", "no section", None),
    ],
)
def test_declared_licences(path: str, text: str, licence: str | None) -> None:
    assert is_description(path)
    assert declared_licences(path, text.encode()) == (() if licence is None else (licence,))


def test_a_declared_name_that_nobody_knows() -> None:
    assert declared_licences("package.json", b'{"license": "My Own Terms"}') == (UNKNOWN,)


def test_other_files_declare_nothing() -> None:
    assert not is_description("main.py")
    assert declared_licences("main.py", b'license = "MIT"') == ()
