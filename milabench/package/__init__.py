"""Packages: the benchfiles of a suite's folders, loaded and evaluated."""

from milabench.package.load import (
    CannotBePlaced,
    Evaluation,
    evaluate,
    load,
    load_one,
    lockable,
    overrides,
    preparation,
    render,
    requirements,
)

__all__ = [
    "CannotBePlaced",
    "Evaluation",
    "evaluate",
    "load",
    "load_one",
    "lockable",
    "overrides",
    "preparation",
    "render",
    "requirements",
]
