"""The facade: a film goes in, an explanation comes out. Usable without a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medinterp.errors import MethodError
from medinterp.explanation import Explanation
from medinterp.imaging import open_film
from medinterp.imaging.prior import about_prior
from medinterp.types import (
    Asked,
    BoxVerdict,
    Faithfulness,
    Film,
    Finding,
    HeadMaps,
    Reliance,
    TextSources,
    Word,
)

FilmSource = Any
"""What `medinterp.imaging.open_film` takes."""

if TYPE_CHECKING:
    from medinterp.evaluation.repeating import Repeated
    from medinterp.evaluation.sensitivity import Comparison, ReportComparison
    from medinterp.model import LoadedModel
    from medinterp.types import Explanation as ExplanationData
    from medinterp.types import Provenance

DEFAULT_METHODS = ("layer_weighted", "raw")
"""The methods that are computed when none are named."""


class Explainer:
    """A model that reads films and says where its words came from.

    >>> explainer = Explainer.from_pretrained("phantom")
    >>> explanation = explainer.explain("film.png")
    >>> explanation.map(explanation.word_at(57)).values.shape
    (16, 16)
    """

    def __init__(self, loaded: LoadedModel, *, max_slots: int = 1) -> None:
        """max_slots: reports that are written side by side where many threads ask at once."""
        from medinterp.model import Generator

        self.loaded = loaded
        self._generator = Generator(loaded, max_slots=max_slots)

    @classmethod
    def from_pretrained(
        cls, name: str = "phantom", *, check: bool = True, max_slots: int = 1, **options: Any
    ) -> Explainer:
        """Load "phantom", a directory or a hub id, and test that what is captured is what is computed.

        max_slots: reports that are written side by side where many threads ask at once; options are those of
        `medinterp.model.load_model` (revision, dtype, device, image_first, ...).
        Raises ModelNotFoundError, ModelError, and SelfTestError unless `check` is False.
        """
        from medinterp.model import load_model, self_test

        loaded = load_model(name, **options)
        if check:
            self_test(loaded)
        return cls(loaded, max_slots=max_slots)

    @classmethod
    def of(cls, provenance: Provenance, *, model: str | None = None, **options: Any) -> Explainer:
        """The model that made an explanation, loaded as it was then.

        model: where it is now, as provenance names it unless given; options as of `from_pretrained`. Raises as that,
        and ModelError where another revision is found.
        """
        from medinterp.evaluation.repeating import check_model

        asked: dict[str, Any] = {name: getattr(provenance, name) for name in ("dtype", "image_first", "quantization")}
        base, _, change = provenance.model_revision.partition("+")
        if provenance.adapter is not None:
            asked |= {"adapter": provenance.adapter, "adapter_revision": change}
        elif change:
            base = change  # an adapter that names its own model: its revision, for that one's follows
        asked["revision"] = base
        for name in ("revision", "adapter_revision"):
            if asked.get(name, "").startswith("fingerprint:"):  # that of a directory is found, not asked for
                del asked[name]
        asked |= options
        explainer = cls.from_pretrained(model or provenance.model_id, **asked)
        check_model(explainer.loaded, provenance)
        return explainer

    def again(self, explanation: ExplanationData) -> Repeated:
        """Make an explanation again from its provenance, and say how far it is from what was kept.

        Raises ModelError for another model, revision, dtype, calibration, or place of the film than it was made with.
        """
        from medinterp.evaluation.repeating import repeat

        return repeat(self._generator, explanation)

    def explain(
        self,
        film: FilmSource,
        *,
        prior: FilmSource | None = None,
        window: str | None = None,
        force: bool = False,
        prompt: Asked | None = None,
        system: str | None = None,
        indication: str | None = None,
        report: str | None = None,
        methods: Sequence[str] = DEFAULT_METHODS,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        max_new_tokens: int = 512,
        seed: int | None = None,
        temperature: float = 0.0,
        on_word: Callable[[str], None] | None = None,
        progress: Callable[[str, int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Explanation:
        """Read one film and compute the maps of every word.

        film: a path, a file's bytes, a Film, a PIL image, a pydicom data set or a numpy array of uint8 or uint16,
        [height, width] or [height, width, 3 or 4]; window: of a DICOM, as in `medinterp.imaging.read_film`. What is
        doubtful about the film is in `explanation.film.warnings`; where that makes a report meaningless none is
        written (FilmWithheldError), unless by `force`.
        report: a text that somebody else wrote, to be explained as it stands, in one pass: every word has its
        log-probability and its maps, and those that the model would hardly have written are marked (`Word.unlikely`).
        Nothing is then written, and max_new_tokens, seed and temperature say nothing.
        prompt: what the model is asked in one turn, or a whole Conversation (its films are `film` and `prior` by
        number); system: the instruction before it, as in `medinterp.model.prompt.ask`; indication: why the film was
        taken, which follows the prompt in a line of its own, "Indication: ...".
        prior: an earlier film of the same patient; the model sees it after the current one, and every word has a
        map on each (`explanation.map(word, image=1)`). options: by method, such as {"occlusion": {"block": 4}},
        {"occlusion": {"coarse_to_fine": True}} or {"raw": {"layer": 3}}. progress: gets method, done and total of the
        methods that ask the model again, such as occlusion.
        Raises FilmError for a film that cannot be used or is withheld, SelectionError for a window that it has not,
        PromptError, ReportTextError, RequestTooLargeError, UnknownMethodError, and MethodError for options of a method
        that is not among `methods`, before the model is asked; MethodError for options that a method has not,
        MissingEvidenceError, GenerationCancelled.
        """
        from medinterp.model.prompt import ask
        from medinterp.relevancy import compute_maps, get_method

        options = options or {}
        on_model = [method for method in methods if get_method(method).on_model]
        unasked = sorted(set(options) - set(methods))
        if unasked:
            raise MethodError(f"options were given for {', '.join(unasked)}, which this report is not asked for")
        opened = self.loaded.admit(open_film(film, window=window), force=force)
        with about_prior():
            earlier = None if prior is None else self.loaded.admit(open_film(prior), force=force)
        films = [opened] if earlier is None else [opened, earlier]
        asked = ask(self.loaded, prompt, system=system, indication=indication, films=len(films))
        if report is not None:
            generation = self._generator.force(films, report, asked)
        else:
            generation = self._generator.generate(
                films,
                asked,
                max_new_tokens=max_new_tokens,
                seed=seed,
                temperature=temperature,
                on_word=on_word,
                cancelled=cancelled,
            )
        trace = generation.trace
        measured = (
            self._generator.measure(
                films,
                generation.report,
                trace.provenance.asked,
                on_model,
                options,
                progress=progress,
                cancelled=cancelled,
            )
            if on_model
            else {}
        )
        computed = {name: given for name, given in options.items() if name not in measured}
        packs = compute_maps(trace, methods, computed, measured=measured)
        on_prior = {} if earlier is None else compute_maps(trace, methods, computed, image=1, measured=measured)
        return Explanation(opened, generation.report, packs, trace.provenance, trace, earlier, on_prior)

    def faithfulness(
        self,
        explanation: Explanation,
        selection: Word | Finding | Sequence[Word],
        method: str | None = None,
        *,
        image: int = 0,
        swaps: Sequence[Film] | None = None,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Faithfulness:
        """Do these words depend on the picture, and is the map of them true?

        swaps: films that take this one's place; four synthetic ones unless given. Raises SelectionError,
        GenerationCancelled.
        """
        from medinterp.evaluation.faithfulness import judge_map

        chosen = explanation.map(selection, method, image=image)
        return judge_map(
            self.loaded,
            explanation.films,
            explanation.report,
            explanation.provenance.asked,
            chosen.token_indices,
            chosen.method,
            chosen.values,
            image=image,
            swaps=swaps,
            memory_bytes=self._generator.memory_bytes(),
            progress=progress,
            cancelled=cancelled,
        )

    def reliance(
        self,
        explanation: Explanation,
        *,
        swaps: Sequence[Film] | None = None,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Reliance:
        """What every word loses with another film in this one's place, as `faithfulness` has it for some of them.

        A pass a film; swaps as there. `explanation.keeping(reliance)` has it in its exports. Raises SelectionError for
        a report without words, GenerationCancelled.
        """
        from medinterp.evaluation.reliance import word_reliance

        asked = (self.loaded, explanation.films, explanation.report, explanation.provenance.asked)
        return word_reliance(*asked, swaps=swaps, progress=progress, cancelled=cancelled)

    def judge_boxes(
        self,
        explanation: Explanation,
        *,
        swaps: Sequence[Film] | None = None,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> tuple[BoxVerdict, ...]:
        """Says here, looked there: does each box of the answer lie where the model looked?

        Exact occlusion is taken from the explanation where it has it; swaps as in `faithfulness`.
        `explanation.keeping(verdicts)` has them in its exports. Raises SelectionError for a report without boxes,
        GenerationCancelled.
        """
        from medinterp.evaluation.boxes import judge_boxes

        return judge_boxes(
            self.loaded,
            explanation.films,
            explanation.report,
            explanation.provenance.asked,
            packs=explanation.packs,
            swaps=swaps,
            memory_bytes=self._generator.memory_bytes(),
            progress=progress,
            cancelled=cancelled,
        )

    def text_sources(
        self,
        explanation: Explanation,
        selection: Word | Finding | Sequence[Word],
        *,
        cancelled: Callable[[], bool] | None = None,
    ) -> TextSources:
        """Which words of the prompt and of the report so far drove these words, and how much of it was the film's.

        `explanation.keeping(sources)` has them in its exports. Raises SelectionError, MethodError for a prompt that
        the model's tokenizer does not give back, GenerationCancelled.
        """
        from medinterp.model.sources import text_sources

        report, prompt = explanation.report, explanation.provenance.asked
        tokens = explanation.tokens_of(selection)
        return text_sources(self.loaded, explanation.films, report, prompt, tokens, cancelled=cancelled)

    def heads(
        self,
        explanation: Explanation,
        selection: Word | Finding | Sequence[Word],
        *,
        image: int = 0,
        cancelled: Callable[[], bool] | None = None,
    ) -> HeadMaps:
        """Where each head of each layer looked on a film while these words were written; image: 1 for the prior film.

        Raises SelectionError, GenerationCancelled.
        """
        from medinterp.model.heads import head_maps

        report, prompt = explanation.report, explanation.provenance.asked
        tokens = explanation.tokens_of(selection)
        return head_maps(
            self.loaded, explanation.films, report, prompt, tokens, image=image, cancelled=cancelled
        )

    def sensitivity(
        self,
        explanation: Explanation,
        questions: Sequence[str] = (),
        *,
        methods: Sequence[str] | None = None,
        perturbations: Sequence[str] | None = None,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Comparison | ReportComparison:
        """Do the answer and its maps hold in other words, and on the film slightly changed?

        questions: the first asks, the others are its paraphrases; without any the whole report is compared, finding
        by finding. methods: whose maps are compared, None for the report's first; perturbations: names of
        `medinterp.imaging.perturb`, None for all. Raises PromptError, UnknownMethodError, SelectionError,
        RequestTooLargeError, GenerationCancelled.
        """
        from medinterp.evaluation.sensitivity import compare_again

        return compare_again(
            self._generator,
            explanation,
            questions,
            methods=methods,
            perturbations=perturbations,
            seed=seed,
            progress=progress,
            cancelled=cancelled,
        )
