"""What goes into a bundle: wheels and what of them is installed, the suite and its folders, repositories, data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import yaml

from milabench import bundle, suite
from milabench.agent import stage
from milabench.bundle import Group
from milabench.console import Console
from milabench.errors import PreflightError
from milabench.plan import Workspace, environ
from milabench.plan.pack import wheels_of
from milabench.suite.types import Benchmark, Program

# Of the cache, what is made again where it is wanted, or is a record of what was done here.
_MADE_AGAIN = {"wheels", "tools", "constraints", "pins", "packing", "triton", "inductor", "pip", "uv", "virtualenv"}
_OF_THIS_MACHINE = {("extra", "setup"), *(("cache", name) for name in _MADE_AGAIN)}
# What a login to the hub leaves: who gets the bundle must not get that.
_SECRET = {(*folder, name) for folder in (("data",), ("cache", "huggingface")) for name in ("token", "stored_tokens")}
_MOST_BYTES, _MOST_FILES = 256 << 20, 10_000  # of a command's folder
_RECORDS = "prepared"  # what prepare has done here: it looks for itself where the data goes


def files(
    ready: Workspace, codes: Mapping[str, str], folder: Path, groups: Sequence[Group], *, with_data: bool
) -> Iterator[tuple[str, Path]]:
    """Yield the files of a bundle, by their names in it; ``codes`` are those of benchmarks' folders.

    ``folder`` is where wheels were made. Raises PreflightError for data that lies elsewhere.
    """
    for group in groups:
        wheels = wheels_of(folder, group.name)
        yield from ((f"wheels/{name}", wheels / name) for name in group.wheels)
        lock = folder / group.name / "lock.txt"
        lock.write_text("".join(_locked(group.wheels)))
        yield f"locks/{group.name}.txt", lock
    for each in ready.suite.benchmarks:
        own = each.definition if each.program is None else each.program.cwd
        if own is not None and each.source is None and each.name in codes:
            yield from _below(Path(own), f"code/{codes[each.name]}")
    base = Path(ready.site.base)
    commits = {each.benchmark: each.commit for each in ready.fetched}
    sources = {each.source.key: commits[each.name] for each in ready.suite.benchmarks if each.source is not None}
    for key, commit in sources.items():
        yield from _repository(base / "sources" / key, f"sources/{key}", commit)
    text = folder / bundle.SUITE
    text.write_text(_suite(ready, codes))
    yield bundle.SUITE, text
    if with_data:
        yield from _data(base, {each.group for each in ready.suite.benchmarks})


def commands(benchmarks: Sequence[Benchmark], console: Console) -> dict[str, str]:
    """Return the names of the folders that commands are started in, of those that take a file of it."""
    found = {}
    for each in benchmarks:
        if each.program is not None and (files := _own_files(each.program)):
            if _is_small(Path(each.program.cwd)):
                found[each.name] = f"{each.name}.command"
            else:
                what = f"{', '.join(files)} of {each.name}: {each.program.cwd} holds much else"
                console.note(f"not packed: {what}: give the command a folder of its own as cwd")
    return found


def _own_files(program: Program) -> list[str]:
    """Return the words of a command that are files of the folder it is started in."""
    relative = (word for word in program.argv if word and not word.startswith(("/", "-")) and "\0" not in word)
    # Not by Path.is_file, which raises for a word that is too long to name a file, such as a script for a shell.
    return [word for word in relative if os.path.isfile(os.path.join(program.cwd, word))]  # noqa: PTH113, PTH118


def _is_small(folder: Path) -> bool:
    size = number = 0
    for root, _, files in os.walk(folder):
        for name in files:
            size, number = size + (Path(root) / name).lstat().st_size, number + 1
            if size > _MOST_BYTES or number > _MOST_FILES:
                return False
    return True


def _locked(wheels: Sequence[str]) -> Iterator[str]:
    """Yield the lines of what is installed: every package of a group but benchmate, which is installed beside them."""
    for name, version, *_ in (wheel.split("-") for wheel in wheels):
        if name != "benchmate":
            yield f"{name}=={version}\n"


def _below(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    """Yield the files below a folder: links become what they lead to, and those to nothing are left out."""
    paths = ((each, (folder / each).resolve()) for each in stage.files_below(folder))
    return ((f"{name}/{each}", path) for each, path in paths if path.is_file())


def _repository(folder: Path, name: str, commit: str) -> Iterator[tuple[str, Path]]:
    """Yield what was fetched of a repository: one commit, and what says so, not those before it."""
    yield from ((f"{name}/{path.name}", path) for path in sorted(folder.iterdir()) if path.is_file())
    yield from _below(folder / commit, f"{name}/{commit}")


def _suite(ready: Workspace, codes: Mapping[str, str]) -> str:
    """Return the suite as one of its own whose folders lie beside it; secrets stand in it by name."""
    known = environ.secrets(ready.environ)
    benchmarks = (_moved(each, codes.get(each.name)) for each in ready.suite.benchmarks)
    flat = suite.flat(benchmarks, lambda text: environ.redacted(text, known))
    return yaml.safe_dump(flat, sort_keys=False, allow_unicode=True)


def _moved(benchmark: Benchmark, code: str | None) -> Benchmark:
    config = environ.without_secrets(benchmark.config)
    if benchmark.program is not None:
        config["command"] = {**config["command"], "cwd": f"code/{code}" if code is not None else "."}
    elif code is not None:
        config["definition"] = f"code/{code}"
    return replace(benchmark, config=config)


def _data(base: Path, groups: set[str]) -> Iterator[tuple[str, Path]]:
    """Yield what preparing has made, and no token; links within stay links, and others become what they lead to.

    A link to nothing that would not stay one is left out.
    """
    for name in bundle.DATA:
        for root, folders, files in os.walk(base / name):
            parts = Path(root).relative_to(base).parts
            below = [each for each in folders if _is_wanted((*parts, each), groups)]
            folders[:] = [each for each in below if not (Path(root) / each).is_symlink()]
            linked = [each for each in below if (Path(root) / each).is_symlink()]
            for each in (*files, *linked):
                path = Path(root) / each
                if (*parts, each) in _SECRET:
                    continue
                if _stays_link(path, base):
                    yield str(path.relative_to(base)), path
                elif path.is_file():
                    yield str(path.relative_to(base)), path.resolve()


def _is_wanted(parts: tuple[str, ...], groups: set[str]) -> bool:
    of_another = parts[0] == "extra" and len(parts) == 2 and parts[1] not in groups
    return parts not in _OF_THIS_MACHINE and not of_another and not (parts[0] == "extra" and parts[-1] == _RECORDS)


def _stays_link(path: Path, base: Path) -> bool:
    """Say whether a path is a link to another place of the data, by a relative way."""
    if not path.is_symlink():
        return False
    target = os.readlink(path)  # noqa: PTH115 - a text, as it stands
    led = bundle.leads_below(PurePosixPath(path.relative_to(base)), target)
    stays = led.partition("/")[0] in bundle.DATA
    if not stays and path.is_dir():
        raise PreflightError(f"--data: {path} leads out of the base to a folder: copy it there, or leave --data out")
    return stays
