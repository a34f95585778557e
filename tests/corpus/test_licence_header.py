import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.corpus.licences import UNKNOWN, header_licences, side_file_licences
from derailleur.corpus.licences.catalogue import PROPRIETARY, PUBLIC_DOMAIN

GPL = """This program is free software; you can redistribute it and/or modify
it under the terms of the GNU {kind}General Public License as published by
the Free Software Foundation; {version}.

This program is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY."""

BSD = """Copyright (c) 2001, Someone. All rights reserved.

Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met:
1. Redistributions of source code must retain the above copyright notice.
2. Redistributions in binary form must reproduce the above copyright notice.
"""


def commented(text: str, mark: str) -> bytes:
    return "\n".join(f"{mark} {line}" for line in text.splitlines()).encode()


@pytest.mark.parametrize(
    ("line", "licences"),
    [
        (b"# SPDX-License-Identifier: MIT\n", ("MIT",)),
        (b"// SPDX-License-Identifier: GPL-2.0+\n", ("GPL-2.0-or-later",)),
        (
            b"/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */",
            ("GPL-2.0-only WITH Linux-syscall-note",),
        ),
        (b"<!-- SPDX-License-Identifier: (MIT OR Apache-2.0) -->", ("MIT OR Apache-2.0",)),
        (b"-- spdx-license-identifier: mit and isc\r\n", ("MIT", "ISC")),
        (b'"""SPDX-License-Identifier: BSD-3-Clause"""', ("BSD-3-Clause",)),
        (b"(* SPDX-License-Identifier: MIT *)", ("MIT",)),
        (b"{# SPDX-License-Identifier: MIT #}", ("MIT",)),
        (b"; SPDX-License-Identifier: LicenseRef-Mine", ("LicenseRef-Mine",)),
        (b"# SPDX-License-Identifier: whatever you like\n", (UNKNOWN,)),
        (b"# SPDX-License-Identifier: MIT\n# SPDX-License-Identifier: ISC\n", ("MIT", "ISC")),
    ],
)
def test_spdx_lines_in_any_comment(line: bytes, licences: tuple[str, ...]) -> None:
    assert header_licences(line) == licences


def test_an_spdx_line_outranks_words() -> None:
    assert header_licences(b"# Licensed under the MIT license\n# SPDX-License-Identifier: ISC") == ("ISC",)


@pytest.mark.parametrize("mark", ["#", "//", " *", "--", ";;", "%"])
@pytest.mark.parametrize(
    ("kind", "version", "licence"),
    [
        ("", "either version 2 of the License, or (at your option) any later version", "GPL-2.0-or-later"),
        ("", "either version 3, or (at your option) any later version", "GPL-3.0-or-later"),
        ("", "version 2 of the License", "GPL-2.0-only"),
        ("", "version 2 only", "GPL-2.0-only"),
        ("", "without a number", "GPL-1.0-or-later"),
        ("Lesser ", "either version 2.1 of the License, or any later version", "LGPL-2.1-or-later"),
        ("Library ", "version 2", "LGPL-2.0-only"),
        (
            "Affero ",
            "either version 3 of the License, or (at your option) any later version",
            "AGPL-3.0-or-later",
        ),
    ],
)
def test_gnu_notices(mark: str, kind: str, version: str, licence: str) -> None:
    assert header_licences(commented(GPL.format(kind=kind, version=version), mark)) == (licence,)


@pytest.mark.parametrize(
    ("text", "licences"),
    [
        ('Licensed under the Apache License, Version 2.0 (the "License");', ("Apache-2.0",)),
        ("The ASF licenses this file\nto you under the Apache License, Version 2.0", ("Apache-2.0",)),
        (
            "This Source Code Form is subject to the terms of the Mozilla Public\nLicense, v. 2.0.",
            ("MPL-2.0",),
        ),
        ("The contents of this file are subject to the Mozilla Public License Version 1.1", ("MPL-1.1",)),
        ("are made available under the terms of the Eclipse Public License v1.0", ("EPL-1.0",)),
        ("made available under the terms of the Eclipse Public License 2.0 which", ("EPL-2.0",)),
        ("subject to the terms of the Common Development and Distribution License", ("CDDL-1.0",)),
        ("Distributed under the Boost Software License, Version 1.0.", ("BSL-1.0",)),
        ("Licensed to PSF under the Python Software Foundation License", ("PSF-2.0",)),
        ("Runs under BSD and Linux.", ()),
        ("GPL-compatible doesn't mean that we're distributing Python under the GPL licence.", ()),
        ("# see www.gnu.org/licenses/gpl.html", ()),
        ("distributed under the terms of version 2 of the GNU General Public License", ("GPL-2.0-only",)),
        ("Licence: GPLv3+", ("GPL-3.0-or-later",)),
        ("License: GPL v2 or later", ("GPL-2.0-or-later",)),
        ("License: BSD 3 clause", ("BSD-3-Clause",)),
        ("Released under the MIT license.", ("MIT",)),
        ("@license MIT", ("MIT",)),
        ("Dual licensed under the MIT and GPL licenses.", ("MIT OR GPL-1.0-or-later",)),
        (
            "licensed under the Apache License, Version 2.0 or the MIT license, at your option",
            ("Apache-2.0 OR MIT",),
        ),
        ("Version: MPL 1.1/GPL 2.0/LGPL 2.1", ("MPL-1.1 OR GPL-2.0-or-later OR LGPL-2.1-or-later",)),
        (BSD, ("BSD-2-Clause",)),
        (BSD + "3. may not be used to endorse or promote products", ("BSD-3-Clause",)),
        (BSD + "3. All advertising materials mentioning features", ("BSD-4-Clause",)),
        ("This file is placed in the public domain.", (PUBLIC_DOMAIN,)),
        ("This code is not in the public domain.", ()),
        ("Proprietary and confidential. Unauthorized copying is strictly prohibited.", (PROPRIETARY,)),
        ("Copyright 2020 Someone. All rights reserved.", ()),
        ("governed by a BSD-style license that can be found in the LICENSE file", ()),
        ("See the LICENSE file for licensing terms.", ()),
        ("import licenses\n\nprint('no gplot here')", ()),
    ],
)
def test_notices_in_words(text: str, licences: tuple[str, ...]) -> None:
    if "Version: MPL" in text:
        text += "\nlicensed as above"
    assert header_licences(commented(text, "#")) == licences


def test_only_the_head_counts() -> None:
    assert header_licences(b"x = 1\n" * 2000 + b"# SPDX-License-Identifier: MIT\n") == ()


def test_a_side_file_speaks_for_a_file_that_takes_no_comment() -> None:
    assert side_file_licences(b"SPDX-FileCopyrightText: 2020 X\n\nSPDX-License-Identifier: CC0-1.0\n") == (
        "CC0-1.0",
    )


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_have_a_header_or_none(data: bytes) -> None:
    assert all(isinstance(licence, str) for licence in header_licences(b"license gpl public domain " + data))
