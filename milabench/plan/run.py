"""The run phase: each benchmark placed on the system's devices and rendered into processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from milabench import expression
from milabench.commands import Command as Combinator
from milabench.commands import NJobs, PerGPU, Rendered
from milabench.pack import BasePackage
from milabench.package import evaluate, overrides, render
from milabench.plan import environ, placeholders
from milabench.plan.site import Dirs, Site
from milabench.plan.types import Command, Job, Skip, Staged, Trial
from milabench.suite.types import Benchmark
from milabench.system.types import Node, System

MAIN_NODE = 0


@dataclass(frozen=True, kw_only=True)
class Context:
    """One benchmark on its way into a plan: what is the same for all its processes."""

    benchmark: Benchmark
    package: type[BasePackage] | None
    system: System
    site: Site
    values: Mapping[str, Any]  # the system as conditions and benchfiles see it
    code: str | None  # name of the staged folder

    @property
    def node(self) -> Node:
        return self.system.nodes[MAIN_NODE]

    @cached_property
    def dirs(self) -> Dirs:
        return self.site.dirs(self.benchmark.group, self.benchmark.install_group, self.code)

    @property
    def staged(self) -> tuple[Staged, ...]:
        if self.benchmark.definition is None:
            return ()
        return (Staged(source=self.benchmark.definition, target=self.dirs.code),)

    @cached_property
    def known(self) -> dict[str, str]:
        return placeholders.values(self.system, self.node, self.dirs, self.benchmark.name)

    @cached_property
    def config(self) -> dict[str, Any]:
        """Return what the benchmark's processes see as MILABENCH_CONFIG, before a process adds its tag and devices."""
        known, argv = self.known, self.benchmark.config.get("argv") or {}
        config = {**self.benchmark.config, "dirs": self.dirs.as_mapping()}
        if isinstance(argv, Mapping):
            config["argv"] = {key: self._resolved(value, known) for key, value in argv.items()}
        else:
            config["argv"] = [self._resolved(value, known) for value in argv]
        return config

    @property
    def variant(self) -> str:
        """Which locked requirements are installed: those of the architecture unless the suite says otherwise."""
        named = self.benchmark.variant
        return self.system.arch if named in (None, "${system.arch}") else str(named)

    def package_config(self, phase: str, tag: list[str]) -> dict[str, Any]:
        """Return the configuration a benchfile is evaluated with."""
        ids = [device.id for device in self.node.devices]
        return {
            **self.config,
            "definition": self.benchmark.definition,
            "install_variant": self.variant,
            "phase": phase,
            "tag": tag,
            "devices": ids,
            "device": ids[0] if ids else None,
            "system": self.values,
        }

    def environ(self, *, activated: bool) -> dict[str, str]:
        """Return the variables every process of the benchmark sees, the suite's own last."""
        known, benchmark = self.known, self.benchmark
        values = tuple(benchmark.env.values())
        own = zip(
            benchmark.env, placeholders.resolve(values, known, mark=benchmark.mark, name=benchmark.name), strict=True
        )
        return {
            **environ.folders(self.dirs),
            **environ.caches(self.dirs),
            **environ.threads(self.node),
            **(environ.activated(self.dirs, self.node) if activated else {}),
            "MILABENCH_ARCH": self.system.arch,
            "PYTHONUNBUFFERED": "1",
            **dict(own),
        }

    def _resolved(self, value: Any, known: Mapping[str, str]) -> Any:
        if not isinstance(value, str) or "{" not in value:
            return value
        return placeholders.resolve((value,), known, mark=self.benchmark.mark, name=self.benchmark.name)[0]


def skip_reason(context: Context) -> str | None:
    """Return why a benchmark cannot run on this system, or None."""
    benchmark, system = context.benchmark, context.system
    values = {**context.values, "num_machines": benchmark.nodes}
    for requirement in benchmark.requires:
        if not expression.holds(requirement, values):
            return f"requires {requirement}"
    if benchmark.nodes > len(system.nodes):
        return f"needs {benchmark.nodes} machines, the system has {len(system.nodes)}"
    if benchmark.nodes > 1:
        return f"needs {benchmark.nodes} machines: runs over several machines are not built yet"
    return None


def trials(context: Context, repeats: int) -> Iterator[Trial | Skip]:
    """Yield the trials of one benchmark, or the reason it is skipped."""
    if reason := skip_reason(context):
        yield Skip(benchmark=context.benchmark.name, reason=reason)
        return
    for repeat in range(repeats):
        tag = [context.benchmark.name, *([f"R{repeat}"] if repeat else [])]
        job = _program_job(context, tag) if context.package is None else _package_job(context, context.package, tag)
        yield Trial(benchmark=context.benchmark.name, repeat=repeat, jobs=(job,))


def _package_job(context: Context, package: type[BasePackage], tag: list[str]) -> Job:
    benchmark, node = context.benchmark, context.node
    config = context.package_config("run", tag)
    if overrides(package, "run"):
        package = _runs_itself(package, context.site)
    answer = evaluate(package, config, node.environ)
    placed = _placed(answer.command, context)
    changed, secrets = environ.split_secrets(answer.env_delta)
    env = {**context.environ(activated=True), **changed, **answer.env, **{k: str(v) for k, v in benchmark.env.items()}}
    commands = tuple(
        _command(context, rendered, env) for rendered in render(placed, node.environ, str(benchmark.definition))
    )
    return _job(context, tag, commands, secrets)


def _program_job(context: Context, tag: list[str]) -> Job:
    benchmark, program = context.benchmark, context.benchmark.program
    assert program is not None
    resolve = placeholders.resolve
    known = context.known
    argv = resolve(program.argv, known, mark=benchmark.mark, name=benchmark.name)
    env = {**context.environ(activated=False), **program.env}
    commands = tuple(
        Command(
            tag=".".join([*tag, *suffix]),
            benchmark=benchmark.name,
            node=context.node.name,
            argv=argv,
            cwd=program.cwd,
            devices=ids,
            env={**env, **environ.devices(context.system, ids)},
            metrics="stdout",
        )
        for suffix, ids in _program_places(context)
    )
    return _job(context, tag, commands, ())


def _program_places(context: Context) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    placement, ids = context.benchmark.placement, tuple(device.id for device in context.node.devices)
    match placement.method:
        case "per_gpu":
            yield from (([f"D{device}"], (device,)) for device in ids)
        case "njobs":
            for index in range(placement.n):
                yield [str(index)] if placement.n > 1 else [], ids[index :: placement.n] if placement.share else ids
        case "per_node":
            yield [], ids


def _placed(command: Combinator, context: Context) -> Combinator:
    placement = context.benchmark.placement
    gpus = [{"device": device.id} for device in context.node.devices]
    match placement.method:
        case "per_gpu":
            return PerGPU(command, gpus)
        case "njobs":
            return NJobs(command, placement.n, gpus, share=placement.share)
        case "per_node":
            return command


def _command(context: Context, rendered: Rendered, env: Mapping[str, str]) -> Command:
    pack, argv, options = rendered
    benchmark = context.benchmark
    ids = tuple(pack.config.get("devices") or ())
    metrics: Literal["stdout", "file"] = "stdout" if options.get("use_stdout") else "file"
    own = {key: str(value) for key, value in options.get("env", {}).items()}
    return Command(
        tag=pack.tag,
        benchmark=benchmark.name,
        node=context.node.name,
        argv=placeholders.resolve(argv, context.known, mark=benchmark.mark, name=benchmark.name),
        cwd=str(options.get("cwd") or pack.working_directory),
        devices=ids,
        env={**env, **own, **environ.devices(context.system, ids)},
        metrics=metrics,
    )


def _job(context: Context, tag: list[str], commands: tuple[Command, ...], secrets: tuple[str, ...]) -> Job:
    return Job(
        tag=".".join(tag),
        commands=commands,
        deadline_s=context.benchmark.max_duration_s,
        stop="runner" if any(command.metrics == "stdout" for command in commands) else "self",
        limit=context.benchmark.limit,
        staged=context.staged,
        secrets=secrets,
    )


def _runs_itself(package: type[BasePackage], site: Site) -> type[BasePackage]:
    """Return a package whose plan awaits the benchfile's own ``run()`` in a child process."""
    from milabench.commands import CmdCommand

    def build_run_plan(self: BasePackage) -> Combinator:
        return CmdCommand(self, *site.module("milabench.agent.package", "run"))

    return type(package.__name__, (package,), {"build_run_plan": build_run_plan})
