"""One word for a number as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from benchmate.statistics import WIDE, Estimate
from benchmate.verdict.evenness import Evenness
from benchmate.verdict.evidence import Noise, counted, pooled
from benchmate.verdict.figures import percent
from benchmate.verdict.series import Steadiness

Word = Literal["ok", "too few", "noisy", "uneven", "drifting", "bimodal", "wide"]

_ORDER: Final[tuple[Word, ...]] = ("too few", "noisy", "uneven", "drifting", "bimodal", "wide")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """The word for a number, and every reason against it, sentences with their figures.

    ``words``: of each reason what it makes of the number.
    """

    word: Word
    reasons: tuple[str, ...] = ()
    words: tuple[Word, ...] = ()


def grade(
    estimate: Estimate,
    steadiness: Iterable[Steadiness] = (),
    noise: Iterable[Noise] = (),
    even: Evenness | None = None,
) -> Grade:
    """Return one word for a number from its estimate, and the steadiness and noise of each process it comes from.

    The first that holds of: too few, noisy, uneven, drifting, bimodal, wide; else ok. That a series was too short to be
    judged, or noise unknown, is not held against a number. ``even``: how equal the devices or nodes are of which it is
    the mean.
    """
    series, machine = tuple(steadiness), tuple(noise)
    found = [*_of_estimate(estimate), *_of_noise(machine), *_of_devices(even or Evenness()), *_of_series(series)]
    words = {word for word, _ in found}
    word: Word = next((word for word in _ORDER if word in words), "ok")
    reasons = {reason: word for word, reason in sorted(found, key=lambda pair: _ORDER.index(pair[0]))}
    return Grade(word=word, reasons=tuple(reasons), words=tuple(reasons.values()))


def _of_estimate(estimate: Estimate) -> Iterator[tuple[Word, str]]:
    if estimate.verdict == "too few":
        many = "1 sample is" if estimate.n == 1 else f"{estimate.n} samples are"
        yield "too few", f"{many} too few for an interval"
    if estimate.verdict == "wide" and estimate.relative_error is not None:
        if estimate.relative_error >= 1:
            yield "wide", "the 95 % interval reaches down to 0: it is too wide to tell anything"
            return
        half = percent(estimate.relative_error, ".1f")
        yield "wide", f"the 95 % interval is ±{half} of the value, wider than ±{percent(WIDE)}"


def _of_noise(machine: Sequence[Noise]) -> Iterator[tuple[Word, str]]:
    found = pooled(machine)
    for reason in found.reasons if found.verdict == "noisy" else ():
        yield "noisy", reason


def _of_devices(even: Evenness) -> Iterator[tuple[Word, str]]:
    for each in even.apart:
        yield "uneven", f"{each.name} is {each.told} than the median of {even.of}"


def _of_series(series: Sequence[Steadiness]) -> Iterator[tuple[Word, str]]:
    for kind in ("drifting", "bimodal"):
        alike = [found.detail for found in series if found.kind == kind]
        if alike:
            yield kind, counted(alike, len(series))
