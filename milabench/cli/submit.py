"""``milabench submit``."""

from __future__ import annotations

import os
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from milabench.cli.shared import base_option, carry_out, quiet_option, read_options, show
from milabench.errors import UsageError
from milabench.paths import exists, expanded
from milabench.streams import unless_unread

if TYPE_CHECKING:
    from milabench.app.options import Options
    from milabench.app.submit import Wanted, Words
    from milabench.console import Console
    from milabench.slurm.records import Submissions

_CHOICE, _SET = ("select", "exclude"), ("base", "run_name")


@click.command()
@click.option("--profile", metavar="NAME", help="What to ask of Slurm: a list of sbatch's arguments by that name.")
@click.option(
    "--profiles",
    metavar="FILE",
    help="Your file of profiles. [MILABENCH_PROFILES, ~/.config/milabench/profiles.yaml]",
)
@click.option(
    "--sbatch", multiple=True, metavar="ARGUMENT", help="Over the profile's: --sbatch=--time=2:00:00; repeatable."
)
@click.option("--split", is_flag=True, help="A job and a run for each benchmark, with as many nodes as it needs.")
@click.option(
    "--follow/--no-follow", default=True, show_default=True, help="Go on until the jobs have ended; Ctrl-C ends them."
)
@click.option("--resume", "resumed", metavar="RUN", help="Submit what goes on with a run, given by folder or name.")
@click.option("--other-nodes", is_flag=True, help="With --resume: on whatever nodes, not on those of the run alone.")
@click.option("--attach", "attached", metavar="RUN", help="Follow the jobs of a run that was submitted before.")
@base_option
@quiet_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- OPTIONS OF RUN OR RESUME]")
def submit(arguments: tuple[str, ...], resumed: str | None, attached: str | None, **values: Any) -> int:
    """Run a suite as a job of a Slurm cluster, and follow it to its report.

    \b
    milabench submit --profile two-nodes -- --config standard --select multinode
    """
    from milabench.app import submit as flows
    from milabench.console import Console

    console, follows = Console(quiet=values["quiet"]), values["follow"]
    if values["other_nodes"] and resumed is None:
        raise UsageError("--other-nodes goes with --resume: a run that begins takes the nodes that it is given")
    if resumed is None and attached is None:
        given, words = _read_run(arguments)
        if values["base"] and given.get("base"):
            raise UsageError("--base is given twice: before `--` and behind it")
        options = read_options({**given, "base": values["base"] or given.get("base")})
        return _go(flows.submit(_wanted(values), words, options, console), options, console, follows=follows)
    if values["split"] or (resumed is not None and attached is not None):
        raise UsageError("--resume and --attach are about a run that is there: give one of them, and no --split")
    options = read_options(values)
    if attached is not None:
        if arguments or values["profile"] or values["sbatch"] or not follows:
            raise UsageError(
                "--attach follows what was submitted: it takes --base and --quiet alone, and nothing behind `--`"
            )
        return _go(_known(flows.attach(attached, options)), options, console, follows=True)
    further = ((flows.OTHER_NODES,) if values["other_nodes"] else ()) + _read_resume(arguments)
    again = flows.resume(_wanted(values), resumed, [*dict.fromkeys(further)], options, console)
    return _go(again, options, console, follows=follows)


def _go(there: Coroutine[Any, Any, list[Submissions]], options: Options, console: Console, *, follows: bool) -> int:
    """Follow what is submitted, or say what was."""
    from milabench.app.following import follow
    from milabench.slurm.commands import Slurm

    async def go() -> int:
        jobs = await there
        if follows and jobs:
            return int(await follow(Slurm(options.environ, console.note), jobs, console, _show_all))
        for each in jobs:
            print(f"{each.latest.job} {each.run}")
        return 0

    return carry_out(go())


async def _known(there: list[Submissions]) -> list[Submissions]:
    return there


def _wanted(values: dict[str, Any]) -> Wanted:
    from milabench.app.submit import Wanted

    names = ("profile", "sbatch", "split")
    return Wanted(profiles=_profiles(values["profiles"]), **{name: values[name] for name in names})


def _profiles(name: str | None) -> Path | None:
    """Return the user's file of profiles, None where there is none. Raises UsageError where one is named in vain."""
    named = name or os.environ.get("MILABENCH_PROFILES")
    if named:
        if not exists(expanded(named)):
            raise UsageError(f"no file of profiles {named}: give --profiles with a file")
        return expanded(named)
    usual = Path(os.environ.get("XDG_CONFIG_HOME") or expanded("~/.config")) / "milabench/profiles.yaml"
    return usual if exists(usual) else None


def _read_run(arguments: Sequence[str]) -> tuple[dict[str, Any], Words]:
    """Return the values of options of ``milabench run``, and them as words: those that submit sets itself left out."""
    from milabench.app.submit import Words
    from milabench.cli.run import run

    values, given = _typed(run, arguments)
    choice = tuple(word for name in _CHOICE for word in given.get(name, ()))
    others = tuple(word for name, words in given.items() if name not in (*_CHOICE, *_SET) for word in words)
    return values, Words(choice=choice, others=others)


def _read_resume(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return options of ``milabench resume`` as words."""
    from milabench.cli.resume import resume

    values, given = _typed(resume, arguments)
    if "system" in given:
        raise UsageError("--system is for nodes over SSH: a job goes on on the nodes that Slurm gives it")
    if values["run"] is not None or "base" in given:
        raise UsageError("--resume has the run, and --base stands before `--`: give only further options behind it")
    return tuple(word for words in given.values() for word in words)


def _typed(command: click.Command, arguments: Sequence[str]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Return the values of a verb's options, and those that were typed as words. Raises click's UsageError."""
    with command.make_context("milabench submit --", list(arguments)) as context:
        given = {
            parameter.name: _words(parameter, context.params[parameter.name])
            for parameter in command.params
            if parameter.name and context.get_parameter_source(parameter.name) == ParameterSource.COMMANDLINE
        }
        return context.params, given


def _words(parameter: click.Parameter, value: Any) -> list[str]:
    """Return an option as it is typed."""
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return [parameter.opts[0] if value else parameter.secondary_opts[0]]
    return [word for each in (value if parameter.multiple else [value]) for word in (parameter.opts[0], str(each))]


def _show_all(runs: Sequence[Path]) -> None:
    from milabench.app.report import report

    with unless_unread():
        show(report([str(run) for run in runs], runs[0].parent))
