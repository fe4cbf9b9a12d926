"""Combinators that say what to launch; the leaves hold a package, the others wrap or multiply commands.

They are the launchers. ``build_run_plan`` returns one; the plan multiplies it over devices and renders it. Methods that
change a command return a changed copy. Standard library only.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

    from milabench.pack import BasePackage

Rendered = tuple["BasePackage", list[str], dict[str, Any]]


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
        """Return the same command for another package (another device, another node)."""
        clone = copy.copy(self)
        if self.exec is not None:
            clone.exec = self.exec.copy(pack)
        else:
            clone._pack = pack
        return clone

    def packs(self) -> Iterator[BasePackage]:
        yield self.pack

    def commands(self) -> Iterator[Rendered]:
        """Yield (package, argv, options) of every process."""
        script = self.script()
        yield self.pack, ([self.pack.python, *script] if script is not None else self.argv()), self.options

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
        if lazy and arguments and arguments == pack.argv:
            arguments = []
        named = bool(arguments) and pack.has(arguments[0])
        super().__init__(pack, *(arguments[1:] if named else arguments), **options)
        self.main = arguments[0] if named else None
        self.lazy = lazy

    def script(self) -> list[str]:
        name = self.main or self.pack.main_script
        folder = (self.pack.definition / name).is_dir() or (self.pack.dirs.code / name).is_dir()
        arguments = self.pack.argv if self.lazy else self.cmd_argv
        return [*(["-m", name] if folder else [str(self.pack.dirs.code / name)]), *arguments]

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

    def argv(self) -> list[str]:
        ((_, inner, _),) = self.wrapped.commands()
        return [*self.wrapper_argv, *inner]


class VoirCommand(WrapperCommand):
    """A script run under voir with the folder's ``voirfile.py``; where there is none the script runs by itself."""

    def __init__(self, executor: Command, *voir_argv: object, **options: Any) -> None:
        options.pop("module", None)  # accepted for benchfiles written for milabench: there is one way to launch here
        super().__init__(executor, *voir_argv, **options)

    @property
    def voirfile(self) -> str | None:
        return str(self.pack.dirs.code / "voirfile.py") if self.pack.has("voirfile.py") else None

    @property
    def options(self) -> dict[str, Any]:
        options = super().options
        if self.voirfile is None:
            return options
        return {**options, "env": {"VOIRFILE": self.voirfile, **options.get("env", {})}}

    def script(self) -> list[str] | None:
        inner = self.wrapped.script()
        if inner is None or self.voirfile is None:
            return inner
        return ["-m", "benchmate.overseer", *self.wrapper_argv, *inner]

    def argv(self) -> list[str]:
        return self.wrapped.argv()


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

    def copy(self, pack: BasePackage) -> Self:
        clone = copy.copy(self)
        clone.executors = tuple(executor.copy(pack) for executor in self.executors)
        return clone

    def commands(self) -> Iterator[Rendered]:
        for executor in self.executors:
            for pack, argv, options in executor.commands():
                yield pack, argv, {**options, **self._options}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.executors))})"


class PerGPU(ListCommand):
    """One copy of a command per device, ``D<id>`` in its tag; every copy sees its own device only."""

    def __init__(self, executor: Command, gpus: Sequence[Mapping[str, Any]], **options: Any) -> None:
        pack = executor.pack
        super().__init__(
            *(
                executor.copy(
                    pack.copy(
                        {
                            "tag": [*pack.config["tag"], f"D{gpu['device']}"],
                            "device": gpu["device"],
                            "devices": [gpu["device"]],
                        }
                    )
                )
                for gpu in gpus
            ),
            **options,
        )


class NJobs(ListCommand):
    """``n`` copies of a command that all see the given devices, or disjoint shares of them."""

    def __init__(
        self, executor: Command, n: int, gpus: Sequence[Mapping[str, Any]] = (), *, share: bool = False, **options: Any
    ) -> None:
        pack, ids = executor.pack, [gpu["device"] for gpu in gpus]
        super().__init__(
            *(
                executor.copy(
                    pack.copy(
                        {
                            "tag": [*pack.config["tag"], str(index)] if n > 1 else list(pack.config["tag"]),
                            "job-number": index,
                            "devices": ids[index::n] if share else ids,
                        }
                    )
                )
                for index in range(n)
            ),
            **options,
        )
