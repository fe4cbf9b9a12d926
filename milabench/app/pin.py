"""``milabench pin``: the requirements of benchmark folders, locked for one vendor."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from milabench import plan as planning
from milabench.app.options import Options
from milabench.app.phases import operation
from milabench.app.workspace import OWN_INDEX, indexes, workspace
from milabench.console import Console
from milabench.errors import ExitCode, PreflightError, UsageError
from milabench.outcome import GOOD
from milabench.pack import LOCKED_FROM, digest
from milabench.plan.pin import Group
from milabench.setuplogs import SetupLogs

_LOCAL = re.compile(r"^([A-Za-z0-9._-]+(?:\[[^\]]*\])?==[^+\s;]+)\+[A-Za-z0-9.]+")
_OF_CUDA = re.compile(r"(?:nvidia-|cuda-|triton\b)")


async def pin(options: Options, console: Console, *, hashes: bool = False, upgrade: bool = False) -> ExitCode:
    """Write ``requirements.<arch>.txt`` beside every ``requirements.in`` of the suite; exit code 4 where one cannot be.

    Nothing is derived from another vendor's lock. Raises PreflightError where the vendor's index cannot be reached,
    UsageError for hashes of what does not come from the index that is asked.
    """
    async with operation(options, console) as work:
        facts = (await work.host.request("probe", arch=options.arch, reach=indexes()))["facts"]
        arch = facts["arch"]
        if hashes and arch != "cuda":
            raise UsageError(f"--hashes: torch for {arch} comes from another index than those hashes are known of")
        if arch in OWN_INDEX:
            _check_index(arch, facts["indexes"], options)
        else:
            facts["indexes"] = []
        options = replace(options, shape={**options.shape, "arch": arch})
        ready = workspace(options, facts)
        plan, groups = planning.pins(ready, hashes=hashes)
        for each in ready.fetched:
            console.note(f"left out: {each.benchmark} is fetched by git: its locks belong into {each.git}")
        if not plan.trials:
            raise UsageError("nothing to pin: no benchmark that is selected has a requirements.in of its own")
        for group in groups.values():
            _seed(group, empty=upgrade)
        outcomes = await work.carry_out(plan, SetupLogs(options.base))
        for name, group in groups.items():
            if name in outcomes and outcomes[name].kind in GOOD:
                _write(group, arch, console)
        return work.exit_code(outcomes, ExitCode.ENVIRONMENT)


def _check_index(arch: str, reached: Sequence[str], options: Options) -> None:
    known = indexes().get(arch)
    if not known:
        raise PreflightError(
            f"torch for {arch} comes with its vendor's installer and from no index that milabench knows: it cannot be"
            f" locked. Write the vendor's index into constraints/{arch}.index where there is one; nothing was written"
        )
    if missing := [url for url in known if url not in reached]:
        raise PreflightError(
            f"requirements for {arch} are resolved with its vendor's index, and {missing[0]} cannot be reached from"
            f" here: type {options.command('pin')} where it can; nothing was written"
        )


def _seed(group: Group, *, empty: bool) -> None:
    """Put the locks that are there where the resolver looks for what to keep."""
    known = [] if empty else [lock.target.read_text() for lock in group.locks if lock.target.exists()]
    group.together.parent.mkdir(parents=True, exist_ok=True)
    lines = {line.removesuffix("\\").strip(): None for text in known for line in text.splitlines() if _kept(line)}
    group.together.write_text("\n".join(lines) + "\n")
    for lock in group.locks:
        lock.resolved.unlink(missing_ok=True)


def _kept(line: str) -> bool:
    return "==" in line and not line.startswith((" ", "#"))


def _write(group: Group, arch: str, console: Console) -> None:
    for lock in group.locks:
        made_by = f"# Locked by `milabench pin --arch {arch}` from {lock.source.name} and constraints/{arch}.txt."
        text = f"{made_by}\n{LOCKED_FROM}{digest(lock.source.read_text())}\n" + "".join(
            portable(lock.resolved.read_text(), arch)
        )
        changed = not lock.target.exists() or lock.target.read_text() != text
        if changed:
            partial = lock.target.with_name(f".{lock.target.name}.partial")
            partial.write_text(text)
            partial.replace(lock.target)
        console.note(f"{'wrote' if changed else 'unchanged'}: {_relative(lock.target)}")


def portable(text: str, arch: str) -> Iterator[str]:
    """Yield the lines of a lock without what holds for one index only.

    A local version (``+cpu``) is that of a build; which one comes is up to the index. For a CPU the libraries of CUDA
    builds are left out: a CPU build does not want them, and with another they come unasked.
    """
    dropping = False
    for line in text.splitlines(keepends=True):
        if not line.startswith((" ", "#")):
            dropping = arch == "cpu" and _OF_CUDA.match(line) is not None
        if not dropping:
            yield _LOCAL.sub(r"\1", line)


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
