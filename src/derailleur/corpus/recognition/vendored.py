"""Copies of other projects, told by their path: folders that package managers fill, and well-known files."""

import re

_FOLDERS = frozenset(
    {
        *("node_modules", "bower_components", "jspm_packages", "site-packages", "dist-packages"),
        *("third_party", "third-party", "thirdparty", "3rdparty", "3rd-party", "3rd_party"),
        *("Godeps", "Pods", "Carthage", "external_libraries", ".yarn", ".bundle", ".venv", "virtualenv"),
    }
)

_VENDOR = frozenset({"vendor", "vendored", "_vendor"})
_PACKAGE_PATHS = frozenset({"Java", "Kotlin", "Scala", "Groovy", "C#"})
"""In these a package may be named for the vendors that it adapts to: org/x/jpa/vendor/Adapter.java."""

_DIST = frozenset({"dist", "bower"})
_BUNDLED = frozenset({"JavaScript", "CSS"})
"""Only of these does `dist` hold what was bundled; elsewhere it is a module or a script of its own."""

_NAMES = frozenset(
    {
        *("gradlew", "gradlew.bat", "mvnw", "mvnw.cmd", "MavenWrapperDownloader.java"),
        *("config.guess", "config.sub", "depcomp", "install-sh", "ltmain.sh", "mkinstalldirs", "py-compile"),
        *(
            "libtool.m4",
            "ltoptions.m4",
            "ltsugar.m4",
            "ltversion.m4",
            "lt~obsolete.m4",
            "texinfo.tex",
            "ppport.h",
        ),
        *("html5shiv.js", "versioneer.py", "ez_setup.py", "get-pip.py"),
    }
)

_LIBRARY = re.compile(
    r"(?:jquery(?:[.-](?:ui|migrate|slim|\d[\w.]*))*|bootstrap(?:[.-](?:bundle|theme|responsive|\d[\w.]*))*"
    r"|(?:underscore|backbone|modernizr|normalize|font-awesome|html5shiv|respond|prototype)[.-]?v?\d[\w.]*"
    r"|modernizr|normalize|font-awesome)(?:[.-](?:min|custom|slim))*\.(?:js|css)"
)


def vendored_sign(path: str, language: str | None) -> str:
    """The folder or name that shows a copy of another project, or nothing."""
    *folders, name = path.split("/")
    for folder in folders:
        if folder in _FOLDERS:
            return f"folder {folder}"
        if folder in _VENDOR and language not in _PACKAGE_PATHS:
            return f"folder {folder}"
        if folder in _DIST and language in _BUNDLED:
            return f"folder {folder}"
    if name in _NAMES or _LIBRARY.fullmatch(name):
        return f"name {name}"
    return ""
