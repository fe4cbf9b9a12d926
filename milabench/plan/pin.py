"""Locking requirements: what the benchmarks of an install group require, resolved together, then written per folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from milabench.package import lockable
from milabench.plan.context import Context
from milabench.plan.fetch import HERE
from milabench.plan.setup import constraints, setup_command
from milabench.plan.types import Command, Job, Plan, Trial

DEADLINE_S = 1800.0
PYTHON = "3.10"  # the oldest that benchmarks run on; what only newer ones have stands behind a marker


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A file to write: what was ``resolved`` for the requirements of a folder."""

    source: Path
    resolved: Path
    target: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The locks of an install group; they agree, since ``together`` holds what was resolved for all of them."""

    together: Path
    locks: Sequence[Lock]


def pin(groups: Mapping[str, Sequence[Context]], *, hashes: bool) -> tuple[Plan, dict[str, Group]]:
    """Return how to resolve the requirements of install groups, as a plan of a trial each, and the files that follow.

    The indexes are the vendor's and the user's; local folders of wheels are left out, since what lies in one machine's
    folder need not be what another's index has.
    """
    trials: list[Trial] = []
    found: dict[str, Group] = {}
    for name, contexts in groups.items():
        folder = Path(contexts[0].dirs.cache) / "pins" / contexts[0].variant
        group = Group(together=folder / f"{name}.txt", locks=tuple(_locks(contexts, folder)))
        if group.locks:
            found[name] = group
            trials.append(_trial(name, contexts[0], group, hashes=hashes))
    return Plan(phase="pin", trials=tuple(trials)), found


def _locks(contexts: Sequence[Context], folder: Path) -> Iterator[Lock]:
    seen: set[Path] = set()
    for context in contexts:
        if context.package is None:
            continue
        config = context.package_config("install", [context.benchmark.name])
        for source, target in lockable(context.package, config, context.node.environ):
            if source not in seen:
                seen.add(source)
                yield Lock(source=source, resolved=folder / f"{context.code}.{target.name}", target=target)


def _trial(name: str, context: Context, group: Group, *, hashes: bool) -> Trial:
    path = constraints(context)
    limits = [path] if path else []
    commands = [_resolve(context, f"{name}.pin", [lock.source for lock in group.locks], group.together, limits)]
    more = ("--generate-hashes",) if hashes else ()
    for lock in group.locks:
        tag = f"{name}.{lock.source.parent.name}.pin"
        commands.append(_resolve(context, tag, [lock.source], lock.resolved, [*limits, group.together], *more))
    job = Job(tag=name, commands=tuple(commands), deadline_s=DEADLINE_S, sequence=True)
    return Trial(benchmark=name, jobs=(job,))


def _resolve(
    context: Context, tag: str, sources: Sequence[Path], output: Path, limits: Sequence[Path], *more: str
) -> Command:
    argv = (
        str(context.here.uv),
        *("pip", "compile", "--quiet", "--universal", "--python-version", PYTHON),
        *("--no-header", "--no-annotate", "--index-strategy", "unsafe-best-match"),
        *(f"--index={url}" for url in context.system.facts.get("indexes", ())),
        *(word for path in limits for word in ("--constraint", str(path))),
        *more,
        *("--output-file", str(output)),
        *map(str, sources),
    )
    command = setup_command(context, tag, argv, {"UV_FIND_LINKS": ""}, cwd=context.dirs.base)
    return replace(command, node=HERE)
