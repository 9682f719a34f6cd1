"""A tokenizer, an image processor and a chat template, without what a checkpoint's own processor has for videos and
sound: that needs torchvision, and takes no part in a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import AutoTokenizer
from transformers.processing_utils import ProcessorMixin


@dataclass(frozen=True, eq=False)
class FilmProcessor:
    """What loading.py and prompt.py need of a processor."""

    tokenizer: Any
    image_processor: Any
    chat_template: str | None

    @classmethod
    def load(cls, source: str, image_processor: Any, options: Mapping[str, Any]) -> FilmProcessor:
        """Of a saved checkpoint; its template lies beside the processor or in the tokenizer."""
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        told, _ = ProcessorMixin.get_processor_dict(source, **options)
        return cls(tokenizer, image_processor, told.get("chat_template") or tokenizer.chat_template)

    def apply_chat_template(self, turns: Sequence[Mapping[str, Any]], **options: Any) -> str:
        """The rendered turns."""
        return str(self.tokenizer.apply_chat_template(turns, chat_template=self.chat_template, **options))
