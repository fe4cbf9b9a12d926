"""Which benchmarks of a suite are meant."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterable, Sequence

from milabench import expression
from milabench.errors import UsageError
from milabench.problems import nearest
from milabench.suite.types import Benchmark, Suite
from milabench.tokens import ExpressionError


def select(suite: Suite, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Suite:
    """Return the suite with the enabled benchmarks that any ``include`` matches (none given: all), less ``exclude``.

    Each is a comma-separated list of names (that of a matrix: all its cells), globs, tags and groups, or an
    expression such as ``vision and not multigpu``. Raises UsageError for an expression that cannot be read, a word that
    nothing in the suite matches, and when nothing is left.
    """
    included = _matching(suite.benchmarks, include, "--select") if include else set(_names(suite.benchmarks))
    excluded = _matching(suite.benchmarks, exclude, "--exclude")
    wanted = [one for one in suite.benchmarks if one.name in included and one.name not in excluded]
    kept = tuple(one for one in wanted if one.enabled)
    if not kept:
        raise UsageError(_why_empty(suite, wanted, include, exclude))
    return dataclasses.replace(suite, benchmarks=kept)


def _names(benchmarks: Iterable[Benchmark]) -> list[str]:
    return [one.name for one in benchmarks]


def _matching(benchmarks: Sequence[Benchmark], texts: Sequence[str], option: str) -> set[str]:
    found: set[str] = set()
    for text in texts:
        try:
            chosen = expression.selection(text)
        except ExpressionError as error:
            raise UsageError(f"{option}: {error}") from None
        for word in chosen.words:
            if not any(_means(word, one) for one in benchmarks):
                raise UsageError(_nothing_like(word, benchmarks, option))
        found.update(one.name for one in benchmarks if chosen.holds(lambda word, one=one: _means(word, one)))  # type: ignore[misc]
    return found


def _means(word: str, benchmark: Benchmark) -> bool:
    """Return whether a word is a benchmark's name, tag, group or matrix, or a glob that its name matches."""
    if word in (benchmark.name, benchmark.entry, benchmark.group, benchmark.install_group) or word in benchmark.tags:
        return True
    return any(sign in word for sign in "*?[") and fnmatch.fnmatchcase(benchmark.name, word)


def _nothing_like(word: str, benchmarks: Sequence[Benchmark], option: str) -> str:
    words = {word for one in benchmarks for word in (one.name, one.entry, one.group, one.install_group, *one.tags)}
    near = nearest(word, sorted(words))
    hint = f"did you mean {near!r}?" if near else "'milabench list' shows what there is"
    return f"{option}: nothing in the suite has the name, tag or group {word!r}; {hint}"


def _why_empty(suite: Suite, wanted: Sequence[Benchmark], include: Sequence[str], exclude: Sequence[str]) -> str:
    if not suite.benchmarks:
        return f"{suite.sources[-1] if suite.sources else 'the suite'} describes no benchmark"
    if wanted and (include or not exclude):
        names = ", ".join(_names(wanted)[:5]) + (", …" if len(wanted) > 5 else "")
        return f"nothing to run: {names} {'is' if len(wanted) == 1 else 'are'} disabled; set enabled: true"
    texts = " ".join([*(f"--select {text!r}" for text in include), *(f"--exclude {text!r}" for text in exclude)])
    enabled = [one.name for one in suite.benchmarks if one.enabled][:5]
    return f"nothing is left by {texts}; enabled are {', '.join(enabled) or 'none'}"
