"""Examples of the main calls, in the OpenAPI document and on /v1/docs; a test runs every one of them.

curl: http://127.0.0.1:8000 is where the service listens, FILM a film's file, ID a report's id and JOB a job's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

V1 = "http://127.0.0.1:8000/v1"
JSON_BODY = "-H 'Content-Type: application/json' -d"
ID = "7f1d5a4e0b6c49d2a1f3e8c05b9d7a62"
JOB = {
    "id": ID,
    "kind": "maps",
    "state": "running",
    "progress": {"what": "occlusion", "done": 64, "of": 257},
    "attempts": 1,
    "created_at": "2026-08-01T12:00:00+00:00",
    "started_at": "2026-08-01T12:00:01+00:00",
    "ended_at": None,
    "expires_at": "2026-08-01T18:00:01+00:00",
    "report": "0b9d7a627f1d5a4e0b6c49d2a1f3e8c0",
    "result": None,
    "problem": None,
    "batch": None,
    "index": None,
}

IN_BATCH = {"kind": "report", "progress": {"what": "report", "done": 24, "of": 512}, "batch": ID, "index": 0}


@dataclass(frozen=True)
class Example:
    """curl: a line of a shell; body: of the request, where it is JSON; answer: what comes back, shortened."""

    curl: str
    body: dict[str, Any] | None = None
    answer: dict[str, Any] | None = None


def _asked(call: str, body: str, answer: dict[str, Any] | None = None) -> Example:
    return Example(f"curl {JSON_BODY} '{body}' {V1}/reports/ID/{call}", json.loads(body), answer)


EXAMPLES: dict[tuple[str, str], Example] = {
    ("post", "/reports"): Example(f"curl -F image=@FILM -F methods=raw -H 'Idempotency-Key: 5e1c' {V1}/reports"),
    ("get", "/reports/{report_id}"): Example(f"curl {V1}/reports/ID"),
    ("delete", "/reports/{report_id}"): Example(f"curl -X DELETE {V1}/reports/ID"),
    ("get", "/reports/{report_id}/maps"): Example(
        f"curl -H 'Accept: application/x-npz' -o maps.npz {V1}/reports/ID/maps"
    ),
    ("post", "/reports/{report_id}/maps"): _asked("maps", '{"method": "occlusion"}'),
    ("post", "/reports/{report_id}/faithfulness"): _asked("faithfulness", '{"words": "3"}'),
    ("post", "/reports/{report_id}/sensitivity"): _asked(
        "sensitivity", '{"questions": ["Is there an effusion?", "Is fluid visible?"]}'
    ),
    ("post", "/reports/{report_id}/text"): _asked("text", '{"words": "3-4"}'),
    ("post", "/reports/{report_id}/heads"): _asked("heads", '{"words": "3"}'),
    ("post", "/reports/{report_id}/region"): _asked("region", '{"box": [0.1, 0.5, 0.45, 0.9]}'),
    ("get", "/reports/{report_id}/words/{word}/overlay.png"): Example(
        f"curl -o word.png '{V1}/reports/ID/words/3/overlay.png?colormap=cividis'"
    ),
    ("get", "/reports/{report_id}/film.png"): Example(f"curl -o film.png '{V1}/reports/ID/film.png?size=1024'"),
    ("get", "/reports/{report_id}/export"): Example(f"curl -OJ '{V1}/reports/ID/export?format=html'"),
    ("get", "/jobs/{job_id}"): Example(f"curl {V1}/jobs/JOB", answer=JOB),
    ("get", "/jobs/{job_id}/events"): Example(f"curl -N {V1}/jobs/JOB/events"),
    ("get", "/jobs/{job_id}/result"): Example(f"curl {V1}/jobs/JOB/result"),
    ("delete", "/jobs/{job_id}"): Example(f"curl -X DELETE {V1}/jobs/JOB"),
    ("post", "/batches"): Example(
        f"curl -F image=@FILM -F image=@FILM -F 'report.1=LUNGS: No nodule.' {V1}/batches",
        answer={
            "id": ID,
            "state": "open",
            "counts": {"queued": 0, "running": 1, "done": 0, "failed": 0, "cancelled": 0},
            "forgotten": 0,
            "created_at": "2026-08-01T12:00:00+00:00",
            "expires_at": "2026-08-01T19:00:00+00:00",
            "jobs": [{**JOB, **IN_BATCH}],
        },
    ),
    ("get", "/methods"): Example(f"curl {V1}/methods"),
    ("get", "/models"): Example(f"curl {V1}/models"),
}
PROBLEM = {
    "type": "urn:medinterp:problem:report-not-found",
    "title": "The report is unknown, has expired or was deleted.",
    "status": 404,
    "detail": "no report has this id; it may have expired or been deleted",
    "flaws": [],
    "request_id": "c0ffee00c0ffee00c0ffee00c0ffee00",
}


def add_examples(operations: dict[str, dict[str, Any]], problem_type: str) -> None:
    """Put them into the paths of an OpenAPI document. Raises KeyError for an example of no call."""
    for (verb, path), example in EXAMPLES.items():
        operation = operations[path][verb]
        operation["x-codeSamples"] = [{"lang": "Shell", "label": "curl", "source": example.curl}]
        if example.body is not None:
            operation["requestBody"]["content"]["application/json"]["example"] = example.body
        if example.answer is not None:
            answers = operation["responses"]
            code = next(code for code in ("200", "201", "202") if code in answers)
            answers[code]["content"]["application/json"]["example"] = example.answer
    for verbs in operations.values():
        for operation in verbs.values():
            problem = operation["responses"]["default"]["content"].get(problem_type)  # OpenAI's errors are none
            if problem is not None:
                problem["example"] = PROBLEM
