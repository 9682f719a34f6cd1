"""types.d.ts, by which the page's scripts are checked, beside the schema of the HTTP API, whose answers they read."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from medinterp.api import schema, schema_boxes, schema_models, schema_packed, schema_sensitivity, schema_sources
from medinterp.api.problems import Problem

ROOT = Path(__file__).parent.parent
TSC = ROOT / ".ci/node/node_modules/.bin/tsc"
ANSWERS: dict[str, type[BaseModel]] = {
    "BoxVerdict": schema_boxes.BoxVerdictModel,
    "Explanation": schema.ExplanationModel,
    "FindingChange": schema_sensitivity.FindingChangeModel,
    "HeadMaps": schema_sources.HeadsModel,
    "Judgement": schema.FaithfulnessModel,
    "Limits": schema_models.LimitsModel,
    "Method": schema.MethodModel,
    "Models": schema_models.ModelsModel,
    "PackedMaps": schema_packed.PackedMapsModel,
    "Perturbation": schema_sensitivity.PerturbationModel,
    "ProblemDocument": Problem,
    "Progress": schema.ProgressModel,
    "QuestionCompared": schema_sensitivity.ComparisonModel,
    "Report": schema.ReportModel,
    "ReportCompared": schema_sensitivity.ReportComparisonModel,
    "TextSources": schema_sources.TextSourcesModel,
}
"""Names of types.d.ts, and what the API answers."""
ARRAY = "{ dtype: string; shape: number[]; data: string }"
"""An array in JSON, which JSON Schema calls an object with no more said."""


def type_of(told: dict[str, Any]) -> str:
    """A JSON Schema as a TypeScript type."""
    if "$ref" in told:
        return str(told["$ref"]).rpartition("/")[2]
    if "const" in told or "enum" in told:
        return " | ".join(json.dumps(value) for value in told.get("enum", [told.get("const")]))
    if "anyOf" in told:
        return " | ".join(type_of(one) for one in told["anyOf"])
    match told.get("type"):
        case "array" if "prefixItems" in told:
            return f"[{', '.join(type_of(one) for one in told['prefixItems'])}]"
        case "array":
            return f"({type_of(told['items'])})[]"
        case "object" if isinstance(told.get("additionalProperties"), dict):
            return f"Record<string, {type_of(told['additionalProperties'])}>"
        case "object":
            return ARRAY
        case "integer" | "number":
            return "number"
        case "string" | "boolean" | "null" as plain:
            return str(plain)
    raise AssertionError(f"not understood: {told}")


def interfaces(models: dict[str, type[BaseModel]]) -> str:
    """The API's own schema as TypeScript. What has a default always stands in an answer."""
    known: dict[str, dict[str, Any]] = {}
    for model in models.values():
        told = model.model_json_schema(mode="serialization")
        known |= told.pop("$defs", {}) | {model.__name__: told}
    return "\n".join(
        f"interface {name} {{ {'; '.join(f'{key}: {type_of(value)}' for key, value in told['properties'].items())} }}"
        for name, told in known.items()
    )


def checked(tmp_path: Path, text: str) -> str:
    """What the type checker finds in a text beside types.d.ts; nothing where all is well."""
    if not TSC.exists():
        told = "TypeScript is not installed: `make lint` does it"
        if os.environ.get("MEDINTERP_REQUIRE_ALL"):
            pytest.fail(told)
        pytest.skip(told)
    types = (ROOT / "medinterp/view/static/types.d.ts").read_text(encoding="utf-8")
    (tmp_path / "types.d.ts").write_text(types, encoding="utf-8")
    (tmp_path / "answers.ts").write_text(text, encoding="utf-8")
    options = ["--strict", "--noEmit", "--target", "es2024", "--module", "esnext", "--moduleResolution", "bundler"]
    done = subprocess.run(
        [str(TSC), *options, "--types", "", "answers.ts"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    return done.stdout + done.stderr


def reading(models: dict[str, type[BaseModel]]) -> str:
    """Every answer of the API taken for what types.d.ts calls it."""
    lines = [f'import type {{ {", ".join(models)} }} from "./types";', interfaces(models)]
    for name, model in models.items():
        lines.append(f"declare const of{name}: {model.__name__}; export const as{name}: {name} = of{name};")
    return "\n".join(lines)


def test_an_answer_of_the_api_is_what_the_page_takes_it_for(tmp_path: Path) -> None:
    assert checked(tmp_path, reading(ANSWERS)) == ""


def test_an_answer_that_is_another_is_found(tmp_path: Path) -> None:
    found = checked(tmp_path, reading({"Judgement": schema.ReportModel, "Limits": schema_models.LimitsModel}))
    assert "'Judgement'" in found and "Limits" not in found


def test_every_type_is_used() -> None:
    """By a module or by another type."""
    static = ROOT / "medinterp/view/static"
    types = (static / "types.d.ts").read_text(encoding="utf-8")
    texts = types + "".join(path.read_text(encoding="utf-8") for path in static.glob("*.js"))
    for name in re.findall(r"^(?:export )?(?:interface|type) (\w+)", types, re.MULTILINE):
        assert len(re.findall(rf"\b{name}\b", texts)) > 1, f"nobody uses the type {name}"
