"""Schemas of what operators read, made strict: a key that nobody knows is an error, as it is none to Kubernetes.

    python -m tests.k8s_schemas CRD.yaml VERSION

turns a CustomResourceDefinition into tests/snapshots/crds/KIND-VERSION.json. Those that are kept come from
ray-project/kuberay v1.7.0, ray-operator/config/crd/bases/ray.io_rayservices.yaml, and
prometheus-operator/prometheus-operator v0.93.0,
example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml (both Apache-2.0).
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "snapshots" / "crds"
DROPPED = ("description", "format", "default")
KEPT = ("type", "required", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")


def main() -> None:
    """Write the schema of the definition's served version."""
    place, version = sys.argv[1:]
    definition = yaml.safe_load(Path(place).read_text(encoding="utf-8"))["spec"]
    (served,) = [one for one in definition["versions"] if one["storage"]]
    schema = strict(served["schema"]["openAPIV3Schema"])
    schema["properties"].pop("status", None)
    FOLDER.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_shared(schema), indent=1, sort_keys=True) + "\n"
    (FOLDER / f"{definition['names']['kind']}-{version}.json").write_text(text, encoding="utf-8")


def strict(node: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema of an openAPIV3Schema, with unknown keys refused. Raises ValueError for what it has no word for."""
    made: dict[str, Any] = {}
    for key, value in node.items():
        if key in KEPT:
            made[key] = value
        elif key == "properties":
            made[key] = {name: strict(one) for name, one in value.items()}
        elif key == "items":
            made[key] = strict(value)
        elif key in ("anyOf", "allOf", "oneOf"):
            made[key] = [strict(one) for one in value]
        elif key == "additionalProperties":
            made[key] = strict(value) if isinstance(value, dict) else value
        elif key not in DROPPED and key != "nullable" and not key.startswith("x-kubernetes-"):
            raise ValueError(f"{key} is not known here")
    if node.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
        made.pop("anyOf", None)
    if node.get("nullable"):
        made["type"] = [node["type"], "null"]
    if "properties" in made and not node.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def _shared(schema: dict[str, Any]) -> dict[str, Any]:
    """The same with what occurs more than once (a pod's template, three times whole) written once."""
    counted: Counter[str] = Counter()

    def count(node: Any) -> None:
        if isinstance(node, dict):
            if "properties" in node:
                text = json.dumps(node, sort_keys=True)
                counted[text] += 1
                if counted[text] > 1:
                    return
            for value in node.values():
                count(value)
        elif isinstance(node, list):
            for value in node:
                count(value)

    definitions: dict[str, Any] = {}

    def replaced(node: Any) -> Any:
        if isinstance(node, list):
            return [replaced(value) for value in node]
        if not isinstance(node, dict):
            return node
        inner = {key: replaced(value) for key, value in node.items()}
        text = json.dumps(node, sort_keys=True)
        if "properties" not in node or counted[text] < 2:
            return inner
        name = hashlib.sha256(text.encode()).hexdigest()[:12]
        definitions[name] = inner
        return {"$ref": f"#/$defs/{name}"}

    count(schema)
    made: dict[str, Any] = replaced(schema)
    return made | {"$defs": definitions}


def kept(kind: str) -> dict[str, Any]:
    """The schema of a kind that an operator brings."""
    (place,) = FOLDER.glob(f"{kind}-*.json")
    schema: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return schema


if __name__ == "__main__":
    main()
