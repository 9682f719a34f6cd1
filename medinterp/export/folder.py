"""An explanation as a folder of files."""

from __future__ import annotations

import json
import re
from pathlib import Path

from medinterp.export import document, html, npz
from medinterp.export.facts import export_facts
from medinterp.export.naming import finding_title, tokens_of
from medinterp.export.png_text import with_text
from medinterp.export.view import map_view
from medinterp.render import encode_png
from medinterp.types import Explanation


def write_folder(explanation: Explanation, directory: Path) -> list[Path]:
    """Write report.json, maps.npz, report.html and an overlay for each method and finding that is not denied.

    Overlays are called finding-K-NAME-METHOD.png. Returns the paths that were written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = [directory / "report.json", directory / "maps.npz", directory / "report.html"]
    written[0].write_text(json.dumps(document(explanation), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    written[1].write_bytes(npz(explanation))
    written[2].write_text(html(explanation), encoding="utf-8")
    report = explanation.report
    for finding in report.findings:
        tokens = tokens_of(report, finding)
        if finding.status == "absent" or not tokens:
            continue
        for method, pack in explanation.packs.items():
            view = map_view(explanation, tokens, method)
            facts = export_facts(explanation, [pack], scale=view.scale_title, selection=finding_title(finding))
            name = re.sub(r"\W+", "-", finding.name)
            written.append(directory / f"finding-{finding.index}-{name}-{method}.png")
            written[-1].write_bytes(with_text(encode_png(view.picture()), facts.lines()))
    return written
