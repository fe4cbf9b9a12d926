"""The runs that options ask for: one, or with a multirun in the system file one for each combination of its values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from milabench import document
from milabench.app.options import Options
from milabench.document import plain
from milabench.errors import ConfigurationError, Problem, UsageError
from milabench.problems import Problems
from milabench.system import layers, multirun
from milabench.system.multirun import MULTIRUN, Variation

_SHAPES = {"arch": ("arch", "gpu.arch"), "gpus": ("gpu.count",), "gpu_memory": ("gpu.capacity",)}  # --gpus and such


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One run: the operator's options, with the values of a multirun below their own overrides.

    ``variation`` is None where there is no multirun.
    """

    options: Options
    variation: Variation | None = None

    @property
    def values(self) -> Mapping[str, Any]:
        """The options' values by their paths."""
        return {option: plain(node) for option, node in self.variation.values.items()} if self.variation else {}

    @property
    def name(self) -> str:
        """The name that the multirun gives it."""
        assert self.variation is not None
        return self.variation.name

    @property
    def title(self) -> str:
        """What tells this run from the others."""
        return f"{self.name}: {', '.join(f'{option}={_on_a_line(value)}' for option, value in self.values.items())}"

    @contextmanager
    def told_at_its_place(self) -> Iterator[None]:
        """Tell mistakes of a value that is laid over the system at its place in the file."""
        try:
            yield
        except ConfigurationError as error:
            raise ConfigurationError([self.at_its_place(problem) for problem in error.problems]) from None

    def at_its_place(self, problem: Problem) -> Problem:
        """Return a problem of a value that is laid over the system with the value's place in the file."""
        mark, places = problem.mark, list(self.variation.values.values()) if self.variation else []
        if mark is None or mark.file != "--override":
            return problem
        if mark.line > len(places):
            return replace(problem, mark=replace(mark, line=mark.line - len(places)))
        node = places[mark.line - 1]
        return replace(problem, mark=node.key_mark if mark.column == 1 and node.key else node.mark)


def _on_a_line(value: object) -> str:
    text = str(value)
    return text if text.isprintable() else repr(text)


def asked(options: Options) -> list[Asked]:
    """Return the runs in their order. Raises ConfigurationError with all that is wrong in the multirun of the file.

    Raises UsageError where the command line sets what the multirun varies: it would win, and the runs be called after
    values that they do not have.
    """
    variations = _variations(options)
    if variations is None:
        return [Asked(options=options)]
    _refuse_both(options, variations)
    named = f"{options.run_name}-" if options.run_name else ""
    return [
        Asked(
            options=replace(options, override=(*each.overrides, *options.override), run_name=f"{named}{each.name}"),
            variation=each,
        )
        for each in variations
    ]


def _refuse_both(options: Options, variations: Iterable[Variation]) -> None:
    said = {each for name, known in _SHAPES.items() if options.shape.get(name) is not None for each in known}
    said |= layers.options_of(options.override)
    for option in (option for each in variations for option in each.values):
        if option in said:
            raise UsageError(f"the command line sets {option}, which the multirun varies: take one of them out")


def _variations(options: Options) -> tuple[Variation, ...] | None:
    if options.system is None:
        return None
    problems = Problems(lenient=options.lenient)
    content = document.read(options.system, problems).value
    node = content.get(MULTIRUN) if isinstance(content, dict) else None
    if node is None:
        return None
    found = multirun.read(node, problems)
    problems.raise_errors()
    return found or None
