"""The bundle and the document that it makes: what the bundler refuses, and what must hold of the page as it is."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
from html import escape
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest

from medinterp.view import bundle, document
from medinterp.view.bundle import script, source
from medinterp.view.document import STYLES, script_json
from tests.programs import program

STATIC = Path(str(files("medinterp.view").joinpath("static")))
OWN = {"http://www.w3.org/2000/svg"}
"""Addresses that name a thing and lead nowhere."""
HOSTILE = '</script><script>alert(1)</script><!-- <script> "\\u2028" \u2028 & \' ]]>'


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules are bundled in place of the page's."""

    def read(name: str) -> str:
        return (tmp_path / name).read_text(encoding="utf-8")

    monkeypatch.setattr(bundle, "source", read)
    return tmp_path


def bundled(modules: Path, **texts: str) -> str:
    for name, text in texts.items():
        (modules / f"{name}.js").write_text(text, encoding="utf-8")
    return script("app")


def run(code: str) -> str:
    """What the script prints, by node."""
    done = _node(code)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _node(code: str) -> subprocess.CompletedProcess[str]:
    node = program("node", "nodejs")
    return subprocess.run([node, "-"], input=code, capture_output=True, text=True, check=False, timeout=60)


class Page(HTMLParser):
    """Ids, addresses in attributes, and the text of each script and style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.references: list[str] = []
        self.inline: list[tuple[str, dict[str, str | None], str]] = []
        self.handlers: list[str] = []
        self._open: tuple[str, dict[str, str | None]] | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if known.get("id"):
            self.ids.append(str(known["id"]))
        self.links += [str(known[name]) for name in ("src", "href", "action", "data", "srcset") if known.get(name)]
        for name in ("for", "aria-controls", "aria-labelledby", "aria-describedby"):
            self.references += (known.get(name) or "").split()
        self.handlers += [name for name in known if name.startswith("on") or name == "style"]
        if tag in ("script", "style"):
            self._open = (tag, known)
            self.inline.append((tag, known, ""))

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            tag, known, text = self.inline[-1]
            self.inline[-1] = (tag, known, text + data)

    def handle_endtag(self, tag: str) -> None:
        if self._open is not None and self._open[0] == tag:
            self._open = None


def page() -> Page:
    return Page(document("/v1").html)


def policy_hashes(policy: str, kind: str) -> list[str]:
    found = re.search(rf"{kind}-src ([^;]*)", policy)
    assert found
    return re.findall(r"'sha256-([^']+)'", found[1])


# The bundler


def test_modules_run_in_the_order_of_their_needs_and_once(modules: Path) -> None:
    code = bundled(
        modules,
        app='import { twice as doubled, Kept } from "./two.js";\nimport { log } from "./one-more.js";\n'
        'log(`${doubled(4)} ${new Kept().name}`);\n',
        two='import { log } from "./one-more.js";\n\nexport function twice(n) { return 2 * n; }\n'
        'export class Kept { name = "k"; }\nlog("two");\nconst hidden = 1;\n',
        **{"one-more": 'export const log = (text) => console.log(text);\nconst hidden = 2;\nlog("once");\n'},
    )
    assert run(code) == "once\ntwo\n8 k\n"


def test_generators_and_asynchronous_functions_are_exported(modules: Path) -> None:
    code = bundled(
        modules,
        app='import {\n  three,\n  four,\n  five,\n} from "./parts.js";\n'
        "four().then((four) => console.log([...three(), four]));\n"
        "(async () => { for await (const one of five()) console.log(one); })();\n",
        parts="export function* three() { yield 3; }\nexport async function four() { return 4; }\n"
        "export async function* five() { yield 5; }\n",
    )
    assert sorted(run(code).split("\n")) == ["", "5", "[ 3, 4 ]"]


@pytest.mark.parametrize(
    "line",
    [
        'import other from "./other.js";',
        'import * as other from "./other.js";',
        'import "./other.js";',
        'import { other } from "./other.js"',
        'import { other } from "../other.js";',
        'import { other } from "elsewhere";',
        "import { other } from './other.js';",
        'import data from "./other.json" with { type: "json" };',
        'export { other } from "./other.js";',
        'export * from "./other.js";',
        "export { other };",
        "export default function other() {}",
        "export default class {}",
        "export let other = 1;",
        "export var other = 1;",
        "export const { other } = {};",
        "  export const other = 1;",
    ],
)
def test_what_the_bundler_does_not_understand_is_refused_by_name(modules: Path, line: str) -> None:
    with pytest.raises(ValueError, match=r"app\.js: not understood: .*(import|export)"):
        bundled(modules, app=f"const here = 1;\n{line}\n", other="export const other = 1;\n")


def test_words_that_only_look_like_imports_are_none(modules: Path) -> None:
    text = (
        '/** @import { Thing } from "./types" */\n// import x from "y"\n/**\n * export default\n */\n'
        'console.log("important", { import: 1 }.import);\n'
    )
    assert run(bundled(modules, app=text)) == "important 1\n"


def test_modules_that_need_each_other_are_refused(modules: Path) -> None:
    with pytest.raises(ValueError, match="modules need each other: app -> one -> two -> one"):
        bundled(
            modules,
            app='import { one } from "./one.js";\n',
            one='import { two } from "./two.js";\nexport const one = 1;\n',
            two='import { one } from "./one.js";\nexport const two = 2;\n',
        )
    with pytest.raises(ValueError, match="app -> app"):
        bundled(modules, app='import { app } from "./app.js";\nexport const app = 1;\n')


def test_what_a_module_does_not_export_is_refused(modules: Path) -> None:
    with pytest.raises(ValueError, match=r"app\.js: two\.js exports no gone"):
        bundled(modules, app='import { here, gone as g } from "./two.js";\n', two="export const here = 1;\n")
    with pytest.raises(ValueError, match=r"app\.js: there is no two\.js"):
        (modules / "two.js").unlink()
        bundled(modules, app='import { here } from "./two.js";\n')


def test_a_script_that_would_end_its_element_is_refused(modules: Path) -> None:
    for inside in ("</script>", "</SCRIPT >", "<!--"):
        with pytest.raises(ValueError, match=r"app\.js: .* would end the script element"):
            bundled(modules, app=f"console.log({inside!r});\n")


# The page


def test_every_script_is_part_of_the_page() -> None:
    """A module that app.js does not reach is dead."""
    there = {path.stem for path in STATIC.glob("*.js")}
    reached: set[str] = set()
    left = ["app"]
    while left:
        name = left.pop()
        if name not in reached:
            reached.add(name)
            code = re.sub(r"/\*\*.*?\*/", "", source(f"{name}.js"), flags=re.DOTALL)
            left += re.findall(r'from "\./([\w-]+)\.js"', code)
    assert reached == there
    code = script("app")
    assert all(f"const ${name} = " in code for name in there)


def test_every_export_is_used() -> None:
    """By another module or by a unit test; one that nobody takes is dead."""
    units = "".join(path.read_text(encoding="utf-8") for path in (Path(__file__).parent / "page").glob("*.js"))
    texts = {path.stem: path.read_text(encoding="utf-8") for path in STATIC.glob("*.js")}
    for module, text in texts.items():
        for name in re.findall(r"^export (?:async )?(?:function\*?|class|const) (\w+)", text, re.MULTILINE):
            others = "".join(other for stem, other in texts.items() if stem != module) + units
            assert re.search(rf"\b{name}\b", others), f"nobody imports {name} of {module}.js"


def test_every_style_sheet_is_part_of_the_page() -> None:
    assert sorted(path.stem for path in STATIC.glob("*.css")) == sorted(STYLES)


def test_the_folder_holds_nothing_else() -> None:
    assert {path.name for path in STATIC.iterdir() if path.suffix not in (".js", ".css")} == {"page.html", "types.d.ts"}


def documented_ids() -> list[tuple[str, ...]]:
    """Those of the list at the head of app.js, each with its readings.

    What begins with a dash goes on where the id before it ends, or its last part but one, or where all begin: of
    "#medinterp-given ...; -text" it is #medinterp-given-text, of "#medinterp-file, -prior" #medinterp-prior.
    """
    listed = re.search(r"// Ids that stay.*?\n((?://.*\n)+)", source("app.js"))
    assert listed
    found: list[tuple[str, ...]] = []
    base = ""
    for token in re.findall(r"#medinterp(?:-[a-z0-9-]+)?|(?<=[ ,])-[a-z0-9]+(?:-[a-z0-9]+)*", listed[1]):
        if token.startswith("#"):
            base = token[1:]
            found.append((base,))
        else:
            found.append((base + token, base.rpartition("-")[0] + token, "medinterp" + token))
    return found


def is_made(name: str, code: str) -> bool:
    """Whether a module makes an element of that id: as a whole, or from a name that it is given."""
    short = name.removeprefix("medinterp-")
    stem, _, last = short.rpartition("-")
    return (
        f'"{name}"' in code
        or f'new Question("{short}"' in code
        or (f'"{stem}"' in code and f"-{last}`" in code)  # `medinterp-${name}-stop` of a question by that name
        or (last.isdigit() and f"medinterp-{stem}-${{" in code)
    )


def test_the_ids_that_stay_are_there() -> None:
    there = set(page().ids)
    code = script("app")
    listed = documented_ids()
    assert len(listed) > 80
    for readings in listed:
        assert any(name in there or is_made(name, code) for name in readings), (
            f"app.js lists #{readings[-1]}, which neither page.html nor a module makes"
        )
    assert not is_made("medinterp-nothing", code) and not is_made("medinterp-judging-nothing", code)


def test_ids_are_there_once_and_what_points_at_one_finds_it() -> None:
    whole = page()
    assert len(whole.ids) == len(set(whole.ids))
    code = script("app")
    for name in whole.references:
        assert name in whole.ids or f'"{name}"' in code, f"nothing has the id {name}"


def test_what_the_modules_ask_for_by_name_is_there() -> None:
    there = set(page().ids)
    code = script("app")
    asked = set(re.findall(r'\bbyId\("([\w-]+)"\)', code))
    assert len(asked) > 100
    for name in asked:
        assert f"medinterp-{name}" in there or f'"medinterp-{name}"' in code, f"no element has the id medinterp-{name}"


def test_types_know_what_kind_of_element_each_id_is() -> None:
    """A field that types.d.ts calls an input is one in page.html, and every input is listed."""
    types = source("types.d.ts")
    kinds = {
        "input": _listed(types, "type Inputs = "),
        "button": _listed(types, "type Buttons = "),
        "select": _listed(types, "type Selects = "),
    }
    html = source("page.html")
    for tag, named in kinds.items():
        there = set(re.findall(rf'<{tag}\b[^>]*\bid="medinterp-([\w-]+)"', html))
        assert named <= there, f"no {tag} has the id {sorted(named - there)}"
        if tag != "button":  # a button is asked for its disabled alone, many are not asked for at all
            assert there <= named, f"types.d.ts does not list the {tag} {sorted(there - named)}"


def _listed(types: str, head: str) -> set[str]:
    return set(re.findall(r'"([\w-]+)"', types[types.index(head) :].split(";")[0]))


def test_the_policy_allows_this_script_and_this_style_alone() -> None:
    made = document("/v1")
    whole = Page(made.html)
    for tag, kind in (("script", "script"), ("style", "style")):
        texts = [text for name, known, text in whole.inline if name == tag and known.get("type") != "application/json"]
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        assert len(digests) == 1
        assert policy_hashes(made.policy, kind) == digests
    assert "unsafe" not in made.policy and "http" not in made.policy and "*" not in made.policy
    assert made.policy.startswith("default-src 'none'")
    assert whole.handlers == []


def test_a_file_by_itself_carries_its_policy_and_asks_nobody() -> None:
    made = document(data={"report": HOSTILE}, title=HOSTILE)
    assert "connect-src" not in made.policy and "'self'" not in made.policy
    assert f'http-equiv="Content-Security-Policy" content="{escape(made.policy)}"' in made.html
    assert "connect-src 'self'" in document("/v1").policy


def test_data_ends_no_script_whatever_it_says() -> None:
    whole = Page(document(data={"report": HOSTILE, HOSTILE: [None, 1.5, True]}, title=HOSTILE).html)
    (data,) = [text for _, known, text in whole.inline if known.get("id") == "medinterp-data"]
    assert json.loads(data) == {"report": HOSTILE, HOSTILE: [None, 1.5, True]}
    assert "<" not in data
    assert len([tag for tag, _, _ in whole.inline if tag == "script"]) == 3
    assert "<" not in script_json(HOSTILE)
    with pytest.raises(ValueError, match="JSON"):
        script_json(float("nan"))


def test_a_text_stands_there_for_whoever_runs_no_script() -> None:
    made = document(data={}, plain=f"{HOSTILE}</noscript>")
    assert f"<pre>{escape(HOSTILE)}&lt;/noscript&gt;</pre></div></noscript>" in made.html
    assert made.html.count("</noscript") == 1
    assert "<pre>" not in document("/v1").html


def test_nothing_names_another_host() -> None:
    html = document("/v1").html
    assert set(re.findall(r"(?:https?:|wss?:)?//[\w.-]+\.[a-z]{2,}[^\s\"'`)<]*", html)) <= OWN
    assert not re.search(r"@import\s*(?:url|[\"'])|url\((?!#|data:)", "".join(source(f"{name}.css") for name in STYLES))
    for link in page().links:
        assert link.startswith(("#", "data:")), f"the page loads {link}"


def test_the_settings_are_the_renderings() -> None:
    (settings,) = [text for _, known, text in page().inline if known.get("id") == "medinterp-settings-data"]
    told = json.loads(settings)
    assert told["apiRoot"] == "/v1"
    assert {len(base64.b64decode(table)) for table in told["colormaps"].values()} == {768}
    assert set(told["defaults"].values()) <= set(told["colormaps"])


def test_it_stands_over_an_api_or_over_data() -> None:
    for given in ({}, {"api_root": "/v1", "data": {}}):
        with pytest.raises(ValueError, match="one of the two"):
            document(**given)  # type: ignore[arg-type]


def test_node_takes_the_whole_script() -> None:
    """Without a document it gets as far as asking for one."""
    done = _node(script("app"))
    assert done.returncode != 0 and "document is not defined" in done.stderr
