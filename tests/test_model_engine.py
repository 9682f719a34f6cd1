"""An engine writes: a real OpenAI-compatible server, its tokens beside ours, and every way in which it can fail."""

from __future__ import annotations

import base64
import logging
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from models import real_tokenizer, small_tokenizer

from medinterp.api.problems import status_of
from medinterp.errors import (
    DeadlineExceededError,
    EngineError,
    GenerationCancelled,
    MedInterpError,
    ServiceBusyError,
    ServiceInterruptedError,
)
from medinterp.imaging import rgb8
from medinterp.model import Generator, load_model
from medinterp.model.engine import Engine, EngineReport, as_written, same_tokens
from medinterp.model.given import given_tokens
from medinterp.phantom.films import draw_film, sample_film
from medinterp.phantom.reports import REPORT_PROMPT
from medinterp.types import Conversation, Film, Generation, Turn
from tests.openai_server import (
    KEY,
    MODEL,
    OpenAIServer,
    as_bytes,
    as_letters,
    as_replaced,
    as_whole,
    openai_server,
    token_bytes,
)

WRONG = "sk-wrong"
NAMED = "Mrs. Miller, born in 1950: describe her film."
TEXT = "LUNGS: Épanchement 胸部, 2 µm \N{GRINNING FACE}.\nHEART: Normal.\n"


def phantom_film(seed: int) -> Film:
    """16 bits, of which the model sees 8."""
    return Film(draw_film(sample_film(seed), 300, 340).uint16(), "image/png", f"{seed:064d}")


FILM = phantom_film(7)


@pytest.fixture(scope="module")
def generator() -> Generator:
    return Generator(load_model("phantom"))


@pytest.fixture(scope="module")
def own(generator: Generator) -> Generation:
    """What phantom itself writes."""
    return generator.generate([FILM], REPORT_PROMPT, max_new_tokens=200)


@pytest.fixture(scope="module")
def running(generator: Generator) -> Iterator[OpenAIServer]:
    with openai_server(generator) as server:
        yield server


@pytest.fixture
def server(running: OpenAIServer) -> OpenAIServer:
    running.reset()
    return running


@pytest.fixture
def engine(server: OpenAIServer) -> Engine:
    return Engine(server.base_url, MODEL)


def write(engine: Engine, prompt: str = REPORT_PROMPT, **options: Any) -> EngineReport:
    return engine.write([FILM], prompt, **{"max_new_tokens": 200, **options})


def test_it_writes_what_the_model_itself_writes(engine: Engine, own: Generation, generator: Generator) -> None:
    said: list[str] = []
    written = write(engine, on_word=said.append)
    assert (written.text, written.complete) == (own.report.text, True)
    assert "".join(said) == written.text and len(said) > 20
    tokenizer = generator.loaded.processor.tokenizer
    ids = given_tokens(tokenizer, written.text)
    assert written.pieces == (*(token_bytes(tokenizer, token_id) for token_id in ids), b"<end_of_turn>")
    assert same_tokens(tokenizer, written.text, ids, written.pieces) is None


def test_what_it_wrote_is_explained_and_told_as_its_own(engine: Engine, own: Generation, generator: Generator) -> None:
    written = write(engine)
    tokenizer = generator.loaded.processor.tokenizer
    forced = generator.force([FILM], written.text, REPORT_PROMPT)
    told = as_written(forced, written, tokenizer, model=MODEL, max_new_tokens=200, seed=None)
    ours, theirs = own.trace.provenance, told.trace.provenance
    assert theirs == replace(ours, writer=MODEL, tokens_compared=True)
    count = len(told.report.tokens)
    np.testing.assert_allclose(told.trace.token_logprob, own.trace.token_logprob[:count], atol=1e-4)
    other = as_written(
        forced, replace(written, complete=False, pieces=None), tokenizer, model="m", max_new_tokens=9, seed=3
    )
    provenance = other.trace.provenance
    assert (other.report.complete, provenance.given, provenance.tokens_compared) == (False, False, False)
    assert (provenance.writer, provenance.retokenised_at) == ("m", None)
    assert (provenance.max_new_tokens, provenance.seed) == (9, 3)


@pytest.mark.parametrize("image_first", [True, False])
def test_one_user_turn_with_the_very_picture(server: OpenAIServer, image_first: bool) -> None:
    """No system message, the films in order, and nothing asked for but what every server knows."""
    films = [FILM, phantom_film(8)]
    server.manners.text = "Normal."
    Engine(server.base_url, MODEL, image_first=image_first).write(films, REPORT_PROMPT, max_new_tokens=9, seed=4)
    (asked,) = server.requests
    (message,) = asked.pop("messages")
    options = {"max_tokens": 9, "temperature": 0.0, "seed": 4, "stream": True, "logprobs": True}
    assert asked == {"model": MODEL, **options}
    assert message["role"] == "user"
    order = ["image_url", "image_url", "text"] if image_first else ["text", "image_url", "image_url"]
    assert [part["type"] for part in message["content"]] == order
    pictures = [part["image_url"]["url"] for part in message["content"] if part["type"] == "image_url"]
    for film, url in zip(films, pictures, strict=True):
        np.testing.assert_array_equal(_pixels(url), rgb8(film))


def test_a_conversation_is_sent_turn_by_turn(server: OpenAIServer) -> None:
    turns = (Turn("user", ("Before:", 0, "Large?")), Turn("assistant", ("No.",)), Turn("user", ("Sure?",)))
    server.manners.text = "Yes."
    Engine(server.base_url, MODEL).write([FILM], Conversation(turns, "Be brief."), max_new_tokens=9)
    told = [(m["role"], [part.get("text") for part in m["content"]]) for m in server.requests[0]["messages"]]
    assert told == [
        ("system", ["Be brief."]), ("user", ["Before:", None, "Large?"]), ("assistant", ["No."]), ("user", ["Sure?"])
    ]  # fmt: skip
    np.testing.assert_array_equal(
        _pixels(server.requests[0]["messages"][1]["content"][1]["image_url"]["url"]), rgb8(FILM)
    )


def _pixels(url: str) -> np.ndarray:
    import cv2

    data = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)[..., ::-1]


def test_nothing_of_this_machine_or_its_environment_is_sent(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_KEY", "ORG_ID", "PROJECT_ID", "ADMIN_KEY"):
        monkeypatch.setenv(f"OPENAI_{name}", "secret-of-another-service")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://192.0.2.1/v1")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://192.0.2.1:9")
    server.manners.text = "Normal."
    write(Engine(server.base_url, MODEL))
    write(Engine(server.base_url, MODEL, api_key=KEY))
    without, with_key = server.headers
    assert "secret-of-another-service" not in str(server.headers)
    assert not [name for name in without if name.startswith(("x-stainless", "openai-", "authorization"))]
    assert with_key["authorization"] == f"Bearer {KEY}"


def test_each_piece_is_told_before_the_next_is_written(server: OpenAIServer, engine: Engine) -> None:
    server.manners.gated = True
    said: list[str] = []

    def take(piece: str) -> None:
        said.append(piece)
        server.allow()  # until now the server could not send more

    server.allow()
    assert write(engine, on_word=take).text == "".join(said)
    assert len(said) > 20


def test_a_report_that_the_limit_cuts_off(engine: Engine) -> None:
    written = write(engine, max_new_tokens=3)
    assert not written.complete
    assert written.pieces is not None and len(written.pieces) == 3


def test_who_leaves_between_two_words_closes_the_connection(server: OpenAIServer, engine: Engine) -> None:
    server.manners.gated = True
    server.allow(2)
    said: list[str] = []
    with pytest.raises(GenerationCancelled):
        write(engine, on_word=said.append, cancelled=lambda: len(said) == 2)
    assert server.left.wait(60)


def test_who_leaves_while_nothing_comes_closes_the_connection(server: OpenAIServer, engine: Engine) -> None:
    server.manners.gated = True
    with pytest.raises(GenerationCancelled):
        write(engine, cancelled=server.begun.is_set)
    assert server.left.wait(60)


def test_who_has_left_before_costs_the_engine_nothing(server: OpenAIServer, engine: Engine) -> None:
    with pytest.raises(GenerationCancelled):
        write(engine, cancelled=lambda: True)
    assert not server.requests


def test_many_threads_write_side_by_side(server: OpenAIServer, engine: Engine, own: Generation) -> None:
    """One waits for its engine while another is written whole."""
    server.manners.gated = True
    waiting = threading.Thread(target=lambda: results.append(write(engine)))
    results: list[EngineReport] = []
    waiting.start()
    assert server.begun.wait(60)
    server.manners = replace(server.manners, gated=False)
    assert write(engine).text == own.report.text
    server.allow(1000)
    waiting.join()
    assert [result.text for result in results] == [own.report.text]


SERVERS: dict[str, dict[str, Any]] = {
    "its bytes": {},
    "no bytes": {"bytes_null": True, "pieces": as_whole},
    "without the last token": {"ended": False},
    "U+FFFD": {"pieces": as_replaced},
    "whole characters": {"pieces": as_whole},
}


@pytest.mark.parametrize("manners", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize("text", [TEXT, " Normal.\r\n", "<unused94>thought\nNo mass.<unused95>Normal."])
def test_however_tokens_are_told_equal_ones_are_equal(
    server: OpenAIServer, engine: Engine, generator: Generator, manners: dict[str, Any], text: str
) -> None:
    server.manners = replace(server.manners, text=text, **manners)
    written = write(engine)
    assert written.text == text
    assert written.pieces is not None
    tokenizer = generator.loaded.processor.tokenizer
    assert same_tokens(tokenizer, text, given_tokens(tokenizer, text), written.pieces) is None


def test_another_tokenisation_of_the_same_text_has_a_place(
    server: OpenAIServer, engine: Engine, generator: Generator
) -> None:
    server.manners.text, server.manners.pieces = "No nodule.", as_letters
    written = write(engine)
    assert (written.text, written.pieces) == (
        "No nodule.",
        (*(c.encode() for c in "No nodule."), b"<end_of_turn>"),
    )
    tokenizer = generator.loaded.processor.tokenizer
    ids = given_tokens(tokenizer, written.text)
    first = tokenizer.decode(ids[0])
    assert len(first) > 1
    assert same_tokens(tokenizer, written.text, ids, written.pieces) == 0


@pytest.mark.parametrize("manners", [{"logprobs": False}, {"refuses_logprobs": True}])
def test_an_engine_that_does_not_tell_its_tokens(
    server: OpenAIServer, engine: Engine, own: Generation, manners: dict[str, Any]
) -> None:
    server.manners = replace(server.manners, **manners)
    assert write(engine) == EngineReport(own.report.text, True, None)


def test_tokens_that_do_not_add_up_to_the_text_are_not_taken_for_its(server: OpenAIServer, engine: Engine) -> None:
    server.manners.pieces = lambda pieces: [b"token_id:%d" % k for k in range(len(pieces))]
    assert write(engine).pieces is None


TOKENIZERS = {"byte-level": small_tokenizer, "Gemma 3": real_tokenizer}


@pytest.mark.parametrize("make", TOKENIZERS.values(), ids=TOKENIZERS)
def test_where_tokens_are_cut_otherwise(make: Callable[[], Any]) -> None:
    tokenizer = make()
    # 𓂀 and 🫠 are in no vocabulary: Gemma 3 writes them byte by byte.
    text = "Épanchement 𓂀 2 µm,\r\n 胸部X線 \N{MELTING FACE}\N{MELTING FACE} nodule."
    ids = given_tokens(tokenizer, text)
    exact = [token_bytes(tokenizer, token_id) for token_id in ids]
    assert b"".join(exact) == text.encode()
    for told in (as_bytes, as_replaced, as_whole):
        pieces = told(exact)
        assert same_tokens(tokenizer, text, ids, pieces) is None
        assert same_tokens(tokenizer, text, ids, [*pieces, b"<end_of_turn>"]) is None
        assert same_tokens(tokenizer, text, ids, [*pieces, b" more"]) == len(text)
        last = len(text) - len(exact[-1].decode())
        assert same_tokens(tokenizer, text, ids, pieces[:-1]) == last
        for index in range(len(exact) - 1):  # two tokens in one
            joined = told([*exact[:index], exact[index] + exact[index + 1], *exact[index + 2 :]])
            place = same_tokens(tokenizer, text, ids, joined)
            assert place is not None
            assert place >= len(b"".join(exact[:index]).decode(errors="ignore"))
    whole = next(k for k, piece in enumerate(exact) if k and piece.isascii() and len(piece) > 1)
    cut = [*exact[:whole], exact[whole][:1], exact[whole][1:], *exact[whole + 1 :]]
    place = len(b"".join(exact[:whole]).decode())
    assert same_tokens(tokenizer, text, ids, cut) == place


FAULTS: dict[str, tuple[dict[str, Any], type[MedInterpError], int, str]] = {
    "key": ({"key": KEY}, EngineError, 502, "HTTP 401.*api_key_env"),
    "forbidden": ({"status": 403}, EngineError, 502, "HTTP 403.*api_key_env"),
    "unknown model": ({"models": ["other", "third"]}, EngineError, 502, f"'{MODEL}'.*one of: other, third"),
    "many models": ({"models": [f"m{k}" for k in range(23)]}, EngineError, 502, "m19 and 3 more"),
    "no such API": ({"models": None}, EngineError, 502, "ends in /v1"),
    "no images": ({"status": 400}, EngineError, 502, "HTTP 400.*takes no images"),
    "unprocessable": ({"status": 422}, EngineError, 502, "HTTP 422"),
    "too large": ({"status": 413}, EngineError, 502, "as large as this film"),
    "moved": ({"status": 307}, EngineError, 502, "set writer.base_url"),
    "busy": ({"status": 429}, ServiceBusyError, 503, "busy"),
    "overloaded": ({"status": 503}, ServiceBusyError, 503, "busy"),
    "failed": ({"status": 500}, ServiceInterruptedError, 503, "its own log"),
    "cut": ({"cut": 3, "text": TEXT}, ServiceInterruptedError, 503, "went away"),
    "no end": ({"finish": None, "text": "Normal."}, ServiceInterruptedError, 503, "broke the report off"),
    "withheld": ({"finish": "content_filter", "text": "Normal."}, ServiceInterruptedError, 503, "broke the report off"),
    "error in the stream": (
        {"text": TEXT, "broken": '{"error": {"message": "Mrs. Miller", "code": 400}}'}, EngineError, 502, "HTTP 400",
    ),
    "failure in the stream": (
        {"text": TEXT, "broken": '{"error": {"message": "Mrs. Miller", "code": "oom"}}'},
        ServiceInterruptedError, 503, "failed",
    ),
    "no JSON": ({"text": TEXT, "broken": "Mrs. Miller"}, EngineError, 502, "something else"),
    "another thing": ({"text": TEXT, "broken": '{"choices": [1950]}'}, EngineError, 502, "something else"),
    "empty": ({"text": " \n"}, EngineError, 502, "empty report"),
    "thought apart": ({"reasoning": True}, EngineError, 502, "reasoning parser"),
}  # fmt: skip


@pytest.mark.parametrize(("manners", "kind", "status", "words"), FAULTS.values(), ids=FAULTS)
def test_every_fault_is_clear_and_tells_nothing_of_the_film(
    server: OpenAIServer,
    engine: Engine,
    caplog: pytest.LogCaptureFixture,
    manners: dict[str, Any],
    kind: type[MedInterpError],
    status: int,
    words: str,
) -> None:
    """Neither the error, nor what it came from, nor any logger at its most talkative."""
    server.manners = replace(server.manners, **manners)
    with caplog.at_level(logging.DEBUG), pytest.raises(kind, match=words) as caught:
        write(replace(engine, api_key=WRONG), NAMED)
    assert type(caught.value) is kind
    assert status_of(kind) == status
    told = caplog.text + "".join(traceback.format_exception(caught.value, chain=True))
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    for secret in ("Miller", "1950", "sk-", "iVBOR"):
        assert secret not in told


def test_a_report_that_comes_leaves_nothing_in_the_log(
    server: OpenAIServer, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    server.manners.key = KEY
    with caplog.at_level(logging.DEBUG):
        written = write(replace(engine, api_key=KEY), NAMED)
    for secret in ("Miller", "1950", KEY, "iVBOR", *written.text.splitlines()):
        assert secret not in caplog.text
    assert KEY not in repr(replace(engine, api_key=KEY))


def test_an_engine_that_is_not_there() -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        engine = Engine(f"http://127.0.0.1:{taken.getsockname()[1]}/v1", MODEL)
        with pytest.raises(ServiceInterruptedError, match="cannot be reached"):
            write(engine)


def test_an_engine_that_says_nothing(server: OpenAIServer, engine: Engine) -> None:
    server.manners.gated = True
    with pytest.raises(DeadlineExceededError, match=r"writer\.timeout_s"):
        write(replace(engine, timeout_s=0.5))
    assert server.left.wait(60)


@pytest.mark.parametrize(
    "address", ["vllm:8000/v1", "ftp://vllm/v1", "http:///v1", "http://me:secret@vllm/v1", "http://vllm/v1?key=secret"]
)
def test_an_address_that_would_not_do_is_refused_at_once(address: str) -> None:
    with pytest.raises(ValueError, match="base_url") as caught:
        Engine(address, MODEL)
    assert "secret" not in str(caught.value)


def test_what_the_caller_does_wrong_passes_as_it_is(engine: Engine) -> None:
    def fail(_: str) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        write(engine, on_word=fail)
