"""An explanation as a folder of files."""

from __future__ import annotations

import json
import re
from pathlib import Path

from medinterp.export import document, html, npz
from medinterp.export.chips import tokens_of
from medinterp.relevancy import select_map, word_maps
from medinterp.render import RenderOptions, encode_png, overlay, report_range
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
            options = RenderOptions()
            value_range = report_range(word_maps(pack, report.words), pack.signed)
            picture = overlay(explanation.film, select_map(pack, tokens), options, value_range=value_range)
            name = re.sub(r"\W+", "-", finding.name)
            written.append(directory / f"finding-{finding.index}-{name}-{method}.png")
            written[-1].write_bytes(encode_png(picture))
    return written
