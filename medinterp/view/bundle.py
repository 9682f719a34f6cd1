"""ES modules as one classic script, so that a page is one request, and a file needs no other."""

from __future__ import annotations

import re
from importlib.resources import files

_IMPORT = re.compile(r'^import\s*\{(?P<names>[^}]*)\}\s*from\s*"\./(?P<module>[\w-]+)\.js";[ \t]*\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|class|const) (\w+))", re.MULTILINE)
_OTHER = re.compile(r"^\s*(?:import|export)\b.*$", re.MULTILINE)


def script(entry: str) -> str:
    """The module `entry` ("app") with all that it imports, each in a function of its own, in the order of their needs.

    Understood are `import { a, b as c } from "./module.js";` and `export` before a function, class or const, both at
    the start of a line: what the sources keep to. Raises ValueError for any other import or export, and for modules
    that need each other.
    """
    ordered: dict[str, str] = {}
    _visit(entry, (), ordered)
    return '"use strict";\n(() => {\n' + "\n".join(ordered.values()) + "\n})();\n"


def source(name: str) -> str:
    """The text of a file beside the modules."""
    return files("medinterp.view").joinpath("static", name).read_text(encoding="utf-8")


def _visit(module: str, above: tuple[str, ...], ordered: dict[str, str]) -> None:
    if module in ordered:
        return
    if module in above:
        raise ValueError(f"modules need each other: {' -> '.join((*above, module))}")
    text = source(f"{module}.js")
    for found in _IMPORT.finditer(text):
        _visit(found["module"], (*above, module), ordered)
    exported = _EXPORT.findall(text)
    body = _EXPORT.sub("", _IMPORT.sub(_destructured, text))
    if other := _OTHER.search(body):
        raise ValueError(f"{module}.js: not understood: {other[0].strip()}")
    ordered[module] = f"const {_name(module)} = (() => {{\n{body}\nreturn {{ {', '.join(exported)} }};\n}})();"


def _destructured(found: re.Match[str]) -> str:
    """An import as what takes its names from the other module's function."""
    names = re.sub(r"(\w+) as (\w+)", r"\1: \2", found["names"])
    return f"const {{{names}}} = {_name(found['module'])};\n"


def _name(module: str) -> str:
    return "$" + module.replace("-", "_")
