"""Typed arguments of the application builders, as they stand in serve_config.yaml."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from medinterp.api.settings import ApiFixed, ApiUserConfig
from medinterp.ui.framing import frame_ancestors
from medinterp.web.peers import LOOPBACK, HostPattern, Network


def _ancestor(text: str) -> str:
    frame_ancestors([text])
    return text


Ancestor = Annotated[str, AfterValidator(_ancestor)]
"""Who may frame the page."""


class ModelSettings(BaseModel):
    """Which model reads the films, and how it is loaded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="phantom", min_length=1, description="A bundled name, a directory or a hub id.")
    revision: str | None = Field(default=None, description="Of a hub id: a branch, a tag or a commit.")
    adapter: str | None = Field(default=None, min_length=1, description="A LoRA of it: a directory or a hub id.")
    adapter_revision: str | None = Field(default=None, description="Of the adapter's hub id.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = Field(default="auto", min_length=1)
    allow_download: bool = True
    image_first: bool = Field(default=True, description="Whether the film stands before the prompt.")
    calibration: str | None = Field(
        default="auto", min_length=1, description="A file that `medinterp calibrate` wrote for this model."
    )
    film_domain: str | None = Field(
        default="auto", min_length=1, description="A file that describes the films that this model was made for."
    )
    max_trace_bytes: int = Field(
        default=2**28, gt=0, description="The largest trace; it goes through the object store."
    )
    traces_bytes: int = Field(
        default=2**28, gt=0, description="Of all traces that are on their way through the object store; others wait."
    )
    prompt: str | None = Field(
        default=None, min_length=1, description="Instead of the model's default prompt."
    )

    @model_validator(mode="after")
    def one_trace_fits(self) -> Self:
        """Refuse a budget that the largest trace would exceed by itself."""
        if self.traces_bytes < self.max_trace_bytes:
            raise ValueError("traces_bytes is below max_trace_bytes: the largest trace would never fit")
        return self


class SlotsSettings(BaseModel):
    """The model writes, reports side by side in slots."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["slots"] = "slots"
    max_slots: int = Field(default=8, ge=1, description="Reports that are written side by side, at most.")
    max_length: int = Field(default=2048, ge=1, description="Positions of a slot: prompt, images and report.")
    memory_share: float = Field(
        default=0.5, gt=0, lt=1, description="Of the memory that is free once the model is loaded: what slots may take."
    )
    compile: bool = Field(
        default=False, description="Compile the language model before the first report, which takes minutes."
    )


class EngineSettings(BaseModel):
    """An OpenAI-compatible server writes with the same checkpoint, and what it wrote is explained here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["openai"]
    base_url: str = Field(min_length=1, description="What stands before /chat/completions.")
    model: str = Field(min_length=1, description="The model's name at the server.")
    api_key_env: str | None = Field(
        default=None, min_length=1, description="The environment variable that holds the key; none where none is asked."
    )
    timeout_s: float = Field(default=60, gt=0, description="The longest silence of the server.")


class QuestionSettings(BaseModel):
    """What is asked of the model about a report: occlusion, gradients, verdicts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory_share: float = Field(
        default=0.25, gt=0, lt=1, description="Of the memory that is free when one begins: what it may take."
    )
    piece_s: float = Field(default=0.2, gt=0, description="How long writing stands still for a piece of one.")


class QueueSettings(BaseModel):
    """Who may wait for the model; whoever finds no place is told when to come again, and gets in then.

    One caller may fill three quarters of the places. For a while twice as many are inside: those who came when told.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reports: int = Field(default=32, ge=1, description="Reports that are written or wait for it.")
    questions: int = Field(default=16, ge=1, description="Questions that are answered or wait for it.")
    film_bytes: int = Field(
        default=2**27, gt=0, description="Of the decoded films of these reports, which lie in the object store."
    )


class ShutdownSettings(BaseModel):
    """How `python -m deployments` ends."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    drain_s: float | None = Field(
        default=None, ge=0, description="What is under way has so long; limits.timeout_s and 10 s more where not given."
    )


class RenderingUserConfig(BaseModel):
    """What may change while pictures are drawn: `user_config` of the deployment `rendering`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kept_bytes: int = Field(
        default=2**28, ge=0, description="Of films and maps that a replica keeps unpacked; 0: none are kept."
    )


class GenerationUserConfig(BaseModel):
    """What may change while the model is loaded: `user_config` of the deployment `generation`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    queue: QueueSettings = QueueSettings()
    questions: QuestionSettings = QuestionSettings()
    stalled_s: float = Field(
        default=300, gt=0, description="A single step of the model that takes longer is stuck: the replica is replaced."
    )


class ApiArgs(ApiFixed):
    """Arguments of `deployments.app:build_api`: what holds for as long as a replica lives."""

    model: ModelSettings = ModelSettings()
    writer: Annotated[SlotsSettings | EngineSettings, Field(discriminator="kind")] = SlotsSettings()
    shutdown: ShutdownSettings = ShutdownSettings()


class UiArgs(BaseModel):
    """Arguments of `deployments.app:build_ui`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    api_root: str = Field(
        default="v1",
        pattern=r"^/?[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*$",
        description='On the page\'s own host: "v1" beside the page, also below a proxy\'s prefix; "/v1" at its root.',
    )
    frame_ancestors: tuple[Ancestor, ...] = Field(
        default=("self",), description='Who may show the page in a frame: self, none, or origins ("https://a.host").'
    )
    allowed_hosts: tuple[HostPattern, ...] = Field(default=LOOPBACK, min_length=1, description='"*" for any.')
    trusted_proxies: tuple[Network, ...] = Field(
        default=(), description="Addresses and networks whose X-Forwarded-* are believed."
    )


USER_CONFIGS: Mapping[str, type[BaseModel]] = {
    "generation": GenerationUserConfig,
    "rendering": RenderingUserConfig,
    "api": ApiUserConfig,
}
"""The deployments whose `user_config` may change while they run, and what stands in it."""
