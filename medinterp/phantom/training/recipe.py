"""How long and on how much a model is trained."""

from __future__ import annotations

from dataclasses import dataclass

from medinterp.phantom.training.language import Stage


@dataclass(frozen=True)
class Recipe:
    """The defaults made the packaged weights. name: of its checkpoints, so that recipes can share a directory.

    film_*, known_films: of control models whose tower learns further from whole films' reports (see `film_labels`).
    """

    films: int = 20_000
    film_steps: int = 0
    film_batch: int = 16
    film_rate: float = 5e-4
    known_films: int = 2000
    crowded_films: int = 8_000
    tower_steps: int = 1000
    tower_batch: int = 32
    tower_rate: float = 2e-3
    question_steps: int = 250
    report_steps: int = 1250
    batch: int = 12
    misled: int = 6
    language_rate: float = 2.5e-3
    name: str = ""

    @property
    def language_steps(self) -> int:
        """Steps of the language model's two stages together."""
        return self.question_steps + self.report_steps

    def stages(self) -> tuple[Stage, Stage]:
        """What the language model learns from: questions alone, then reports with a few questions."""
        return (
            Stage(self.question_steps, self.batch, questions=8, report=False, misled=self.misled),
            Stage(self.report_steps, self.batch, questions=3, report=True, misled=self.misled),
        )


SMALL = Recipe(name="small", films=10_000, crowded_films=4_000, tower_steps=500, question_steps=150, report_steps=550)
"""For further seeds: half of the steps, on the first films of the same pools."""
