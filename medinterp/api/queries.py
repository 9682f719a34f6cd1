"""The query parameters of pictures and exports; a misspelt one is refused."""

from __future__ import annotations

from dataclasses import fields
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from medinterp.api.backend import ExportTask, FilmDepth, FilmView, PictureTask
from medinterp.api.selection import parse_selection
from medinterp.export.formats import ExportFormat, check_parameters
from medinterp.export.regions import parse_threshold
from medinterp.render import COLORMAPS, DEFAULT_COLORMAP, SIGNED_COLORMAP, colormap
from medinterp.types import Quantity

QUANTITY = "What is taken of the method: its maps, or of a consensus how far the members disagree on each cell."

IMAGE = "0 the film, 1 the prior film."


class WordPictureQuery(BaseModel):
    """How the map of one word is drawn."""

    model_config = ConfigDict(extra="forbid")

    method: str | None = Field(default=None, description="A method of the report; its first by default.")
    opacity: float = Field(default=0.5, ge=0, le=1)
    colormap: str | None = Field(
        default=None,
        description=f"{', '.join(COLORMAPS)}; by default {DEFAULT_COLORMAP}, of signed maps {SIGNED_COLORMAP}.",
    )
    contours: bool = False
    scale: Literal["report", "map"] = Field(
        default="report", description="One range for the whole report, or each map to its own."
    )
    size: int | None = Field(
        default=None, ge=16, le=8192, description="The longer side; the film's by default."
    )
    without_sinks: bool = Field(default=False, description="Leave flagged sink cells out.")
    quantity: Quantity = Field(default="relevancy", description=QUANTITY)
    image: int = Field(default=0, ge=0, le=1, description=IMAGE)
    cutoff: float = Field(default=0.0, ge=0, lt=1, description="What stands lower on the scale is not drawn.")

    @field_validator("colormap")
    @classmethod
    def known_colormap(cls, name: str | None) -> str | None:
        """Refuse a name that no colour table has; the ValueError names those that there are."""
        if name is not None:
            colormap(name)
        return name

    def task(self) -> PictureTask:
        """The same as the backend's dataclass."""
        return PictureTask(**self.model_dump(include={field.name for field in fields(PictureTask)}))


class PictureQuery(WordPictureQuery):
    """What is selected, and how its map is drawn."""

    words: str | None = Field(default=None, description="FIRST-LAST, both included, e.g. 3-7.")
    finding: int | None = Field(default=None, ge=0, description="The index of a finding.")


class FilmQuery(BaseModel):
    """Which film is wanted, and how large."""

    model_config = ConfigDict(extra="forbid")

    size: int | None = Field(
        default=None, ge=16, le=8192, description="The longer side; the film's by default."
    )
    view: FilmView = Field(
        default="film", description="The film as it was read, or as the model gets it: its resolution and its grays."
    )
    image: int = Field(default=0, ge=0, le=1, description=IMAGE)
    depth: FilmDepth = Field(
        default=8, description="Bits of a pixel; 16 for all the grays of a film that has them."
    )

    @field_validator("depth", mode="before")
    @classmethod
    def number(cls, depth: object) -> object:
        """A literal takes no text, and a query is text."""
        return int(depth) if isinstance(depth, str) and depth.isdecimal() else depth

    @model_validator(mode="after")
    def model_has_its_own(self) -> Self:
        """Refuse a size or a depth for what has its own."""
        if self.view == "model" and (self.size is not None or self.depth != 8):
            raise ValueError("the model's view has a size of its own, and 8 bits")
        return self


class MapsQuery(BaseModel):
    """Which maps are wanted."""

    model_config = ConfigDict(extra="forbid")

    method: str | None = Field(default=None, description="A method of the report; its first by default.")
    without_sinks: bool = Field(default=False, description="Leave flagged sink cells out of the words' maps.")
    quantity: Quantity = Field(default="relevancy", description=QUANTITY)
    image: int = Field(default=0, ge=0, le=1, description=IMAGE)


class PackedMapsQuery(BaseModel):
    """Which maps are wanted, whole."""

    model_config = ConfigDict(extra="forbid")

    method: str | None = Field(default=None, description="A method of the report; its first by default.")
    image: int = Field(default=0, ge=0, le=1, description=IMAGE)


class ExportQuery(PictureQuery):
    """Which file is wanted; each format takes the parameters that mean something for it, and refuses the others."""

    format: ExportFormat
    image: int = Field(default=0, ge=0, le=1, description="1: the prior film, where one was read.")
    threshold: str = Field(
        default="otsu",
        max_length=16,
        description="Of dicom-seg, dicom-sr and zip: `otsu`, or a share of the report's scale such as 0.5.",
    )

    def export_task(self) -> ExportTask:
        """The same as the backend's dataclass. Raises ExportError for what the format does not take or lacks."""
        check_parameters(self.format, self.model_fields_set - {"format"})
        parse_threshold(self.threshold)
        named = self.words is not None or self.finding is not None
        selection = parse_selection(self.words, self.finding) if named else None
        return ExportTask(self.format, selection, self.task(), self.image, self.threshold)
