"""ES modules as one classic script, so that a page is one request, and a file needs no other."""

from __future__ import annotations

import re
from importlib.resources import files

_IMPORT = re.compile(r'^import\s*\{(?P<names>[^}]*)\}\s*from\s*"\./(?P<module>[\w-]+)\.js";[ \t]*\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|class|const) (\w+))", re.MULTILINE)
_OTHER = re.compile(r"^\s*(?:import|export)\b.*$", re.MULTILINE)
_ENDING = re.compile(r"</script|<script|<!--", re.IGNORECASE)
"""What would end the element that the script stands in, or hide its end."""


def script(entry: str) -> str:
    """The module `entry` ("app") with all that it imports, each in a function of its own, in the order of their needs.

    Understood are `import { a, b as c } from "./module.js";` and `export` before a function, class or const, both at
    the start of a line: what the sources keep to. Raises ValueError for any other import or export, for a module that
    is not there, a name that the other does not export, modules that need each other, and for text that would end
    the script element.
    """
    ordered: dict[str, str] = {}
    _visit(entry, (), ordered, {})
    return '"use strict";\n(() => {\n' + "\n".join(ordered.values()) + "\n})();\n"


def source(name: str) -> str:
    """The text of a file beside the modules."""
    return files("medinterp.view").joinpath("static", name).read_text(encoding="utf-8")


def _visit(module: str, above: tuple[str, ...], ordered: dict[str, str], exports: dict[str, list[str]]) -> None:
    if module in ordered:
        return
    if module in above:
        raise ValueError(f"modules need each other: {' -> '.join((*above, module))}")
    text = _read(module, above)
    if ending := _ENDING.search(text):
        raise ValueError(f"{module}.js: {ending[0]!r} would end the script element; write it in two parts")
    for found in _IMPORT.finditer(text):
        other = found["module"]
        _visit(other, (*above, module), ordered, exports)
        for name in filter(None, (part.split(" as ")[0].strip() for part in found["names"].split(","))):
            if name not in exports[other]:
                raise ValueError(f"{module}.js: {other}.js exports no {name}")
    exports[module] = _EXPORT.findall(text)
    body = _EXPORT.sub("", _IMPORT.sub(_destructured, text))
    if unknown := _OTHER.search(body):
        raise ValueError(f"{module}.js: not understood: {unknown[0].strip()}")
    ordered[module] = f"const {_name(module)} = (() => {{\n{body}\nreturn {{ {', '.join(exports[module])} }};\n}})();"


def _read(module: str, above: tuple[str, ...]) -> str:
    """A module's text, for the one that stands last in `above`."""
    try:
        return source(f"{module}.js")
    except FileNotFoundError:
        raise ValueError(f"{above[-1] if above else 'the entry'}.js: there is no {module}.js") from None


def _destructured(found: re.Match[str]) -> str:
    """An import as what takes its names from the other module's function."""
    names = re.sub(r"(\w+) as (\w+)", r"\1: \2", found["names"])
    return f"const {{{names}}} = {_name(found['module'])};\n"


def _name(module: str) -> str:
    return "$" + module.replace("-", "_")
