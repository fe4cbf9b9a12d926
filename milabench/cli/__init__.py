"""The command line: argv → options → app; errors → one message and an exit code.

Verbs are imported when they are asked for, so that ``milabench --help`` imports click and nothing else.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from milabench import __version__
from milabench.errors import ExitCode, UserError, told
from milabench.streams import Log, Output, reopen_closed

VERBS = {
    "install": ("milabench.cli.setup", "Make the environments of a suite."),
    "prepare": ("milabench.cli.setup", "Fetch or make the data of a suite."),
    "run": ("milabench.cli.run", "Run a suite and report; --all installs and prepares first."),
    "submit": ("milabench.cli.submit", "Run a suite as a job of a Slurm cluster, and follow it."),
    "resume": ("milabench.cli.resume", "Go on with a run that was cut off."),
    "status": ("milabench.cli.status", "Show how far a run is, from another terminal too."),
    "doctor": ("milabench.cli.doctor", "Find what stands in the way of a run, or would spoil its numbers."),
    "system": ("milabench.cli.system", "Print a system file: of this machine, of hosts, of a Slurm allocation."),
    "logs": ("milabench.cli.logs", "Show what the processes of a benchmark printed."),
    "report": ("milabench.cli.report", "Report on run directories."),
    "compare": ("milabench.cli.compare", "Say what is faster or slower in one run than in another, and what changed."),
    "plan": ("milabench.cli.plan", "Show every process that would be started."),
    "check": ("milabench.cli.check", "Find all mistakes in a suite or system file."),
    "list": ("milabench.cli.check", "List the benchmarks of a suite."),
    "explain": ("milabench.cli.explain", "Show where each value of a benchmark comes from."),
    "resolve": ("milabench.cli.resolve", "Print a suite with everything worked out, as a suite of its own."),
    "schema": ("milabench.cli.schema", "Print the JSON Schema of suite or system files."),
    "new": ("milabench.cli.new", "Start a benchmark from a template."),
    "dev": ("milabench.cli.dev", "Open a shell, or run a command, as a benchmark's process."),
    "pin": ("milabench.cli.pin", "Lock the requirements of benchmarks for a vendor."),
    "bundle-env": ("milabench.cli.bundle", "Pack a suite for a machine without a network."),
    "exec": ("milabench.cli.exec", "Run a command on nodes, over SSH or in a Slurm allocation."),
    "clean": ("milabench.cli.clean", "Remove environments, caches and data."),
}


_FUNCTIONS = {"list": "list_", "bundle-env": "bundle_env", "exec": "exec_"}  # of verbs that Python has other uses for


class ReaderGone(Exception):
    """Nobody reads standard output any more, which is nobody's mistake; click would make an EPIPE exit code 1."""


@contextmanager
def _told_apart() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise ReaderGone from None


class Verbs(click.Group):
    """The verbs of VERBS; a verb's module holds a command of its name."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _told_apart():  # --help prints here
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _told_apart():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(VERBS[cmd_name][0])
        command: click.Command = getattr(module, _FUNCTIONS.get(cmd_name, cmd_name))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], VERBS, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            ctx.fail(f"no command {args[0]!r}{hint}: see `milabench --help`")
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="milabench")
def cli() -> None:
    """Benchmark suites for accelerators: one YAML file, every device, a verdict.

    \b
    milabench run --all --config quickstart    install, prepare, run, report
    milabench plan --config standard --arch cuda --gpus 8
    """


def main() -> None:
    """Run the command line; a user's mistake is one message and its exit code, never a traceback."""
    gc.disable()  # what a verb reads it keeps to its end: looking for cycles in 50,000 jobs took half of the time
    reopen_closed()
    if isinstance(sys.stdout, io.TextIOWrapper) and isinstance(sys.stderr, io.TextIOWrapper):
        sys.stdout, sys.stderr = Output(sys.stdout), Log(sys.stderr)
    try:
        code = cli.main(standalone_mode=False)
        with _told_apart():
            sys.stdout.flush()
    except UserError as error:
        print(f"milabench: {_without_secrets(str(error))}", file=sys.stderr)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt):
        print("milabench: interrupted", file=sys.stderr)
        code = ExitCode.INTERRUPTED
    except ReaderGone:
        code = ExitCode.OK
    except OSError as error:
        print(f"milabench: {_without_secrets(told(error))}", file=sys.stderr)
        code = ExitCode.ENVIRONMENT
    except Exception:
        import traceback

        traceback.print_exc()
        print(
            f"milabench: this is a bug of milabench {__version__}, please report it with the lines above",
            file=sys.stderr,
        )
        code = ExitCode.BUG
    sys.exit(int(code or 0))


def _without_secrets(message: str) -> str:
    """Return a message with the values of the operator's secrets by name."""
    from milabench.plan.environ import redacted_message, secrets

    return redacted_message(message, secrets(os.environ))
