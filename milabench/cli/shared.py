"""Options that several verbs share, each with its environment variable."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click

from milabench.app.options import Options
from milabench.errors import ExitCode, UsageError
from milabench.paths import exists, expanded
from milabench.streams import unless_unread
from milabench.system.types import ARCHES

if TYPE_CHECKING:
    from milabench.rundir import RunDir
    from milabench.summary import Summary

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
_OBJECTS = 50_000  # are made before Python looks for cycles, instead of some hundreds
DEFAULT_BASE = "workdir/results"

base_option = click.option(
    "--base", metavar="DIR", help=f"Where environments, data and runs are kept. [MILABENCH_BASE, {DEFAULT_BASE}]"
)
_FILES = (
    click.option(
        "--config", "-c", metavar="SUITE", help="A suite file, or the name of one milabench brings. [MILABENCH_CONFIG]"
    ),
    click.option("--system", metavar="FILE", help="A system file; without one, this machine. [MILABENCH_SYSTEM]"),
    base_option,
)
_CHOICE = (
    click.option(
        "--select",
        "-s",
        multiple=True,
        metavar="EXPR",
        help="Names, globs, tags, groups or an expression; repeatable. [MILABENCH_SELECT]",
    ),
    click.option("--exclude", "-x", multiple=True, metavar="EXPR", help="The same, to leave out. [MILABENCH_EXCLUDE]"),
)
_CHANGES = (
    click.option(
        "--override",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change a value of the suite or system: resnet50.argv.--lr=0.1",
    ),
    click.option(
        "--legacy",
        "lenient",
        is_flag=True,
        help="Warn of doubled keys and unknown placeholders instead of refusing them. [MILABENCH_LEGACY]",
    ),
)
_SUITE = _FILES + _CHOICE + _CHANGES
_INSTALLER = (
    click.option(
        "--installer",
        type=click.Choice(["uv", "pip"]),
        default="uv",
        show_default=True,
        help="What fills environments.",
    ),
)
_SETUP = (
    *_INSTALLER,
    click.option("--offline", is_flag=True, help="Use no network."),
    click.option(
        "--bundle",
        metavar="FILE",
        help="Take packages, benchmarks and data from what `milabench bundle-env` packed, and use no network."
        " [MILABENCH_BUNDLE]",
    ),
)
_CONNECTION = (
    click.option(
        "--accept-new-host-keys",
        is_flag=True,
        help="Trust, and write into known_hosts, the SSH keys of nodes that are not known yet.",
    ),
)
_SHAPE = (
    click.option(
        "--arch",
        type=click.Choice(ARCHES),
        help="Instead of what is probed. [MILABENCH_ARCH]",
    ),
)


repeat_option = click.option(
    "--repeat",
    "repeats",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="How often each benchmark is run, in fresh processes: all of them once, then all again.",
)
bundle_option = click.option(
    "--bundle",
    metavar="FILE",
    help="The suite that `milabench bundle-env` packed into this file, once that is installed. [MILABENCH_BUNDLE]",
)
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Say nothing but failures.")


def suite_options(function: F) -> F:
    return _stack(function, _SUITE)


def reading_options(function: F) -> F:
    """Add the options of a verb that is about a suite and chooses nothing of it."""
    return _stack(function, _FILES + _CHANGES)


def arch_option(function: F) -> F:
    return _stack(function, _SHAPE)


def dev_options(function: F) -> F:
    """Add the options of a verb that is about one benchmark."""
    return _stack(function, _FILES + _CHANGES + _INSTALLER + _SHAPE)


def setup_options(function: F) -> F:
    return _stack(function, (*_SUITE, *_SETUP, *_CONNECTION, quiet_option, *_SHAPE))


def connection_options(function: F) -> F:
    """Add the options of a verb that connects nodes."""
    return _stack(function, _CONNECTION)


def collect_seldom() -> None:
    """Look for cycles of objects, for this may take days, but not after each few hundred: most are kept to the end."""
    gc.set_threshold(_OBJECTS)
    gc.enable()


def carry_out(flow: Coroutine[Any, Any, T]) -> T:
    """Run a flow that starts processes."""
    import asyncio

    collect_seldom()
    try:
        return asyncio.run(flow)
    except asyncio.CancelledError:  # somebody would not wait for its end
        raise click.exceptions.Exit(ExitCode.INTERRUPTED) from None


def show(summary: Summary) -> None:
    """Write a report to standard output: in a terminal's width and colours, elsewhere as plain text."""
    from rich.console import Console

    from milabench.render import text

    if sys.stdout.isatty():
        text.show(summary, Console())
    else:
        sys.stdout.write(text.render(summary))
        sys.stdout.flush()


def show_run(record: RunDir) -> None:
    """Report on a run that has just ended; where nobody reads it, the exit code still says how the run went."""
    from milabench.app.report import of_runs

    with unless_unread():
        show(of_runs([record], [record]))


def read_options(values: dict[str, Any]) -> Options:
    """Return the options of a verb: command line over environment over default."""
    environ = dict(os.environ)
    config = values.get("config") or _config_from(environ)
    system = values.get("system") or environ.get("MILABENCH_SYSTEM")
    if system and not exists(expanded(system)):
        raise UsageError(f"no system file {system}: give --system with a file")
    shape = {
        name: values[name] for name in ("arch", "gpus", "nodes", "gpu_memory", "cpus") if values.get(name) is not None
    }
    named = (values.get("bundle") or environ.get("MILABENCH_BUNDLE")) if "bundle" in values else None
    bundle = expanded(named).absolute() if named else None
    base = values.get("base") or environ.get("MILABENCH_BASE") or DEFAULT_BASE
    return Options(
        config=config,
        system=expanded(system) if system else None,
        base=expanded(base).absolute(),
        select=tuple(values.get("select") or _words(environ.get("MILABENCH_SELECT"))),
        exclude=tuple(values.get("exclude") or _words(environ.get("MILABENCH_EXCLUDE"))),
        run_name=_run_name(values, environ),
        override=tuple(values.get("override") or ()),
        lenient=values.get("lenient") or is_on(environ.get("MILABENCH_LEGACY")),
        installer=values.get("installer", "uv"),
        offline=values.get("offline", False) or bundle is not None,
        bundle=bundle,
        refresh=values.get("refresh", False),
        repeats=values.get("repeats", 1),
        side_by_side=values.get("side_by_side", False),
        accept_new_host_keys=values.get("accept_new_host_keys", False),
        shape=shape,
        environ=environ,
    )


def _run_name(values: dict[str, Any], environ: dict[str, str]) -> str | None:
    """Return the name of a run, or its path: what starts with ``/``, ``.`` or ``~``."""
    name = values.get("run_name") or environ.get("MILABENCH_RUN_NAME") or None
    if name is None or "run_name" not in values:
        return name
    if not name.isprintable():
        raise UsageError(f"--run-name {name!r}: a name has only characters that can be printed")
    if name.rstrip("/") in ("", ".", "..", "~"):
        raise UsageError(f"--run-name {name}: a run needs a folder of its own: give a name, or the path of a new one")
    if "/" in name and name[0] not in "/.~":
        raise UsageError(f"--run-name {name}: a name has no '/', and a path starts with /, ./ or ~")
    return name


def _config_from(environ: dict[str, str]) -> str | None:
    """Return MILABENCH_CONFIG where it is a path: inside a benchmark's process it is the JSON of its entry."""
    value = environ.get("MILABENCH_CONFIG", "")
    return None if not value or value.lstrip().startswith("{") else value


def is_on(value: str | None) -> bool:
    """Return whether a variable turns a switch on: it is set to anything but ``0``, ``false``, ``no`` or nothing."""
    return value is not None and value.strip().lower() not in ("", "0", "false", "no", "off")


def _words(value: str | None) -> tuple[str, ...]:
    return (value,) if value else ()


def _stack(function: F, options: tuple[Callable[[F], F], ...]) -> F:
    for option in reversed(options):
        function = option(function)
    return function
