"""Sweeps: all combinations of the levels of factors, the sweeper that hands them out, and helpers for both.

This is the door to the rooms `_space` (combinations and their spaces) and
`sweeper`; what stands here itself is small.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ._space import HashableDict, SweepSpace, freeze
from ._store_elements import CombinationSet
from ._store_errors import (
    ExecoImportError,
    ExecoStoreError,
    SweepStoreBusyError,
    SweepStoreCorruptError,
    SweepStoreError,
    SweepStoreMissingError,
    SweepStoreVersionError,
)
from .sweeper import CombinationStatus, ParamSweeper, SweepView

__all__ = [
    "CombinationSet",
    "CombinationStatus",
    "ExecoImportError",
    "ExecoStoreError",
    "HashableDict",
    "ParamSweeper",
    "SweepSpace",
    "SweepStoreBusyError",
    "SweepStoreCorruptError",
    "SweepStoreError",
    "SweepStoreMissingError",
    "SweepStoreVersionError",
    "SweepView",
    "geom",
    "igeom",
    "sweep",
    "sweep_sample",
    "sweep_stats",
]


def sweep(parameters: Mapping[Any, Any]) -> list[HashableDict]:
    """All combinations of *parameters*, in order: the first factor varies slowest.

    Args:
        parameters: ``{factor: levels}``. Levels are an iterable (a one-shot iterator too), or a dict
            ``{level: {sub-factor: levels}}`` where each level has factors of its own, and so on;
            ``{}`` is none. A factor without levels is left out.

    Raises:
        TypeError: *parameters* are of another form; the text names the factor.

    For spaces too large for a list see `SweepSpace` and `sweep_sample`.

        >>> sweep({"policy": {"fifo": {}, "fair": {"share": [1, 2]}}, "seed": range(2)})  # doctest: +ELLIPSIS
        [{'policy': 'fifo', 'seed': 0}, ..., {'policy': 'fair', 'share': 2, 'seed': 1}]
    """
    return list(SweepSpace(parameters))


def sweep_sample(
    parameters: Mapping[Any, Any], n: int, seed: int | float | str | bytes | None = None
) -> list[HashableDict]:
    """*n* different combinations of *parameters* by chance, of a space of any size; see `SweepSpace.sample`.

    Raises:
        TypeError: *parameters* are not of the form that `sweep` takes.
        ValueError: *n* is negative, or larger than the number of combinations.
    """
    return SweepSpace(parameters).sample(n, seed)


def geom(range_min: float, range_max: float, num_steps: int) -> list[float]:
    """*num_steps* floats from *range_min* to *range_max*, each the one before times a constant.

    An empty list for 0 steps, *range_min* alone for 1.

    Raises:
        ValueError: an end is 0, or they differ in sign, or *num_steps* is negative.
    """
    num_steps = int(num_steps)  # as n / 2, too
    if num_steps < 0:
        raise ValueError(f"geom: {num_steps} steps")
    if num_steps < 2:
        return [float(range_min)][:num_steps]
    if range_min * range_max <= 0:
        raise ValueError(f"geom: no geometric progression goes from {range_min} to {range_max}")
    ratio = (range_max / range_min) ** (1 / (num_steps - 1))
    # The ends are exact; between them the powers are of the ratio itself, so errors do not add up.
    return [float(range_min), *(range_min * ratio**step for step in range(1, num_steps - 1)), float(range_max)]


def igeom(range_min: float, range_max: float, num_steps: int) -> list[int]:
    """As `geom`, rounded to ints, in ascending order and without duplicates (so there may be fewer).

    Raises: as `geom`.
    """
    return sorted({round(value) for value in geom(range_min, range_max, num_steps)})


def sweep_stats(stats: tuple[Iterable[Any], ...]) -> dict[str, dict[Any, dict[Any, float]]]:
    """How often each level of each factor occurs in each state, of what `ParamSweeper.stats` returned.

    Returns:
        ``{"total": {factor: {level: count}}, "remaining": ..., "skipped": ..., "inprogress": ...,
        "done": ..., "remaining_ratio": {factor: {level: count / total}}, "skipped_ratio": ..., ...}``.
        Levels that do not occur have no count, but a ratio of 0. Lists and sets as levels are counted
        under their tuple or frozenset.

    Raises:
        TypeError: a combination is not a dict.
    """
    names = ("total", "remaining", "skipped", "inprogress", "done")
    counts = {name: _level_counts(combinations) for name, combinations in zip(names, stats, strict=True)}
    ratios = {
        f"{name}_ratio": {
            factor: {level: counts[name].get(factor, {}).get(level, 0) / total for level, total in levels.items()}
            for factor, levels in counts["total"].items()
        }
        for name in names[1:]
    }
    return {**counts, **ratios}


def _level_counts(combinations: Iterable[Any]) -> dict[Any, dict[Any, float]]:
    counts: dict[Any, dict[Any, float]] = {}
    for combination in combinations:
        if not isinstance(combination, Mapping):
            raise TypeError(f"sweep_stats counts the levels of dicts, and {combination!r:.80} is none")
        for factor, level in combination.items():
            levels = counts.setdefault(factor, {})
            level = freeze(level)
            levels[level] = levels.get(level, 0) + 1
    return counts
