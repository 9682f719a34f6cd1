"""The schema of `POST /v1/chat/completions`: OpenAI's, of which what the model here cannot do is refused by name.

https://platform.openai.com/docs/api-reference/chat. Beyond it: `evidence` and `film` in the request, and in a choice.
"""

from __future__ import annotations

from itertools import count
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from medinterp.api.schema import (
    FaithfulnessModel,
    FilmModel,
    FindingModel,
    Model,
    ProvenanceModel,
    SectionModel,
    Time,
    WordModel,
)
from medinterp.api.schema_packed import PackedMapsModel
from medinterp.types import Conversation, Turn

MAX_TOP_LOGPROBS = 5
"""The likeliest tokens that are kept of each place."""
NOTHING = "has no effect here"


class Asked(BaseModel):
    """Base: unknown fields refused, no message quoted in an error's text."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class TextPart(Asked):
    """Words of a message."""

    type: Literal["text"]
    text: str


class ImageUrl(Asked):
    """A film."""

    url: str = Field(description="data:image/png;base64,... or of JPEG, TIFF or DICOM. No address is ever fetched.")
    detail: Literal["auto", "low", "high", "original"] | None = Field(
        default=None, description=f"{NOTHING}: the model sees films at one resolution."
    )


class ImagePart(Asked):
    """A film in a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


def only(told: str, *neutral: Any) -> AfterValidator:
    """Takes None and values that change nothing, and says of others why they are refused."""

    def check(value: Any) -> Any:
        if value is not None and not any(value == one and type(value) is type(one) for one in neutral):
            raise ValueError(told)
        return value

    return AfterValidator(check)


def _unsupported(what: str) -> AfterValidator:
    return only(f"{what} are not supported; leave it out")


class Message(Asked):
    """One turn: an instruction (`system`, `developer`), a question with films between its words, or an earlier answer.
    """

    role: Literal["system", "developer", "user", "assistant"]
    content: str | tuple[Part, ...]
    refusal: Annotated[str | None, _unsupported("refusals")] = None
    tool_calls: Annotated[list[Any] | None, only("tools are not supported; leave it out", [])] = None

    @field_validator("role", mode="before")
    @classmethod
    def no_tools(cls, role: object) -> object:
        """Say why, in place of a list of roles."""
        if role in ("tool", "function"):
            raise ValueError(f"a turn of the role {role} cannot be passed on: tools are not supported")
        return role

    @property
    def parts(self) -> tuple[str | ImagePart, ...]:
        """Words and films in their order: words that follow each other as one, without empty ones."""
        told = (TextPart(type="text", text=self.content),) if isinstance(self.content, str) else self.content
        parts: list[str | ImagePart] = []
        for part in told:
            if isinstance(part, ImagePart):
                parts.append(part)
            elif part.text.strip():
                before = parts[-1] if parts else None
                if isinstance(before, str):
                    parts[-1] = f"{before}\n{part.text}"
                else:
                    parts.append(part.text)
        return tuple(parts)


class StreamOptions(Asked):
    """What is sent beside the words."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = Field(default=None, description=f"{NOTHING}: no chunk is padded.")


class EvidenceAsking(Asked):
    """What explains the answer. With it the report is kept, as one of `POST /v1/reports`; without it nothing is."""

    methods: tuple[str, ...] | None = Field(default=None, min_length=1, description="As of `POST /v1/reports`.")
    maps: Literal["links", "inline"] = Field(
        default="links", description="inline: every token's maps come along, as of `/v1/reports/{id}/maps/packed`."
    )
    verdicts: bool = Field(
        default=False, description="Judge the first method's map of each finding that is affirmed or hedged (seconds)."
    )


class FilmAsking(Asked):
    """How the films are to be read, as of `POST /v1/reports`."""

    window: str | None = Field(default=None, max_length=64)
    prior_window: str | None = Field(default=None, max_length=64)
    force: bool = False


GREEDY = "the likeliest token is always written: temperature is 0, or left out"


class ChatAskedModel(Asked):
    """A question about a film, and how it is to be answered."""

    model: str = Field(description="One that `GET /v1/models` tells, by its alias or its id.")
    messages: tuple[Message, ...] = Field(
        min_length=1,
        description="At most one turn of the role system or developer (the service's instruction without one), then "
        "turns of user and assistant by turns, the last one the user's. In those of the user stand one film, or two: "
        "the first is kept as the film, the second as the prior one. Words and films follow one another as sent; in a "
        "single question whose words all stand on one side of the films, in the model's own order. A single question "
        "without words is the service's own prompt.",
    )
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: bool | None = Field(default=None, description="Streamed, they come whole in a chunk after the words.")
    top_logprobs: int | None = Field(default=None, ge=0, le=MAX_TOP_LOGPROBS)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    evidence: EvidenceAsking | None = None
    film: FilmAsking | None = None

    temperature: Annotated[float | None, only(GREEDY, 0.0)] = None
    top_p: float | None = Field(default=None, gt=0, le=1, description=f"{NOTHING}: the likeliest token is always in.")
    seed: int | None = Field(default=None, description=f"{NOTHING}: nothing is drawn.")
    n: Annotated[int | None, only("one answer a request: all would be the same", 1)] = None
    stop: Annotated[str | tuple[str, ...] | None, only("stop sequences are not supported; leave it out", ())] = None
    frequency_penalty: Annotated[float | None, only("penalties are not supported: 0, or leave it out", 0.0)] = None
    presence_penalty: Annotated[float | None, only("penalties are not supported: 0, or leave it out", 0.0)] = None
    logit_bias: Annotated[dict[str, float] | None, only("biases are not supported; leave it out", {})] = None
    response_format: Annotated[
        dict[str, Any] | None, only("answers are text: {type: text}, or leave it out", {"type": "text"})
    ] = None
    tools: Annotated[list[Any] | None, only("tools are not supported; leave it out", [])] = None
    tool_choice: Annotated[Any, only("tools are not supported; leave it out", "none", "auto")] = None
    functions: Annotated[list[Any] | None, only("tools are not supported; leave it out", [])] = None
    function_call: Annotated[Any, only("tools are not supported; leave it out", "none", "auto")] = None
    parallel_tool_calls: bool | None = Field(default=None, description=f"{NOTHING}: there are no tools.")
    modalities: Annotated[list[str] | None, only("answers are text; leave it out", ["text"])] = None
    audio: Annotated[Any, _unsupported("spoken answers")] = None
    prediction: Annotated[Any, _unsupported("predicted outputs")] = None
    web_search_options: Annotated[Any, _unsupported("searches")] = None
    moderation: Annotated[Any, _unsupported("moderation options")] = None
    reasoning_effort: Annotated[Any, _unsupported("levels of effort")] = None
    verbosity: Annotated[Any, _unsupported("levels of verbosity")] = None
    store: Annotated[bool | None, only("`evidence` keeps the report; nothing else is stored", False)] = None
    service_tier: Annotated[str | None, only("there is one tier; leave it out", "auto", "default")] = None
    metadata: dict[str, str] | None = Field(default=None, description=f"{NOTHING}: nothing of it is kept.")
    user: str | None = Field(default=None, description=f"{NOTHING}: nothing of it is kept.")
    safety_identifier: str | None = Field(default=None, description=f"{NOTHING}: nothing of it is kept.")
    prompt_cache_key: str | None = Field(default=None, description=f"{NOTHING}.")
    prompt_cache_options: Any = Field(default=None, description=f"{NOTHING}.")
    prompt_cache_retention: str | None = Field(default=None, description=f"{NOTHING}.")

    @field_validator("messages")
    @classmethod
    def one_conversation(cls, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """Refuse what the prompt has no place for."""
        turns = messages[1:] if messages[0].role in ("system", "developer") else messages
        if len(turns) % 2 == 0 or any(turn.role != ("user", "assistant")[k % 2] for k, turn in enumerate(turns)):
            raise ValueError(
                "messages are at most one of the role system, then user and assistant by turns, the last one the user's"
            )
        if any(isinstance(part, ImagePart) for one in messages if one.role != "user" for part in one.parts):
            raise ValueError("a film stands in a message of the role user")
        films = sum(isinstance(part, ImagePart) for turn in turns for part in turn.parts)
        if not 1 <= films <= 2:
            raise ValueError(f"{films} films: a conversation is about one, or two: the current one, and a prior one")
        if len(turns) > 1 and not all(turn.parts for turn in turns):
            raise ValueError("a message is empty")
        return messages

    @model_validator(mode="after")
    def agrees_with_itself(self) -> ChatAskedModel:
        """Refuse options that contradict each other."""
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs need logprobs: true")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options need stream: true")
        limits = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(limits) > 1:
            raise ValueError("max_tokens and max_completion_tokens are the same limit, and differ")
        return self

    @property
    def system(self) -> str | None:
        """The instruction; None without one."""
        first = self.messages[0]
        return "".join(map(str, first.parts)) or None if first.role in ("system", "developer") else None

    @property
    def prompt(self) -> str | Conversation | None:
        """The words of a single question that stand on one side of its films, None for none; else all turns."""
        films = count()
        turns = [
            Turn(one.role, tuple(part if isinstance(part, str) else next(films) for part in one.parts))
            for one in self.messages
            if one.role == "user" or one.role == "assistant"
        ]
        parts = turns[0].parts
        words = [part for part in parts if isinstance(part, str)]
        if len(turns) > 1 or len(words) > 1 or (words and isinstance(parts[0], int) and isinstance(parts[-1], int)):
            return Conversation(tuple(turns))
        return words[0] if words else None

    @property
    def urls(self) -> tuple[str, ...]:
        """Of the film, and of the prior one."""
        parts = (part for one in self.messages for part in one.parts)
        return tuple(part.image_url.url for part in parts if isinstance(part, ImagePart))


class TopLogprobModel(Model):
    """A token that could have stood here."""

    token: str
    bytes: tuple[int, ...] | None = Field(description="UTF-8; null where the token is a part of a character.")
    logprob: float


class TokenLogprobModel(TopLogprobModel):
    """A token of the answer."""

    top_logprobs: tuple[TopLogprobModel, ...]


class LogprobsModel(Model):
    """Of each token, nats."""

    content: tuple[TokenLogprobModel, ...]
    refusal: None = None


class EvidenceWordModel(WordModel):
    """A word of the answer; overlay: the film with its map, relative to `/v1/`."""

    overlay: str


class EvidenceLinksModel(Model):
    """Where more is, relative to `/v1/`."""

    report: str
    film: str
    maps: dict[str, str] = Field(description="By method.")
    faithfulness: str = Field(description="POST: is the map of these words true?")
    export: str


class FindingVerdictModel(Model):
    """A finding of the answer, and whether the map of it is true."""

    finding: int
    verdict: FaithfulnessModel


class EvidenceModel(Model):
    """What explains the answer."""

    report: str = Field(description="The report's id: whoever has it can read the report.")
    expires_at: Time
    links: EvidenceLinksModel
    film: FilmModel
    prior: FilmModel | None = None
    methods: tuple[str, ...]
    rows: int
    columns: int
    words: tuple[EvidenceWordModel, ...] = Field(description="start, end: code points of the answer.")
    sections: tuple[SectionModel, ...]
    findings: tuple[FindingModel, ...]
    provenance: ProvenanceModel
    maps: dict[str, PackedMapsModel] | None = Field(default=None, description="By method, where asked for inline.")
    prior_maps: dict[str, PackedMapsModel] | None = None
    verdicts: tuple[FindingVerdictModel, ...] | None = Field(default=None, description="Where asked for.")


class AnswerModel(Model):
    """The answer's text."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


FinishReason = Literal["stop", "length"]


class ChoiceModel(Model):
    """The answer."""

    index: int = 0
    message: AnswerModel
    logprobs: LogprobsModel | None = None
    finish_reason: FinishReason
    evidence: EvidenceModel | None = Field(default=None, description="Left out where it was not asked for.")


class UsageModel(Model):
    """Tokens that were read and written; those of the films are among the prompt's."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletionModel(Model):
    """An answer, whole."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: str | None = Field(description="The model's revision.")
    choices: tuple[ChoiceModel, ...]
    usage: UsageModel | None = None


class DeltaModel(Model):
    """What a chunk adds."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoiceModel(Model):
    """Of a chunk."""

    index: int = 0
    delta: DeltaModel = DeltaModel()
    logprobs: LogprobsModel | None = None
    finish_reason: FinishReason | None = None
    evidence: EvidenceModel | None = None


class ChatChunkModel(Model):
    """One event of a streamed answer."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    system_fingerprint: str | None
    choices: tuple[ChunkChoiceModel, ...]
    usage: UsageModel | None = None


class ChatErrorModel(Model):
    """What went wrong, in OpenAI's words."""

    message: str
    type: str
    param: str | None = None
    code: str | None = Field(default=None, description="Of a problem of `/v1/reports`: its name, e.g. film_withheld.")


class ChatProblemModel(Model):
    """Every error of this route."""

    error: ChatErrorModel
