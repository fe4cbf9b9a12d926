"""What a Session has measured: its samples, and what may be said of them."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from benchmate import statistics, verdict
from benchmate.statistics import QUANTILES, Estimate, Statistic
from benchmate.verdict import Evidence, Grade, Noise, Steadiness
from benchmate.wire import MEASURED, PARTS, WARMUP, Steps

_S: Final = 1e-9  # of a ns
_ALL: Final[tuple[Statistic, ...]] = ("mean", *QUANTILES)  # type: ignore[arg-type]
_SHOWN: Final[tuple[Statistic, ...]] = ("p50", "p90", "p99")


@dataclass(frozen=True, kw_only=True)  # no slots: see benchmate.target
class Result:
    """The measurement of a Session. Times in s, estimates with 95 % intervals; a value is None where n is too small.

    ``samples``: a row for each inference, warm-up too. ``throughput``: items a second, of the time that inferences
    took. ``latency``: of an inference; ``parts``: of what it is made of (``pre``, ``infer``, ``post``), where asked.
    ``first_s``: the very first, warm-up or not; ``load_s``: what loading took. ``stop``: what ended it.
    ``harness_overhead_ns``: what the timed loop takes for an inference beside the call, between its stamps and outside
    of them. ``noise`` is by the process's own account.
    """

    samples: Steps = field(repr=False)
    throughput: Estimate
    latency: Mapping[Statistic, Estimate]
    parts: Mapping[str, Mapping[Statistic, Estimate]]
    min_s: float
    max_s: float
    first_s: float
    load_s: float | None
    stop: Mapping[str, object]
    harness_overhead_ns: float
    steadiness: Steadiness
    noise: Noise

    @property
    def n(self) -> int:
        """How many inferences were measured."""
        return self.throughput.n

    @property
    def warmup(self) -> int:
        """How many were made before."""
        return self.samples.columns["phase"].count(WARMUP)

    @property
    def unit(self) -> str:
        return f"{self.samples.unit}/s"

    @property
    def overhead_share(self) -> float | None:
        """What the timed loop takes beside the call, by the median latency: of next to nothing above 1.

        A part of it lies between the stamps, and is in the latency.
        """
        median_s = self.latency["p50"].value
        return self.harness_overhead_ns * _S / median_s if median_s else None

    @property
    def grade(self) -> Grade:
        """One word for the throughput, with all that speaks against it."""
        return verdict.grade(self.throughput, (self.steadiness,), (self.noise,))

    def too_few(self, statistic: Statistic) -> str | None:
        """Return why a quantile has no value, in words; None where it has one. Raises ValueError for none of them."""
        if statistic not in self.latency:
            raise ValueError(f"no statistic {statistic!r}: expected one of {', '.join(self.latency)}")
        found = self.latency[statistic]
        return verdict.too_few(found.n, statistic) if found.value is None else None

    def describe(self) -> str:
        """Return it in a few lines, for whoever runs a script by hand."""
        shown = ", ".join(f"{name} {_told(self.latency[name])}" for name in _SHOWN)
        rate = self.throughput.value or 0.0
        lines = [
            f"{rate:.6g} {self.unit}{verdict.interval(self.throughput)} over {self.n} inferences",
            f"latency {shown}; first {_time(self.first_s)}",
        ]
        share = self.overhead_share
        if share is not None and share > verdict.OVERHEAD:
            lines.append(
                f"the loop that times it takes {_time(self.harness_overhead_ns * _S)} an inference beside the call,"
                " a part of which is in the latency: let an inference do more"
            )
        lines += [f"{word}: {reason}" for word, reason in zip(self.grade.words, self.grade.reasons, strict=True)]
        return "\n  ".join(lines)


def speed_of(samples: Steps) -> tuple[Estimate, dict[Statistic, Estimate], dict[str, dict[Statistic, Estimate]]]:
    """Return throughput, latency and the latency of parts of measured inferences."""
    good = samples.good()
    parts = {name: _times(_of_measured(samples, name)) for name in PARTS if name in samples.columns}
    return statistics.throughput(good.count, good.durations_ns), _times(good.durations_ns), parts


def _of_measured(samples: Steps, name: str) -> array[int]:
    pairs = zip(samples.columns[name], samples.columns["phase"], strict=True)
    return array("q", (value for value, phase in pairs if phase == MEASURED))


def _times(durations_ns: array[int]) -> dict[Statistic, Estimate]:
    found = statistics.estimates(durations_ns, _ALL)
    return {name: statistics.scaled(estimate, _S) for name, estimate in found.items()}


def noise_of(used: Mapping[str, object] | None) -> Noise:
    """Return whether a process was disturbed, by what it says of itself (``Usage.since``)."""
    if used is None:
        return verdict.noise(Evidence())
    seconds = float(used["wall_s"])  # type: ignore[arg-type]
    shares = {name: _share(used[name], seconds) for name in ("cpu_s", "wait_s", "involuntary")}
    return verdict.noise(
        Evidence(
            window_s=seconds,
            cpu_share=shares["cpu_s"],
            wait_share=shares["wait_s"],
            involuntary_per_s=shares["involuntary"],
        )
    )


def _share(amount: object, seconds: float) -> float | None:
    return amount / seconds if isinstance(amount, (int, float)) and seconds > 0 else None


def _told(found: Estimate) -> str:
    return "too few" if found.value is None else f"{_time(found.value)}{verdict.interval(found)}"


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds * 1e9:.4g} ns"
