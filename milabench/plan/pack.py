"""What a bundle needs and nobody has yet: a wheel of every package of an install group, whatever it is got from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from milabench.plan.context import Context
from milabench.plan.fetch import HERE
from milabench.plan.setup import asked_for, brought, environment, setup_command
from milabench.plan.types import Command, Job, Once, Plan, Trial

DEADLINE_S = 7200.0


def pack(groups: Mapping[str, Sequence[Context]], folder: Path) -> tuple[Plan, dict[str, Once]]:
    """Return how the wheels of install groups are had, into ``wheels_of``, and the environments that they are for.

    That is for this machine's processor and Python (with a container image, its Python). What has no wheel is built
    here, and what comes by git too, so that where they are installed nothing is.
    """
    trials = tuple(_trial(name, contexts, folder) for name, contexts in groups.items())
    return Plan(phase="pack", trials=trials), {name: environment(contexts) for name, contexts in groups.items()}


def wheels_of(folder: Path, group: str) -> Path:
    return folder / group / "wheels"


def _trial(group: str, contexts: Sequence[Context], folder: Path) -> Trial:
    first, venv = contexts[0], folder / group / "venv"
    site = first.here if first.container is None else first.site  # with an image its Python is the one that counts
    indexes = [f"--extra-index-url={url}" for url in first.system.facts.get("indexes", ())]
    wheel = ("-m", "pip", "wheel", "--wheel-dir", str(wheels_of(folder, group)))
    steps = {**site.environment(str(venv)), "wheels": (f"{venv}/bin/python", *wheel, *indexes, *asked_for(contexts))}
    job = Job(
        tag=group,
        commands=tuple(_here(first, f"{group}.{step}", argv) for step, argv in steps.items()),
        deadline_s=DEADLINE_S,
        sequence=True,
        staged=brought(contexts, site),
    )
    return Trial(benchmark=group, jobs=(job,))


def _here(context: Context, tag: str, argv: tuple[str, ...]) -> Command:
    return replace(setup_command(context, tag, argv), node=HERE)
