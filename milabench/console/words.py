"""What the live view, the plain lines and the failures say: a Progress in words, a row of cells, or a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from milabench.amounts import size
from milabench.follow import STAGES, Progress
from milabench.render.units import duration, plain, share

_SILENT_S = 30.0  # no step for so long, and for so many usual ones, is worth saying
_SILENT_STEPS = 10
_NAMED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a process takes of its node now: memory and cores of its tree, and how busy its devices are (0 to 1)."""

    rss_bytes: int | None = None
    cores: float | None = None
    load: float | None = None
    device_bytes: int | None = None


def printable(text: str) -> str:
    """Return text that moves no cursor: what is no character to print is a question mark."""
    return text if text.isprintable() else "".join(each if each.isprintable() or each == "\t" else "?" for each in text)


def steps(progress: Progress) -> str:
    """Return how many steps are done of how many: ``120/600``; with the stage where it is none of measuring."""
    if progress.outcome is not None:
        return progress.outcome.kind.replace("_", " ")
    if not progress.steps:
        return "running" if progress.limit is None else progress.stage  # of some no steps are asked for
    done = str(progress.steps) if progress.wanted is None else f"{progress.steps}/{progress.wanted}"
    return done if progress.stage == "measuring" else f"{done} {progress.stage}"


def rate(progress: Progress, now: float) -> str:
    """Return the rate of the last seconds, or that there was no step for long."""
    if progress.rate_now is None:
        return ""
    silent_s = silence(progress, now)
    if silent_s is not None:
        return f"no step for {duration(silent_s)}"
    return f"{plain(progress.rate_now)} {printable(progress.unit)}".rstrip()


def silence(progress: Progress, now: float) -> float | None:
    """Return for how long there was no step, in s, where that is long for this process."""
    if progress.outcome is not None or progress.last_step is None or not progress.steps:
        return None
    silent_s = now - progress.last_step
    usual_s = progress.measured_s / progress.measured if progress.measured and progress.measured_s else 0.0
    return silent_s if silent_s > max(_SILENT_S, _SILENT_STEPS * usual_s) else None


def loss(progress: Progress) -> str:
    return "" if progress.loss is None else f"{progress.loss:.4g}"


def host(usage: Usage) -> str:
    return "" if usage.rss_bytes is None else size(usage.rss_bytes)


def cores(usage: Usage) -> str:
    return "" if usage.cores is None else share(usage.cores)


def device(usage: Usage, progress: Progress) -> str:
    """Return how busy the devices of a process are and what is held of their memory; that peak, where it is told."""
    held = usage.device_bytes or progress.memory_peak_bytes
    parts = (share(usage.load) if usage.load is not None else "", size(held) if held else "")
    return " ".join(part for part in parts if part)


def elapsed(progress: Progress, deadline_s: float | None, now: float) -> str:
    """Return how long a process has run, of how long at most."""
    seconds = progress.seconds(now)
    if seconds is None:
        return ""
    return duration(seconds) if deadline_s is None else f"{duration(seconds)} of {duration(deadline_s)}"


def left_out(found: Sequence[Progress]) -> str:
    """Return one line on the processes for which there is no room: ``… and 240 more: 238 measuring, 2 warm-up``."""
    counts = Counter(each.stage for each in found)
    stages = ", ".join(f"{counts[stage]} {stage}" for stage in reversed(STAGES) if counts[stage])
    return f"… and {len(found)} more: {stages}"


def trial_line(found: Sequence[Progress], now: float) -> str:
    """Return how far the processes of a trial are, in a few words: ``120/600 steps, 71.3 images/s, loss 2.31``."""
    running = [each for each in found if each.outcome is None]
    if not running:
        return "ending"
    if all(each.limit is None for each in running):
        return "still running"
    parts = [f"{len(running)} processes"] if len(running) > 1 else []
    parts += [_steps_of_all(running), _rate_of_all(running, now), _loss_of_all(running)]
    return ", ".join(part for part in parts if part)


def _steps_of_all(running: Sequence[Progress]) -> str:
    low, high = min(each.steps for each in running), max(each.steps for each in running)
    if not high:
        return "no step yet"
    done = str(low) if low == high else f"{low}–{high}"
    wanted = {each.wanted for each in running}
    of = f"/{wanted.pop()}" if len(wanted) == 1 and None not in wanted else ""
    warm = " of warm-up" if all(each.stage == "warm-up" for each in running) else ""
    return f"{done}{of} steps{warm}"


def _rate_of_all(running: Sequence[Progress], now: float) -> str:
    silent = [silent_s for each in running if (silent_s := silence(each, now)) is not None]
    if len(silent) == len(running):
        return f"no step for {duration(min(silent))}"
    rates: dict[str, float] = {}
    for each in running:
        if each.rate_now is not None and silence(each, now) is None:
            rates[each.unit] = rates.get(each.unit, 0.0) + each.rate_now
    return ", ".join(f"{plain(total)} {printable(unit)}".rstrip() for unit, total in islice(rates.items(), 3))


def _loss_of_all(running: Sequence[Progress]) -> str:
    losses = sorted(each.loss for each in running if each.loss is not None)
    if not losses:
        return ""
    low, high = f"{losses[0]:.4g}", f"{losses[-1]:.4g}"
    return f"loss {low}" if low == high else f"loss {low}–{high}"


def names(tags: Sequence[str]) -> str:
    """Return tags in a line, of many the first and the last."""
    if len(tags) <= _NAMED:
        return ", ".join(tags)
    return f"{', '.join(tags[: _NAMED - 1])} … {tags[-1]}"


def counts(found: Mapping[str, int]) -> str:
    """Return how often each outcome occurred: ``2 early stop, 1 failed``."""
    return ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in found.items() if count)
