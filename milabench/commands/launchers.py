"""Programs that start a script: voir, torchrun, accelerate. A launcher is a class here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from milabench.commands.base import Command, SimpleCommand, TransparentCommand, WrapperCommand
from milabench.launchtime import TEMPORARY, port_token
from milabench.paths import joined
from milabench.utils import select_nodes

RENDEZVOUS_PORT = 29400
RENDEZVOUS_SPARE_S = 60
# As --standalone has it, at a port that the kernel chooses, so that several may run side by side; but that looks for
# the names localhost and the node's own, which may be known to nobody.
_ALONE = ("--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1")
# Who asks torchrun for logs of ranks, or says where, is to find them. Else it makes a folder for empty files, which it
# never removes.
_LOGS = ("-r", "--redirects", "-t", "--tee", "--log-dir", "--log_dir")


class VoirCommand(WrapperCommand):
    """A script run under voir with the folder's ``voirfile.py``; where there is none the script runs by itself."""

    def __init__(self, executor: Command, *voir_argv: object, **options: Any) -> None:
        options.pop("module", None)  # accepted for benchfiles written for milabench: there is one way to launch here
        super().__init__(executor, *voir_argv, **options)
        file = joined(self.pack.dirs.code, "voirfile.py")
        self.voirfile = str(file) if self.pack.has(file.name) else None

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


class ActivatorCommand(TransparentCommand):
    """The same command: every process has its environment activated already."""


class TorchrunAllGPU(WrapperCommand):
    """A script under torchrun, a rank per device that the command is given; with one device the script by itself.

    On a CPU there are ``cpu_ranks`` ranks (1: the script by itself) that share the cores. A benchmark placed
    ``per_gpu`` has one device. ``module``: the command within names a module, and is no script that says so itself.
    """

    def __init__(
        self, executor: Command, *torchrun_argv: object, module: bool = False, cpu_ranks: int = 1, **options: Any
    ) -> None:
        super().__init__(executor, *torchrun_argv, **options)
        self.module, self.cpu_ranks = module, cpu_ranks

    @property
    def binfolder(self) -> str:
        return str(self.pack.dirs.venv)

    @property
    def executable(self) -> str:
        """The launcher: another one that takes torchrun's options may take its place in a subclass."""
        return f"{self.binfolder}/bin/torchrun"

    def device_count(self) -> int:
        """Return the number of ranks on one node."""
        config = self.pack.config
        if config["plan"]["method"] == "per_gpu":
            return 1
        if config["system"]["arch"] == "cpu":
            return min(self.cpu_ranks, int(config["system"]["cpu"]["count"]))
        return len(config.get("devices") or ())

    def should_wrap(self) -> bool:
        """Say whether the launcher is needed."""
        return self.device_count() > 1 or self._spans_nodes()

    @property
    def options(self) -> dict[str, Any]:
        if not self.should_wrap():
            return super().options
        given = super().options
        env = {} if _asks_for_logs(self) else {"PET_LOG_DIR": TEMPORARY}  # as --log-dir
        if self.pack.config["system"]["arch"] == "cpu":
            threads = max(self.pack.config["system"]["cpu"]["count"] // self.device_count(), 1)
            env["OMP_NUM_THREADS"] = str(threads)
        return {**given, "ranks": self.device_count(), "env": {**env, **given.get("env", {})}}

    def script(self) -> list[str] | None:
        return None if self.should_wrap() else self.wrapped.script()

    def argv(self) -> list[str]:
        if not self.should_wrap():
            return self.inner_argv
        return [self.executable, *self._flags(), *self._program()]

    def _flags(self) -> list[str]:
        own = [*self.wrapper_argv]
        if self.pack.config["plan"]["method"] != "per_gpu":
            own.append(f"--nproc-per-node={self.device_count()}")
        if len(own) > len(self.wrapper_argv) and not self._spans_nodes():
            own += _ALONE
        if self.options.get("use_stdout") and not any("--local-ranks-filter" in word for word in own):
            own.append("--local-ranks-filter=0")  # the ranks print the same metrics
        return own

    def _program(self) -> list[str]:
        script = self.wrapped.script()
        if script is not None:
            return ["-m", "--", *script[1:]] if script[0] == "-m" else ["--", *script]
        argv = self.inner_argv
        if isinstance(self.wrapped, SimpleCommand):  # a launcher that has programs of its own, by name or by file
            return [*([] if argv and "/" in argv[0] and not self.module else ["-m"]), "--", *argv]
        return ["-m" if self.module else "--no-python", "--", *argv]

    def _spans_nodes(self) -> bool:
        return any(word.startswith("--node-rank") for word in self.wrapper_argv)


class AccelerateLaunchCommand(WrapperCommand):
    """A script under ``accelerate launch``, a process per device on every node the benchmark is given.

    ``use_deepspeed`` and ``gradient_accumulation_steps`` are keys of the suite's entry. On CPUs a node has one process,
    and accelerate starts it without saying which rank it is: the variables that torchrun would set are given here.
    """

    def __init__(self, executor: Command, rank: int = 0, *accelerate_argv: object, **options: Any) -> None:
        super().__init__(executor, *accelerate_argv, **options)
        self.rank = rank

    @property
    def nodes(self) -> list[Mapping[str, Any]]:
        return select_nodes(self.pack.config["system"]["nodes"], self.pack.config.get("num_machines", 1))

    @property
    def options(self) -> dict[str, Any]:
        devices = self._devices()
        options = {**super().options, "ranks": devices}
        if self.pack.config["system"]["arch"] != "cpu":
            return options
        place = {"RANK": self.rank, "WORLD_SIZE": len(self.nodes), "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
        return {**options, "env": {**{name: str(value) for name, value in place.items()}, **options.get("env", {})}}

    def argv(self) -> list[str]:
        config, nodes, devices = self.pack.config, self.nodes, self._devices()
        script = self.wrapped.script() or self.wrapped.argv()
        return [
            f"{self.pack.dirs.venv}/bin/accelerate",
            "launch",
            "--mixed_precision=bf16",
            "--dynamo_backend=no",
            f"--machine_rank={self.rank}",
            f"--num_machines={len(nodes)}",
            *self._parallelism(devices * len(nodes)),
            f"--gradient_accumulation_steps={config.get('gradient_accumulation_steps', 1)}",
            f"--num_cpu_threads_per_process={self.pack.resolve_argument('--cpus_per_gpu', 4)}",
            f"--main_process_ip={nodes[0]['ip']}",
            f"--main_process_port={rendezvous_port(self)}",
            *(f"--rdzv_conf={word}" for word in rendezvous_timeout(self) if len(nodes) > 1),
            f"--num_processes={devices * len(nodes)}",
            *([] if _asks_for_logs(self) else [f"--log_dir={TEMPORARY}"]),
            *self.wrapper_argv,
            *script,
        ]

    def _devices(self) -> int:
        """Return the number of processes on one node."""
        return max(len(self.pack.config.get("devices") or ()), 1)

    def _parallelism(self, processes: int) -> list[str]:
        if self.pack.config["system"]["arch"] == "cpu":
            return ["--cpu"]
        if self.pack.config.get("use_deepspeed"):
            return ["--use_deepspeed", "--deepspeed_multinode_launcher=standard", "--zero_stage=2"]
        return ["--multi_gpu"] if processes > 1 else []


def _asks_for_logs(command: WrapperCommand) -> bool:
    return any(str(word).partition("=")[0] in _LOGS for word in command.wrapper_argv)


def rendezvous_port(command: Command) -> str:
    """Return what stands for the port that ranks of several nodes meet at: ``torchrun.port``, or the next free one."""
    return port_token(int(_option(command, "port") or RENDEZVOUS_PORT))


def rendezvous_timeout(command: Command) -> list[str]:
    """Return how long nodes wait for each other: the word of ``--rdzv-conf``, none where the launcher's own holds.

    The runner, which says what to check, is to be the first that gives up.
    """
    within_s = _option(command, "first_event_s")
    return [f"timeout={math.ceil(within_s) + RENDEZVOUS_SPARE_S}"] if within_s else []


def _option(command: Command, name: str) -> Any:
    """Return an option of torchrun, None where the system has none of that name."""
    options = command.pack.config["system"].get("options") or {}
    return options.get(f"torchrun.{name}", (options.get("torchrun") or {}).get(name))
