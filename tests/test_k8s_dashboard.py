"""The Grafana dashboard of k8s/: every query names a metric, and labels, that are there: ours, or Serve's own."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import promql_parser
import pytest
import ray.serve

from medinterp.api.metrics import DEFINITIONS
from tests.k8s_build import build, of_kind

OURS = {"application", "deployment", "replica"}
"""What ray.serve.metrics adds to every metric of a replica."""

class Selector(NamedTuple):
    """A metric in a query, with the labels that are asked of it, and whether its growth is."""

    metric: str
    labels: frozenset[str]
    grows: bool


class Query:
    """A PromQL expression, parsed; ValueError for what Prometheus would not take."""

    def __init__(self, text: str) -> None:
        self.selectors: list[Selector] = []
        self.grouped: set[str] = set()
        self._walk(promql_parser.parse(text.replace("$__rate_interval", "5m")))

    def _walk(self, node: Any, grows: bool = False) -> None:
        match node:
            case promql_parser.VectorSelector():
                labels = frozenset(one.name for one in node.matchers.matchers)
                self.selectors.append(Selector(node.name, labels, grows))
            case promql_parser.MatrixSelector():
                self._walk(node.vector_selector, grows=True)
            case promql_parser.AggregateExpr():
                self.grouped |= set(node.modifier.labels if node.modifier else ())
                self._walk(node.expr)
            case promql_parser.Call():
                for argument in node.args:
                    self._walk(argument)
            case promql_parser.BinaryExpr():
                self._walk(node.lhs)
                self._walk(node.rhs)
            case promql_parser.NumberLiteral():
                pass
            case _:
                raise TypeError(f"{type(node).__name__} is not walked through")


def serves_own() -> dict[str, tuple[str, set[str]]]:
    """The metrics that the installed Serve defines, with `{protocol_name}` as http: kind, and labels where they stand
    in the definition itself."""
    found: dict[str, tuple[str, set[str]]] = {}
    for path in Path(ray.serve.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr not in ("Counter", "Gauge", "Histogram"):
                continue
            words = {keyword.arg: keyword.value for keyword in node.keywords}
            given = node.args[0] if node.args else words.get("name")
            name = ast.unparse(given).strip("f'\"").replace("{protocol_name}", "http") if given is not None else ""
            if name.startswith("serve_"):
                keys = words.get("tag_keys")
                labels = set(ast.literal_eval(keys)) if isinstance(keys, ast.Tuple) else set()
                found[name] = (node.func.attr.lower(), labels)
    return found


def exposed(name: str, kind: str) -> tuple[str, ...]:
    if kind == "histogram":
        return tuple(f"ray_{name}_{part}" for part in ("bucket", "count", "sum"))
    return (f"ray_{name}_total",) if kind == "counter" else (f"ray_{name}",)


def known() -> dict[str, tuple[str, set[str]]]:
    """Every metric at Ray's port that a query may name: kind and labels."""
    found = {}
    for one in DEFINITIONS.values():
        for name in exposed(one.name, one.kind):
            found[name] = (one.kind, {*one.labels, *OURS, "le"})
    for name, (kind, labels) in serves_own().items():
        for shown in exposed(name, kind):
            found[shown] = (kind, {*labels, *OURS, "le"})
    return found


def dashboard() -> dict[str, Any]:
    (held,) = [one for one in of_kind(build("gpu", "monitoring"), "ConfigMap")
               if one["metadata"].get("labels", {}).get("grafana_dashboard") == "1"]
    ((name, text),) = held["data"].items()
    assert name.endswith(".json")
    found: dict[str, Any] = json.loads(text)
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> list[tuple[str, str]]:
    return [(panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]]


def flaws(text: str) -> list[str]:
    """What a query names that is not there, or asks for in a way that its kind does not answer."""
    query, metrics = Query(text), known()
    found = []
    labels: set[str] = set()
    for selector in query.selectors:
        if selector.metric not in metrics:
            found.append(f"no metric {selector.metric}")
            continue
        kind, own = metrics[selector.metric]
        labels |= own
        found += [f"{selector.metric} has no label {label}" for label in selector.labels - own]
        if selector.grows == (kind == "gauge"):
            found.append(f"{selector.metric} is a {kind}")
        if selector.metric.endswith("_sum"):
            found.append("Ray's sums are of the buckets' middles")
    return found + [f"no label {label}" for label in query.grouped - labels]


def test_serves_own_metrics_are_found_in_its_source() -> None:
    assert {"serve_num_http_requests", "serve_deployment_replica_healthy", "serve_http_request_latency_ms"} <= set(
        serves_own()
    )


def test_every_query_names_what_is_there() -> None:
    assert len(queries()) > 20
    for title, text in queries():
        assert flaws(text) == [], title


def test_every_metric_of_ours_is_on_the_dashboard() -> None:
    named = {selector.metric for _, text in queries() for selector in Query(text).selectors}
    for one in DEFINITIONS.values():
        assert named & set(exposed(one.name, one.kind)), one.name


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sum(ray_medinterp_slot)", "no metric ray_medinterp_slot"),
        ("sum(rate(ray_medinterp_reports{application=\"api\"}[5m]))", "no metric ray_medinterp_reports"),
        ("sum by (outcom) (rate(ray_medinterp_reports_total[5m]))", "no label outcom"),
        ('sum(ray_medinterp_slots{card="0"})', "ray_medinterp_slots has no label card"),
        ("sum(ray_medinterp_words_total)", "ray_medinterp_words_total is a counter"),
        ("rate(ray_medinterp_slots[5m])", "ray_medinterp_slots is a gauge"),
        ("sum(ray_serve_num_http_request_total)", "no metric ray_serve_num_http_request_total"),
        ("sum(rate(ray_medinterp_stage_seconds_sum[5m]))", "Ray's sums are of the buckets' middles"),
    ],
)
def test_a_wrong_one_is_found(text: str, told: str) -> None:
    assert told in flaws(text)


@pytest.mark.parametrize("text", ["sum(ray_medinterp_slots", "rate(ray_medinterp_slots)", "sum(a) b", "a{b}", "sun(a)"])
def test_what_is_no_query_is_found(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Query(text)


def test_panels_have_places_of_their_own_and_legends() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
        assert not taken & cells and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            grouped = Query(target["expr"]).grouped - {"le"}
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) == grouped, panel["title"]
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))
