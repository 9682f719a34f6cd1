"""Pairs of rows and columns whose scores sum to the most (the assignment problem)."""

from __future__ import annotations

import math
from collections.abc import Sequence


def best_pairs(scores: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Rows and columns, as many as the fewer of the two has, none of them twice, so that their scores sum to the most.

    scores: one row of equal length for each row. By the Hungarian method with potentials (Kuhn 1955, Jonker &
    Volgenant 1987); of equally good pairs, the same ones every time.
    """
    if not scores or not scores[0]:
        return []
    if len(scores) > len(scores[0]):
        turned = list(zip(*scores, strict=True))
        return sorted((row, column) for column, row in best_pairs(turned))
    rows, columns = len(scores), len(scores[0])
    row_price, column_price = [0.0] * (rows + 1), [0.0] * (columns + 1)
    owner = [0] * (columns + 1)  # the row, from 1, that has each column, from 1; column 0 starts a search
    for row in range(1, rows + 1):
        owner[0], column = row, 0
        least, before, seen = [math.inf] * (columns + 1), [0] * (columns + 1), [False] * (columns + 1)
        while owner[column]:
            seen[column] = True
            step, following = math.inf, 0
            for other in range(1, columns + 1):
                if seen[other]:
                    continue
                cost = -scores[owner[column] - 1][other - 1] - row_price[owner[column]] - column_price[other]
                if cost < least[other]:
                    least[other], before[other] = cost, column
                if least[other] < step:
                    step, following = least[other], other
            for other in range(columns + 1):
                if seen[other]:
                    row_price[owner[other]] += step
                    column_price[other] -= step
                else:
                    least[other] -= step
            column = following
        while column:
            owner[column] = owner[before[column]]
            column = before[column]
    return sorted((owner[column] - 1, column - 1) for column in range(1, columns + 1) if owner[column])
