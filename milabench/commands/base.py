"""What all combinators share, and the plain ones: leaves that hold a package, commands around one, lists of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from milabench.paths import joined

if TYPE_CHECKING:
    from typing_extensions import Self

    from milabench.pack import BasePackage

Rendered = tuple["BasePackage", list[str], dict[str, Any]]
Change = Callable[["BasePackage"], "BasePackage"]


class Unplaced(Exception):
    """A command that cannot be started on the nodes that it is given; the text says why."""


class Command:
    """What to launch for a package, and with which options (``use_stdout``, ``cwd``, ``env``)."""

    def __init__(self, child: Command | BasePackage | None, **options: Any) -> None:
        self.exec = child if isinstance(child, Command) else None
        self._pack = None if isinstance(child, Command) else child
        self._options = options

    @property
    def pack(self) -> BasePackage:
        if self._pack is not None:
            return self._pack
        assert self.exec is not None
        return self.exec.pack

    @property
    def options(self) -> dict[str, Any]:
        """All options, an outer command's over those of the commands it wraps."""
        return {**(self.exec.options if self.exec else {}), **self._options}

    def set_run_options(self, **options: Any) -> Self:
        """Return the command with further options."""
        clone = copy.copy(self)
        clone._options = {**self._options, **options}
        return clone

    def use_stdout(self) -> Self:
        """Return the command as one whose metrics are JSON lines on its standard output."""
        return self.set_run_options(use_stdout=True)

    def copy(self, pack: BasePackage) -> Self:
        """Return the same command for another package (another node)."""
        return self.with_packs(lambda _: pack)

    def with_packs(self, change: Change) -> Self:
        """Return the same command with each of its packages changed (placed on a device, say)."""
        clone = copy.copy(self)
        if self.exec is not None:
            clone.exec = self.exec.with_packs(change)
        elif self._pack is not None:
            clone._pack = change(self._pack)
        return clone

    def packs(self) -> Iterator[BasePackage]:
        yield self.pack

    def jobs(self) -> Iterator[Command]:
        """Yield the commands whose processes live and die together."""
        yield self

    def commands(self) -> Iterator[Rendered]:
        """Yield (package, argv, options) of every process."""
        script = self.script()
        yield self.pack, ([self.pack.interpreter, *script] if script is not None else self.argv()), self.options

    def argv(self) -> list[str]:
        """Return the whole argv of a command that is no Python script."""
        raise TypeError(f"{type(self).__name__} defines neither argv() nor script()")

    def script(self) -> list[str] | None:
        """Return what follows ``python`` in the argv, or None when the command is no Python script."""
        return None

    def __repr__(self) -> str:
        inner = repr(self.exec) if self.exec else "pack"
        return f"{type(self).__name__}({inner})"


class CmdCommand(Command):
    """Any program: its argv as given."""

    def __init__(self, pack: BasePackage, *argv: object, **options: Any) -> None:
        super().__init__(pack, **options)
        self.cmd_argv = [str(item) for item in argv]

    def argv(self) -> list[str]:
        return list(self.cmd_argv)


class PackCommand(CmdCommand):
    """A script of the package: ``main_script``, or the first argument where that names a file or folder of it.

    ``lazy``: take the arguments from the package when the plan is rendered, for the device and node at hand; the
    package's own arguments, as many benchfiles pass them beside it, are not looked at.
    """

    def __init__(self, pack: BasePackage, *script_argv: object, lazy: bool = False, **options: Any) -> None:
        arguments = [str(item) for item in script_argv]
        if lazy and arguments == [str(item) for item in pack.argv]:
            arguments = []
        named = bool(arguments) and (pack.has(arguments[0]) or PurePath(arguments[0]).is_relative_to(pack.dirs.code))
        super().__init__(pack, *(arguments[1:] if named else arguments), **options)
        self.main = arguments[0] if named else None
        self.lazy = lazy

    def script(self) -> list[str]:
        name = self.main or self.pack.main_script
        written, staged = joined(self.pack.definition, name), joined(self.pack.dirs.code, name)
        arguments = map(str, self.pack.argv) if self.lazy else self.cmd_argv
        return [*(["-m", name] if written.is_dir() or staged.is_dir() else [str(staged)]), *arguments]

    def argv(self) -> list[str]:
        return self.script()


class WrapperCommand(Command):
    """A command before a command: ``numactl --membind 0 <command>``."""

    def __init__(self, executor: Command, *wrapper_argv: object, **options: Any) -> None:
        super().__init__(executor, **options)
        self.wrapper_argv = [str(item) for item in wrapper_argv]

    @property
    def wrapped(self) -> Command:
        assert self.exec is not None
        return self.exec

    @property
    def inner_argv(self) -> list[str]:
        """The whole argv of the command within, its interpreter included."""
        processes = [argv for _, argv, _ in self.wrapped.commands()]
        if len(processes) != 1:
            raise TypeError(f"{type(self).__name__} goes around one process: {self.wrapped!r} starts {len(processes)}")
        return processes[0]

    def argv(self) -> list[str]:
        return [*self.wrapper_argv, *self.inner_argv]


class SimpleCommand(Command):
    """The package's own arguments and nothing before them: what a launcher with a program of its own is given."""

    def __init__(self, pack: BasePackage, *arguments: object, **options: Any) -> None:
        super().__init__(pack, **options)
        self.arguments = [str(item) for item in arguments]

    def argv(self) -> list[str]:
        return [*map(str, self.pack.argv), *self.arguments]


class TransparentCommand(WrapperCommand):
    """A command that adds options to another and leaves its argv as it is."""

    def script(self) -> list[str] | None:
        return self.wrapped.script()

    def argv(self) -> list[str]:
        return self.inner_argv


class WorkingDir(TransparentCommand):
    """The same command, started in the package's working directory whatever its own ``cwd`` says."""

    @property
    def options(self) -> dict[str, Any]:
        return {**super().options, "cwd": self.pack.working_directory}


class ListCommand(Command):
    """Commands that run at the same time and live and die together."""

    def __init__(self, *executors: Command, **options: Any) -> None:
        super().__init__(None, **options)
        self.executors: tuple[Command, ...] = executors

    @property
    def pack(self) -> BasePackage:
        return self.executors[0].pack

    @property
    def options(self) -> dict[str, Any]:
        return {**self.executors[0].options, **self._options}

    def packs(self) -> Iterator[BasePackage]:
        for executor in self.executors:
            yield from executor.packs()

    def jobs(self) -> Iterator[Command]:
        """Yield what lives and dies together: the whole list, or each of its parts where some follow each other."""
        parts = [job for executor in self.executors for job in executor.jobs()]
        if any(isinstance(job, SequenceCommand) for job in parts):
            yield from parts
        else:
            yield self

    def with_packs(self, change: Change) -> Self:
        clone = copy.copy(self)
        clone.executors = tuple(executor.with_packs(change) for executor in self.executors)
        return clone

    def commands(self) -> Iterator[Rendered]:
        for executor in self.executors:
            for pack, argv, options in executor.commands():
                yield pack, argv, {**options, **self._options}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.executors))})"


class SequenceCommand(ListCommand):
    """Commands, a process each, that run one after the other until one fails, within the deadline of the whole.

    The last one measures; those before it prepare.
    """

    def jobs(self) -> Iterator[Command]:
        yield self

    def commands(self) -> Iterator[Rendered]:
        for executor in self.executors:
            processes = list(executor.commands())
            if len(processes) != 1:
                raise TypeError(f"a sequence runs one process at a time, and {executor!r} starts {len(processes)}")
            pack, argv, options = processes[0]
            silent = {"silent": True} if executor is not self.executors[-1] else {}
            yield pack, argv, {**options, **self._options, **silent}
