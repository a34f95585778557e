"""Our classes of licences, by identifier.

Basis: *permissive* is what the Blue Oak Council lists, on which The Stack's list stands too, and more of the
same families; *public_domain* waives every right; *weak_copyleft* reaches the licensed files or the library,
*strong_copyleft* the work that holds them (network and share-alike licences included); *non_commercial* and
*restricted* forbid a use or a change (no derivatives, field of use, delayed open source); *proprietary*
grants nothing. What stands in no list here is *other*: nobody that we follow has judged it.
"""

import re
from fnmatch import translate
from functools import cache
from typing import Literal, get_args

LicenceClass = Literal[
    "public_domain",
    "permissive",
    "weak_copyleft",
    "strong_copyleft",
    "non_commercial",
    "restricted",
    "proprietary",
    "other",
    "unknown",
]
LICENCE_CLASSES: tuple[str, ...] = get_args(LicenceClass)

# In order: the first class that matches counts, before the Blue Oak list.
_CLASSES: tuple[tuple[LicenceClass, str], ...] = (
    (
        "non_commercial",
        "CC-BY-NC-* PolyForm-Noncommercial-* NCGL-UK-* Aladdin PPL JPL-image C-UDA-*",
    ),
    (
        "restricted",
        "CC-BY-ND-* BUSL-* Elastic-* SSPL-* FSL-* PolyForm-* SUL-* Hippocratic-* CPOL-* JSON *-No-Nuclear-* "
        "*-No-Military-* ASWF-Digital-Assets-* SGI-B-1.* Caldera Glide TMate UnRAR BSD-3-Clause-OpenWebUI "
        "HPND-sell-variant-critical-systems *-export*-US* *-UC-export-US Informatica FDK-MPEG-H",
    ),
    (
        "strong_copyleft",
        "AGPL-* GPL-* OSL-* NPOSL-* SimPL-* RPL-* Sleepycat CECILL-1.* CECILL-2.* CAL-* CERN-OHL-S-* QPL-* "
        "EUPL-* CC-BY-SA-* CC-SA-* ODbL-* GFDL-* copyleft-next-* D-FSL-* Parity-* BSD-Protection LiLiQ-R* "
        "RHeCos-* SMAIL-GPL TGPPL-* APL-* CPAL-* LAL-* YPL-* SugarCRM-* ESA-PL-strong-* CDLA-Sharing-* "
        "TAPR-OHL-* VOSTROM TOSL Linux-man-pages-copyleft*",
    ),
    (
        "weak_copyleft",
        "LGPL-* LGPLLR MPL-* EPL-* CPL-* IPL-* CDDL-* CDL-* APSL-* NPL-* SPL-* SISSL* Nokia NOSL CUA-OPL-* "
        "MS-RL CECILL-C CERN-OHL-W-* CATOSL-* ErlPL-* Interbase-* Motosoto RSCPL RPSL-* SNIA Zimbra-* "
        "gSOAP-* OSET-PL-* OCLC-* NGPL IPA LiLiQ-P-* BitTorrent-* Frameworx-* OpenPBS-* TORQUE-* TPL-* UCL-* "
        "SMPPL OCCT-PL OPL-1.0 FreeImage ESA-PL-weak-* LPPL-1.0 LPPL-1.1 LPPL-1.2 LPPL-1.3a Watcom-*",
    ),
    (
        "public_domain",
        "CC0-* CC-PDDC CC-PDM-* Unlicense* ANTLR-PD* *-PD *-PD-fallback NIST-PD-* PDDL-* SAX-PD-* blessing "
        "libselinux-* LZMA-SDK-*",
    ),
    (
        "permissive",
        "BSD-* MIT-* HPND-* HPND ISC-* X11-* CC-BY-[1-4].* CDLA-Permissive-* ODC-By-* OFL-* Python-2.* "
        "Unicode-3.* SSH-OpenSSH libpng-* Bitstream-* Boehm-GC* FSF* Brian-Gladman-* CERN-OHL-P-* "
        "OpenSSL-standalone SSLeay-standalone DL-DE-* etalab-* OGL-UK-* CMU-Mach* Mackerras-* "
        "ESA-PL-permissive-* mpi-permissive Sun-PPP* dtoa Latex2e* HDF5 Minpack NCL EPICS "
        "pkgconf DocBook-* MS-LPL",
    ),
)

# Exceptions that let other code link to the licensed one.
_WEAKENING = frozenset(
    [
        "Classpath-exception-2.0",
        "GCC-exception-2.0",
        "GCC-exception-2.0-note",
        "GCC-exception-3.1",
        "WxWindows-exception-3.1",
        "eCos-exception-2.0",
        "LLGPL",
        "OCaml-LGPL-linking-exception",
        "Qt-GPL-exception-1.0",
        "Universal-FOSS-exception-1.0",
        "Bootloader-exception",
        "GNAT-exception",
        "mif-exception",
        "Linux-syscall-note",
    ]
)


def class_of_id(licence: str, *, permissive: bool) -> LicenceClass:
    """The class of a listed licence; `permissive` says that the Blue Oak Council lists it."""
    for name, pattern in _patterns():
        if pattern.fullmatch(licence):
            return name
    return "permissive" if permissive else "other"


def weakened(kind: LicenceClass, exception: str) -> LicenceClass:
    """The class under an exception: one that allows linking makes strong copyleft weak."""
    return "weak_copyleft" if kind == "strong_copyleft" and exception in _WEAKENING else kind


@cache
def _patterns() -> tuple[tuple[LicenceClass, re.Pattern[str]], ...]:
    return tuple((name, re.compile("|".join(map(translate, globs.split())))) for name, globs in _CLASSES)
