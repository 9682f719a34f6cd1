"""The route of OpenAI's protocol, asked by the package `openai` over a real connection."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from starlette.exceptions import HTTPException

from medinterp import errors
from medinterp.api.backend import JudgingTask
from medinterp.api.chat import _logprobs
from medinterp.api.data_urls import LONG_BYTES, film_of, taken_out
from medinterp.api.schema_packed import PackedMapsModel
from medinterp.api.store import unpack_record
from medinterp.types import Conversation, Report, ReportToken, Turn
from tests.api_backend import png
from tests.api_samples import SPANS, TEXT, sample_explanation
from tests.listening import Listening, listening

QUESTION = "Is there an effusion?"
EVIDENCE = {"methods": ["raw"]}


def url(film: bytes | None = None, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(png() if film is None else film).decode()}"


def image(film: bytes | None = None) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url(film)}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def user(*parts: dict[str, Any]) -> list[Any]:
    return [{"role": "user", "content": list(parts) or [image(), text(QUESTION)]}]


@pytest.fixture(scope="module")
def served_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    with listening(tmp_path_factory.mktemp("chat"), store_bytes=50_000_000) as served:
        yield served


@pytest.fixture
def served(served_once: Listening) -> Listening:
    served_once.reset()
    return served_once


@pytest.fixture
def client(served: Listening) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI, *parts: dict[str, Any], **asked: Any) -> Any:
    return client.chat.completions.create(**{"model": "sample", "messages": user(*parts), **asked})


def test_a_film_and_a_question_are_answered(client: openai.OpenAI, served: Listening) -> None:
    answer = ask(client, temperature=0, seed=1, max_tokens=9, top_p=1, n=1, user="me", metadata={"a": "b"})
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", TEXT, "stop")
    assert choice.logprobs is None and not choice.model_extra
    assert (answer.object, answer.model, answer.system_fingerprint) == ("chat.completion", "sample", "1")
    assert answer.id.startswith("chatcmpl-") and abs(answer.created - time.time()) < 60
    assert answer.usage.model_dump(exclude_none=True) == {
        "prompt_tokens": 300, "completion_tokens": 8, "total_tokens": 308
    }  # fmt: skip
    (task,) = served.backend.tasks
    assert (task.prompt, task.methods, task.max_new_tokens, task.report) == (QUESTION, ("raw",), 9, None)
    assert served.store.usage().reports == 0, "nothing is kept that nobody asked for"


@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        (user(text(QUESTION), image()), QUESTION),
        (user(image(), text("One."), text("Two.")), "One.\nTwo."),
        (user(image()), None),
        (user(image(), text("  ")), None),
    ],
)
def test_words_become_the_prompt(client: openai.OpenAI, served: Listening, messages: Any, prompt: str | None) -> None:
    assert ask(client, messages=messages).choices[0].message.content == TEXT
    assert served.backend.tasks[0].prompt == prompt


@pytest.mark.parametrize(("role", "content"), [("system", "Be brief."), ("developer", [text("Be brief.")])])
def test_an_instruction_is_its_own(client: openai.OpenAI, served: Listening, role: str, content: Any) -> None:
    ask(client, messages=[{"role": role, "content": content}, *user()])
    assert (served.backend.tasks[0].system, served.backend.tasks[0].prompt) == ("Be brief.", QUESTION)


def turns(*told: tuple[str, tuple[str | int, ...]]) -> Conversation:
    return Conversation(tuple(Turn(role, parts) for role, parts in told))


ANSWER = {"role": "assistant", "content": "No.", "refusal": None}


@pytest.mark.parametrize(
    ("messages", "asked"),
    [
        (user(text("Before."), image(), text("Behind.")), turns(("user", ("Before.", 0, "Behind.")))),
        (user(image(), text("A."), text("B."), image()), turns(("user", (0, "A.\nB.", 1)))),
        (
            [*user(), ANSWER, *user(text("Sure?"))],
            turns(("user", (0, QUESTION)), ("assistant", ("No.",)), ("user", ("Sure?",))),
        ),
        (
            [*user(image()), ANSWER, {"role": "user", "content": [image(), text("  "), text("And now?")]}],
            turns(("user", (0,)), ("assistant", ("No.",)), ("user", (1, "And now?"))),
        ),
    ],
    ids=["both sides", "between", "earlier film", "a film each"],
)
def test_turns_and_films_between_words_become_a_conversation(
    client: openai.OpenAI, served: Listening, messages: Any, asked: Conversation
) -> None:
    assert ask(client, messages=messages).choices[0].message.content == TEXT
    assert served.backend.tasks[0].prompt == asked
    with_system = [{"role": "system", "content": "Be brief."}, *messages]
    assert ask(client, messages=with_system).choices[0].message.content == TEXT
    assert (served.backend.tasks[1].prompt, served.backend.tasks[1].system) == (asked, "Be brief.")


def test_words_come_as_they_are_written(client: openai.OpenAI, served: Listening) -> None:
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    *words, last, usage = chunks
    assert words[0].choices[0].delta.role == "assistant"
    assert len(words) == 1 + len(TEXT.split(" "))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in words).strip() == TEXT
    assert {chunk.choices[0].finish_reason for chunk in words} == {None}
    assert (last.choices[0].finish_reason, last.choices[0].delta.content) == ("stop", None)
    assert usage.choices == [] and usage.usage.total_tokens == 308
    assert len({chunk.id for chunk in chunks}) == 1 and not last.choices[0].model_extra
    assert len(list(ask(client, stream=True))) == len(chunks) - 1
    assert served.store.usage().reports == 0


def test_log_probabilities(client: openai.OpenAI) -> None:
    told = ask(client, logprobs=True, top_logprobs=2).choices[0].logprobs.content
    assert [one.token for one in told] == [TEXT[start:end] for start, end in SPANS]
    assert [one.logprob for one in told] == [-0.25 * t for t in range(len(SPANS))]
    assert bytes(told[6].bytes).decode() == "Größe"
    assert [one.token for one in told[0].top_logprobs] == ["PLEURA:", "x"]
    assert [one.logprob for one in told[7].top_logprobs] == [-1.5, -1.75]
    assert ask(client, logprobs=True).choices[0].logprobs.content[0].top_logprobs == []
    chunks = list(ask(client, stream=True, logprobs=True, top_logprobs=2))
    streamed = [one for chunk in chunks if chunk.choices[0].logprobs for one in chunk.choices[0].logprobs.content]
    assert streamed == told


def test_tokens_that_share_a_character_have_no_bytes() -> None:
    tokens = tuple(ReportToken(t, t, *span, -0.5) for t, span in enumerate([(0, 1), (1, 2), (1, 2), (2, 3)]))
    told = _logprobs(Report("a\u00f6b", tokens, (), (), (), True), 1).content
    assert [(one.token, one.bytes) for one in told] == [("a", (97,)), ("ö", None), ("ö", None), ("b", (98,))]


@pytest.mark.parametrize("stream", [False, True])
def test_evidence_comes_with_the_choice(client: openai.OpenAI, served: Listening, stream: bool) -> None:
    answer = ask(client, stream=stream, extra_body={"evidence": {"methods": ["raw"], "maps": "inline"}})
    choice = (list(answer)[-1] if stream else answer).choices[0]
    evidence = choice.evidence
    explanation = unpack_record(served.store.get(evidence["report"]).blob)
    assert choice.finish_reason == "stop"
    assert (evidence["methods"], evidence["rows"], evidence["columns"]) == (["raw"], 4, 4)
    words = explanation.report.words
    assert [TEXT[word["start"] : word["end"]] for word in evidence["words"]] == [word.text for word in words]
    assert [word["image_mass"] for word in evidence["words"]] == [word.image_mass for word in words]
    assert [word["logprob"] for word in evidence["words"]] == [word.logprob for word in words]
    maps = PackedMapsModel.model_validate(evidence["maps"]["raw"])
    assert maps.tokens.dtype == np.float16
    assert maps.tokens.astype(float) * maps.scale == pytest.approx(explanation.packs["raw"].values, abs=1e-3)
    assert evidence["verdicts"] is None and evidence["prior"] is None
    root = f"{served.url}/v1/"
    for link in (evidence["links"]["film"], evidence["links"]["maps"]["raw"], evidence["words"][1]["overlay"]):
        assert httpx.get(root + link).status_code == 200
    assert httpx.get(root + evidence["links"]["report"]).json()["report"]["text"] == TEXT
    judged = httpx.post(root + evidence["links"]["faithfulness"], json={"words": "1"}).json()
    assert judged["verdict"] == "region"
    served.store.delete(evidence["report"])


def test_maps_are_links_unless_they_are_asked_for_inline(client: openai.OpenAI, served: Listening) -> None:
    evidence = ask(client, extra_body={"evidence": {}}).choices[0].evidence
    assert evidence["maps"] is None and list(evidence["links"]["maps"]) == ["raw"]
    served.store.delete(evidence["report"])


def test_verdicts_are_of_findings_that_are_stated(
    client: openai.OpenAI, served: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"evidence": {"verdicts": True}}
    assert ask(client, extra_body=asked).choices[0].evidence["verdicts"] == [], "the sample denies its only finding"
    read = served.backend.read

    async def affirmed(*given: Any) -> Any:
        explanation = await read(*given)
        (finding,) = explanation.report.findings
        report = replace(explanation.report, findings=(replace(finding, status="present"),))
        return replace(explanation, report=report)

    monkeypatch.setattr(served.backend, "read", affirmed)
    evidence = ask(client, extra_body=asked).choices[0].evidence
    ((judged,),) = ([one for one in evidence["verdicts"]],)
    assert (judged["finding"], judged["verdict"]["verdict"]) == (0, "region")
    assert isinstance(served.backend.asked[-1], JudgingTask)
    stored = unpack_record(served.store.get(evidence["report"]).blob)
    assert len(stored.verdicts) == 1, "kept with the report, as one that is asked for later"


def test_a_second_film_is_the_prior_one(client: openai.OpenAI, served: Listening) -> None:
    asked = {"evidence": {"maps": "inline"}}
    evidence = ask(client, image(), image(png(seed=4)), text("Compare."), extra_body=asked).choices[0].evidence
    stored = unpack_record(served.store.get(evidence["report"]).blob)
    assert evidence["prior"]["sha256"] == stored.prior.sha256 != evidence["film"]["sha256"]
    assert list(evidence["prior_maps"]) == ["raw"]


def refused(client: openai.OpenAI, status: int = 400, **asked: Any) -> dict[str, Any]:
    with pytest.raises(openai.APIStatusError) as caught:
        answer = ask(client, **asked)
        if asked.get("stream"):
            list(answer)
    assert caught.value.status_code == status, caught.value
    assert caught.value.response.headers["content-type"] == "application/json"
    assert caught.value.response.headers["cache-control"] == "no-store"
    document = caught.value.response.json()
    assert set(document) == {"error"} and set(document["error"]) == {"message", "type", "param", "code"}
    error: dict[str, Any] = document["error"]
    return error


@pytest.mark.parametrize(
    ("asked", "param", "told"),
    [
        ({"temperature": 0.7}, "temperature", "likeliest token"),
        ({"n": 2}, "n", "one answer"),
        ({"stop": "."}, "stop", "not supported"),
        ({"stop": ["."]}, "stop", "not supported"),
        ({"frequency_penalty": 1}, "frequency_penalty", "penalties"),
        ({"presence_penalty": -1}, "presence_penalty", "penalties"),
        ({"logit_bias": {"5": 1}}, "logit_bias", "biases"),
        ({"response_format": {"type": "json_object"}}, "response_format", "answers are text"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "tools are"),
        ({"tool_choice": "required"}, "tool_choice", "tools are"),
        ({"modalities": ["text", "audio"]}, "modalities", "text"),
        ({"reasoning_effort": "high"}, "reasoning_effort", "not supported"),
        ({"store": True}, "store", "evidence"),
        ({"top_logprobs": 2}, None, "need logprobs"),
        ({"logprobs": True, "top_logprobs": 6}, "top_logprobs", "less than or equal to 5"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, None, "differ"),
        ({"max_tokens": 0}, "max_tokens", "greater"),
        ({"max_tokens": 10_000}, None, "at most"),
        ({"stream_options": {"include_usage": True}}, None, "need stream"),
        ({"extra_body": {"nonsense": 1}}, "nonsense", "not permitted"),
        ({"extra_body": {"evidence": {"method": "raw"}}}, "evidence.method", "not permitted"),
        ({"extra_body": {"evidence": {"methods": ["nonsense"]}}}, None, "there is no method"),
        ({"extra_body": {"film": {"prior_window": "full"}}}, None, "second film"),
    ],
)
def test_what_would_change_the_answer_is_refused_and_not_ignored(
    client: openai.OpenAI, served: Listening, asked: dict[str, Any], param: str | None, told: str
) -> None:
    error = refused(client, **asked)
    assert error["type"] == "invalid_request_error" and error["param"] == param
    assert told in error["message"] and "Value error" not in error["message"]
    assert served.backend.tasks == []


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        (user(text(QUESTION)), "0 films"),
        (user(image(), image(), image()), "3 films"),
        ([*user(image(), image()), ANSWER, *user()], "3 films"),
        ([*user(), ANSWER], "by turns"),
        ([*user(), ANSWER, ANSWER, *user(text("Sure?"))], "by turns"),
        ([*user(), {"role": "tool", "content": "x", "tool_call_id": "1"}, *user(text("Sure?"))], "tools are not"),
        ([*user(), {**ANSWER, "content": " "}, *user(text("Sure?"))], "empty"),
        ([*user(), {**ANSWER, "content": [image()]}, *user(text("Sure?"))], "film stands in"),
        ([*user(), {"role": "system", "content": "Be brief."}], "by turns"),
        ([{"role": "system", "content": [image()]}, *user()], "film stands in"),
        ([{"role": "user", "content": "Again."}, *user()], "by turns"),
        ([{"role": "system", "content": "A."}, {"role": "system", "content": "B."}, *user()], "by turns"),
        ([], "at least 1"),
    ],
)
def test_messages_that_the_prompt_has_no_place_for(
    client: openai.OpenAI, served: Listening, messages: list[Any], told: str
) -> None:
    error = refused(client, messages=messages)
    assert told in error["message"] and error["param"].startswith("messages")
    assert served.backend.tasks == []


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:9/film.png", "https://example.org/film.png", "file:///etc/passwd", "film.png", "",
     "data:image/png,plain", "data:image/png;base64,%%%%" + "A" * LONG_BYTES, "data:image/png;base64,A"],
)  # fmt: skip
def test_nothing_is_fetched_and_only_base64_is_read(client: openai.OpenAI, served: Listening, address: str) -> None:
    error = refused(client, messages=user({"type": "image_url", "image_url": {"url": address}}))
    assert error["param"] == "messages" and ("data:" in error["message"] or "base64" in error["message"])
    assert address[:40] not in error["message"] or len(address) < 10
    assert served.backend.tasks == []


def test_films_that_cannot_be_used(client: openai.OpenAI) -> None:
    error = refused(client, messages=user(image(b"no film")))
    assert (error["code"], error["param"]) == ("unreadable_film", None)
    noise = np.random.default_rng(1).integers(0, 255, (200, 200)).astype(np.uint8)
    from medinterp.client.files import png as written

    error = refused(client, messages=user(image(written(noise))))
    assert error["code"] == "film_withheld" and "No report was written" in error["message"]
    forced = ask(client, image(written(noise)), extra_body={"film": {"force": True}})
    assert forced.choices[0].message.content == TEXT
    error = refused(client, 413, messages=user(image(b"\0" * 100_001)))
    assert error["type"] == "invalid_request_error"
    assert refused(client, 413, messages=user(image(), text("x" * 2**20)))["type"] == "invalid_request_error"


def test_another_model_is_not_there(client: openai.OpenAI) -> None:
    error = refused(client, 404, model="gpt-4o")
    assert (error["code"], error["param"]) == ("model_not_found", "model") and "sample" in error["message"]


def test_models_are_listed_for_both(client: openai.OpenAI, served: Listening) -> None:
    (model,) = client.models.list().data
    assert (model.id, model.object, model.owned_by) == ("sample", "model", "medinterp")
    assert httpx.get(f"{served.url}/v1/models").json()["models"][0]["notice"] == "not for diagnosis"


@pytest.mark.parametrize("stream", [False, True])
def test_failures_have_their_status_and_when_to_come_again(
    client: openai.OpenAI, served: Listening, stream: bool
) -> None:
    served.backend.early = errors.ServiceBusyError("every place is taken")
    error = refused(client, 503, stream=stream)
    assert (error["type"], error["code"]) == ("server_error", "service_busy")
    patient = openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=1)
    with patient, pytest.raises(openai.InternalServerError) as caught:
        begun = time.monotonic()
        ask(patient, stream=stream)
    assert time.monotonic() - begun > 1.5 and int(caught.value.response.headers["retry-after"]) >= 2
    assert len(served.backend.tasks) == 3
    served.backend.early = ValueError("secret")
    assert refused(client, 500, stream=stream)["message"] == "a defect of the service; its log has the details"


def test_a_failure_on_the_way_is_told_in_the_stream(client: openai.OpenAI, served: Listening) -> None:
    served.backend.late = errors.ServiceInterruptedError("gone")
    words = []
    with pytest.raises(openai.APIError, match="gone"):
        for chunk in ask(client, stream=True):
            words.append(chunk.choices[0].delta.content)
    assert "".join(words).strip() == TEXT


def test_a_long_error_is_rewritten_too(client: openai.OpenAI) -> None:
    """It comes compressed out of what rewrites it."""
    error = refused(client, extra_body={f"nonsense_{n}": n for n in range(40)})
    assert "Extra inputs are not permitted" in error["message"]


def test_it_is_awaited_too(served: Listening) -> None:
    async def both() -> None:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
            asked: dict[str, Any] = {"model": "sample", "messages": user(), "extra_body": {"evidence": EVIDENCE}}
            whole = await client.chat.completions.create(**asked)
            last = None
            async for chunk in await client.chat.completions.create(**asked, stream=True):
                last = chunk
            assert last is not None
            for choice in (whole.choices[0], last.choices[0]):
                served.store.delete(choice.model_extra["evidence"]["report"])

    asyncio.run(both())


def test_nothing_that_was_sent_is_logged(
    client: openai.OpenAI, served: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="medinterp"):
        report = ask(client, image(), text("Mrs DOE"), extra_body={"evidence": {}}).choices[0].evidence["report"]
        refused(client, messages=user(image(), text("Mrs DOE"), image(), image()))
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("medinterp")]
    assert lines
    assert not [line for line in lines if "DOE" in line or report in line]


def test_films_are_taken_out_of_json(tmp_path: Path) -> None:
    film = np.random.default_rng(1).bytes(30_000)
    long, short = url(film), url(b"small")
    asked = {"a": [long, short, f'say "{long}'], "b": {long: 1}, "c": "\\", "d": long}
    for body in (json.dumps(asked), json.dumps(asked).replace("/", "\\/"), json.dumps(asked, indent=2)):
        rest, urls = taken_out(body.encode(), 10**6)
        assert len(urls) == 3 and len(rest) < 50_000
        trimmed = json.loads(rest)
        assert trimmed["a"][1:] == asked["a"][1:] and trimmed["c"] == "\\"
        for place in (trimmed["a"][0], next(iter(trimmed["b"])), trimmed["d"]):
            assert film_of(place, urls, 30_000) == film
    assert film_of(short, {}, 5) == b"small"
    with pytest.raises(HTTPException):
        film_of(trimmed["d"], urls, 29_000)
    with pytest.raises(HTTPException):
        taken_out(json.dumps({"a": "x" * 2000}).encode(), 1000)
    assert taken_out(b'{"a": "data:', 100) == (b'{"a": "data:', {})
    for broken in (long + "=", long[:-8] + "!" * 8, long.replace("base64", "base32"), f"data:{'a' * 50_000}"):
        rest, urls = taken_out(json.dumps(broken).encode(), 10**6)
        with pytest.raises(ValueError, match=r"base64|data URL"):
            film_of(json.loads(rest), urls, 10**6)


def test_the_largest_request_keeps_nobody_waiting() -> None:
    """Two films of 16 MiB: found and decoded in a quarter of what two of the largest may take of a slow machine."""
    film = url(bytes(2**24))
    body = bytearray(json.dumps({"a": film, "b": film}).encode())
    begun = time.perf_counter()
    rest, urls = taken_out(body, 2**20)
    found = time.perf_counter()
    assert film_of(json.loads(rest)["a"], urls, 2**24) == bytes(2**24)
    assert found - begun < 0.25 and time.perf_counter() - found < 0.5


def test_the_sample_is_what_these_tests_take_it_for() -> None:
    assert [finding.status for finding in sample_explanation().report.findings] == ["absent"]
