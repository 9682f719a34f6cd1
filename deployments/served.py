"""One model of a replica: who writes with it, its prompt, and the work that is done with it just now."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from deployments.errands import Tell
from medinterp import stages
from medinterp.api.backend import Progress, ReadingTask
from medinterp.api.schema_models import LoadedModelModel
from medinterp.errors import (
    EngineError,
    GenerationCancelled,
    ReportTextError,
    RequestTooLargeError,
)
from medinterp.imaging import withhold
from medinterp.imaging.prior import about_prior
from medinterp.types import Asked, Film, Generation, Provenance

if TYPE_CHECKING:
    from medinterp.model import Generator
    from medinterp.model.engine import Engine


class ServedModel:
    """Writes and explains reports; lets go of its memory once nobody uses it any more."""

    def __init__(self, alias: str, generator: Generator, told: str, engine: Engine | None = None) -> None:
        """alias: what requests call it; told: who writes, in words."""
        from medinterp.model.prompt import default_prompt

        loaded = generator.loaded
        self.alias, self.engine = alias, engine
        self._generator: Generator | None = generator
        self._changed = threading.Condition()
        self._uses = 0
        self.facts = LoadedModelModel(
            alias=alias,
            id=loaded.model_id,
            loaded=True,
            revision=loaded.revision,
            dtype=str(loaded.dtype).removeprefix("torch."),
            device=str(loaded.device),
            notice=loaded.notice,
            default_prompt=default_prompt(loaded),
            reads_indication=loaded.reads_indication,
            box_question=loaded.box_question,
            writer=told.split("; ")[0],
        )

    @property
    def generator(self) -> Generator:
        """For whoever is using the model. Raises GenerationCancelled once it was let go."""
        if self._generator is None:
            raise GenerationCancelled("the model was let go")
        return self._generator

    @property
    def there(self) -> bool:
        """Whether it can be used; it has not been let go."""
        return self._generator is not None

    def enter(self) -> bool:
        """Use it until `leave`; False where it was let go meanwhile."""
        with self._changed:
            self._uses += self.there
            return self.there

    def leave(self) -> None:
        """Once for each `enter` that was answered with True."""
        with self._changed:
            self._uses -= 1
            self._changed.notify_all()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Around work in a thread, which may go on for a while after its caller went. Raises GenerationCancelled."""
        if not self.enter():
            raise GenerationCancelled("the model was let go")
        try:
            yield
        finally:
            self.leave()

    def let_go(self) -> None:
        """Give back its memory when whoever uses it has ended; waits for that. Once more does nothing."""
        with self._changed:
            self._changed.wait_for(lambda: not self._uses)
            generator, self._generator = self._generator, None
        if generator is None:
            return
        generator.close()
        del generator
        free_memory()

    def wrote(self, provenance: Provenance) -> bool:
        """Whether it is these very weights that a report is of."""
        loaded = self.generator.loaded
        here = loaded.revision, loaded.quantization, self.alias
        return here == (provenance.model_revision, provenance.quantization, provenance.alias or self.alias)

    def write(
        self,
        films: list[Film],
        task: ReadingTask,
        on_word: Callable[[str], None] | None,
        tell: Tell | None,
        gone: threading.Event,
    ) -> Generation:
        """Write the report, or explain the one that is given; then ask the model again where a method needs it.

        films: the current one first. Raises FilmWithheldError before the model is asked, for a film unlike those that
        it was made for.
        """
        with self.in_use():
            return self._write(films, task, on_word, tell, gone)

    def _write(
        self,
        films: list[Film],
        task: ReadingTask,
        on_word: Callable[[str], None] | None,
        tell: Tell | None,
        gone: threading.Event,
    ) -> Generation:
        doubts = [self.generator.loaded.doubts([one]) for one in films]
        if not task.force:
            withhold(replace(films[0], warnings=doubts[0]))
            for prior, warnings in zip(films[1:], doubts[1:], strict=True):
                with about_prior():
                    withhold(replace(prior, warnings=warnings))
        if task.report is not None:
            generation = self._explain(films, task, task.report, on_word, gone)
        elif self.engine is not None:
            generation = self._engines(self.engine, films, task, on_word, gone)
        else:
            generation = self.generator.generate(
                films,
                self._asked_of(task, films),
                max_new_tokens=task.max_new_tokens,
                layer_attention=task.layer_attention,
                on_word=on_word,
                cancelled=gone.is_set,
            )
        generation = replace(
            generation,
            trace=replace(generation.trace, provenance=replace(generation.trace.provenance, alias=self.alias)),
            warnings=doubts[0],
            prior_warnings=doubts[1] if len(doubts) > 1 else (),
        )
        if not task.on_model:
            return generation

        def progress(what: str, done: int, of: int) -> None:
            if tell is not None:
                tell(Progress(what, done, of))

        with stages.stage("measure"):
            measured = self.generator.measure(
                films,
                generation.report,
                generation.trace.provenance.asked,
                task.on_model,
                progress=progress,
                cancelled=gone.is_set,
            )
        return replace(generation, measured=measured)

    def _asked_of(self, task: ReadingTask, films: list[Film]) -> Asked:
        from medinterp.model.prompt import ask

        told = {"system": task.system, "indication": task.indication}
        return ask(self.generator.loaded, task.prompt, **told, films=len(films))

    def _explain(
        self,
        films: list[Film],
        task: ReadingTask,
        report: str,
        on_word: Callable[[str], None] | None,
        gone: threading.Event,
    ) -> Generation:
        """Explain a report that somebody else wrote, in one pass, which nothing can stop once it has begun.

        Raises ReportTextError, and RequestTooLargeError for more tokens than a report may have.
        """
        from medinterp.model.given import given_tokens

        ids = given_tokens(self.generator.loaded.processor.tokenizer, report)
        if len(ids) > task.max_new_tokens:
            raise RequestTooLargeError(
                f"the given report has {len(ids)} tokens; {task.max_new_tokens} are explained at most"
            )
        if gone.is_set():
            raise GenerationCancelled("the caller went away before the report was explained")
        generation = self.generator.force(
            films, ids, self._asked_of(task, films), layer_attention=task.layer_attention, cancelled=gone.is_set
        )
        if on_word is not None:
            on_word(generation.report.text)
        return generation

    def _engines(
        self,
        engine: Engine,
        films: list[Film],
        task: ReadingTask,
        on_word: Callable[[str], None] | None,
        gone: threading.Event,
    ) -> Generation:
        """Let the engine write, and explain what it wrote.

        Raises before the engine is asked what `Generator.check` raises; EngineError for a text that is not of this
        model's tokens, and what `Engine.write` raises.
        """
        from medinterp.model.engine import as_written

        asked = self._asked_of(task, films)
        self.generator.check(
            films, asked, max_new_tokens=task.max_new_tokens, layer_attention=task.layer_attention
        )
        with stages.stage("write"):
            written = engine.write(
                films, asked, max_new_tokens=task.max_new_tokens, on_word=on_word, cancelled=gone.is_set
            )
        try:
            generation = self.generator.force(
                films, written.text, asked, layer_attention=task.layer_attention, cancelled=gone.is_set
            )
        except ReportTextError:
            generation = None
        if generation is None:  # raised out here, for the report's words are in the error's frames
            raise EngineError(
                "the engine wrote what this model's tokens cannot write: does it run the same checkpoint and chat "
                "template?"
            )
        tokenizer = self.generator.loaded.processor.tokenizer
        return as_written(
            generation, written, tokenizer, model=engine.model, max_new_tokens=task.max_new_tokens, seed=None
        )


def free_memory() -> None:
    """Give back what nobody holds any more, on the device too."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
