"""The run phase: each benchmark placed on the system's devices and rendered into processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count as numbered
from typing import Any, Literal

from milabench import expression
from milabench.commands import SILENT, NJobs, PerGPU, SequenceCommand
from milabench.commands import Command as Combinator
from milabench.errors import ConfigurationError, Problem
from milabench.pack import BasePackage
from milabench.package import CannotBePlaced, evaluate, overrides, render
from milabench.plan import environ, placeholders
from milabench.plan.context import Context
from milabench.plan.site import Site
from milabench.plan.types import Command, Job, Ranks, Skip, Trial
from milabench.problems import Code
from milabench.suite.types import Benchmark, Placement
from milabench.system.types import Device, Node
from milabench.tokens import ExpressionError

_SILENT_SHARE = 0.8  # of the time that a benchmark may take
SLICES = "would give one process several MIG slices, and CUDA shows a process one only: place it per_gpu"


def placed(context: Context) -> tuple[list[Context], list[Skip]]:
    """Return the benchmark on each node that it is placed on, and why it is not on others."""
    contexts = [context.on(node) for node in context.system.nodes] if context.is_on_all else [context]
    reasons = [skip_reason(each) for each in contexts]
    able = [each for each, reason in zip(contexts, reasons, strict=True) if reason is None]
    name = context.benchmark.name
    if not able and len(set(reasons)) == 1:
        return [], [Skip(benchmark=name, reason=str(reasons[0]))]
    return able, [
        Skip(benchmark=name, reason=f"not on {each.node.name}: {reason}")
        for each, reason in zip(contexts, reasons, strict=True)
        if reason is not None
    ]


def skip_reason(context: Context) -> str | None:
    """Return why a benchmark cannot run on its node, or None."""
    benchmark, nodes = context.benchmark, context.system.nodes
    values = {**context.values, "num_machines": benchmark.nodes}
    for index, requirement in enumerate(benchmark.requires):
        if not _holds(requirement, values, benchmark, f"requires_capabilities[{index}]"):
            return f"requires {requirement}"
    if benchmark.nodes > len(nodes):
        return f"needs {benchmark.nodes} machines, the system has {len(nodes)}"
    placement, count = benchmark.placement, len(context.node.devices)
    if placement.method == "per_gpu" and count == 0:
        return "per_gpu starts a process per device, and there is no device"
    if placement.method == "njobs" and placement.share and placement.n > count:
        return f"n: {placement.n} copies cannot share {count} device{'s' if count != 1 else ''}"
    used = nodes[: benchmark.nodes] if benchmark.nodes > 1 else [context.node]
    if any(_has_slice_beside(group) for node in used for group in _groups(placement, node.devices)):
        return f"{placement.method} {SLICES}, or as njobs with share: true and n: {count}"
    return None


def _holds(requirement: str, values: Mapping[str, Any], benchmark: Benchmark, path: str) -> bool:
    """Return whether a condition holds. Raises ConfigurationError for one that cannot be computed of this system."""
    try:
        return expression.holds(requirement, values)
    except ExpressionError as error:
        where = f"{benchmark.name}.{path}"
        message = f"{where}: {error}"
        problem = Problem(code=Code.BAD_CAPABILITY.code, message=message, mark=benchmark.place(path), path=where)
        raise ConfigurationError([problem]) from None


def _has_slice_beside(devices: Sequence[Device]) -> bool:
    return len(devices) > 1 and any(device.parent is not None for device in devices)


def _groups(placement: Placement, devices: tuple[Device, ...]) -> list[tuple[Device, ...]]:
    """Return the devices of each process that a node's placement makes."""
    match placement.method:
        case "per_gpu":
            return [(device,) for device in devices]
        case "njobs":
            return [devices[index :: placement.n] if placement.share else devices for index in range(placement.n)]
        case "per_node":
            return [devices]


def trials(context: Context, repeats: int) -> Iterator[Trial | Skip]:
    """Yield the trials of one benchmark, and the reason where it is skipped.

    What is on several nodes is one trial, since it runs on all at the same time (they may share a file system, or the
    power), and a job for each, since one that fails says nothing about the others.
    """
    contexts, skipped = placed(context)
    yield from skipped
    for repeat in range(repeats if contexts else 0):
        tag = [context.benchmark.name, *([f"R{repeat}"] if repeat else [])]
        try:
            jobs = tuple(job for each in contexts for job in _jobs(each, tag))
        except CannotBePlaced as error:
            yield Skip(benchmark=context.benchmark.name, reason=error.reason)
            return
        yield Trial(benchmark=context.benchmark.name, repeat=repeat, jobs=jobs)


def _jobs(context: Context, tag: list[str]) -> Iterator[Job]:
    tag = [*tag, context.node.name] if context.is_on_all else tag
    if context.package is None:
        yield _program_job(context, tag)
    else:
        yield from _package_jobs(context, context.package, tag)


def _package_jobs(context: Context, package: type[BasePackage], tag: list[str]) -> Iterator[Job]:
    benchmark, node = context.benchmark, context.node
    config = context.package_config("run", tag)
    if overrides(package, "run"):
        package = _runs_itself(package, context.site)
    answer = evaluate(package, config, node.environ)
    command = _placed(answer.command, context)
    changed = {name: value for name, value in answer.env_delta.items() if value is not None}
    given, secrets = context.split_secrets({**changed, **answer.env, **context.own_env})
    env = {**context.environ(activated=True), **given}
    for part, processes in render(command, node.environ, str(benchmark.definition)):
        commands: list[Command] = []
        for pack, argv, options in processes:
            own, more = context.split_secrets({name: str(value) for name, value in options.get("env", {}).items()})
            secrets |= more
            node = _node(context, options)
            there = env if node is context.node else {**context.environ(activated=True, node=node), **given}
            commands.append(_command(context, pack, argv, options, {**there, **own}))
        commands = list(_grouped(_told_apart(commands)))
        yield _job(context, tag, tuple(commands), secrets, sequence=isinstance(part, SequenceCommand))


def _node(context: Context, options: Mapping[str, Any]) -> Node:
    """Return the node that a rendered process is for: the one its options name, else the benchmark's own."""
    name = options.get("node", context.node.name)
    return next((node for node in (context.node, *context.system.nodes) if node.name == name), context.node)


def _told_apart(commands: Sequence[Command]) -> tuple[Command, ...]:
    """Return the commands with a number at the end of the tags that several have: a tag names files."""
    numbers = {command.tag: numbered(1) for command in commands}
    shared = Counter(command.tag for command in commands)
    return tuple(
        replace(command, tag=f"{command.tag}.{next(numbers[command.tag])}") if shared[command.tag] > 1 else command
        for command in commands
    )


def _grouped(commands: Iterable[Command]) -> Iterator[Command]:
    """Yield the commands with the tag of the one that leads their group: it comes before those it leads."""
    leader = ""
    for command in commands:
        ranks = command.ranks
        leader = command.tag if ranks is not None and not ranks.first else leader
        yield command if ranks is None else replace(command, ranks=replace(ranks, leader=leader))


def _program_job(context: Context, tag: list[str]) -> Job:
    benchmark, program = context.benchmark, context.benchmark.program
    assert program is not None
    argv = placeholders.resolve(program.argv, context.known)
    given, secrets = context.split_secrets(context.own_env)
    env = {**context.environ(activated=False), **given}
    commands = tuple(
        Command(
            tag=".".join([*tag, *suffix]),
            benchmark=benchmark.name,
            node=context.node.name,
            argv=argv,
            cwd=program.cwd if program.placed or context.node.local else context.dirs.base,
            devices=ids,
            env={**env, **environ.devices(context.system.arch, context.node, ids)},
            metrics="stdout",
            container=context.container,
        )
        for suffix, ids in _program_places(context)
    )
    return _job(context, tag, commands, secrets)


def _program_places(context: Context) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    placement = context.benchmark.placement
    for index, group in enumerate(_groups(placement, context.node.devices)):
        ids = tuple(device.id for device in group)
        copy = [str(index)] if placement.n > 1 else []
        yield [f"D{ids[0]}"] if placement.method == "per_gpu" else copy, ids


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


def _command(
    context: Context, pack: BasePackage, argv: list[str], options: Mapping[str, Any], env: Mapping[str, str]
) -> Command:
    benchmark, node = context.benchmark, _node(context, options)
    ids = tuple(pack.config.get("devices") or ())
    tag = [part for part in pack.config["tag"] if part != SILENT]
    metrics: Literal["stdout", "file", "none"] = "stdout" if options.get("use_stdout") else "file"
    if len(tag) < len(pack.config["tag"]) or options.get("silent") or options.get("service"):
        metrics = "none"
    if context.secrets:
        context.refuse_secrets(argv)
    ranks, service = _ranks(node, options), bool(options.get("service"))
    there = environ.network(node) if ranks is not None and ranks.nodes > 1 else {}
    return Command(
        tag=".".join(tag),
        benchmark=benchmark.name,
        node=options.get("node") or node.name,
        rank=options.get("rank", 0),
        argv=placeholders.resolve(argv, context.known),
        cwd=str(options["cwd"]),
        devices=ids,
        env={**there, **env, **environ.devices(context.system.arch, node, ids)},
        metrics=metrics,
        service=service,
        ready=context.ready if service and (ranks is None or ranks.first == 0) else None,
        ranks=ranks,
        container=context.on(node).container,
    )


def _ranks(node: Node, options: Mapping[str, Any]) -> Ranks | None:
    """Return the ranks that a launcher starts on a node; whose group it is is said once all tags are known."""
    count, nodes = options.get("ranks"), options.get("nodes", 1)
    if not count:
        return None
    known = {"address": node.address, "interface": node.interface or ""} if nodes > 1 else {}
    return Ranks(leader="", first=options.get("first_rank", 0), count=count, nodes=nodes, **known)


def _job(
    context: Context, tag: list[str], commands: tuple[Command, ...], secrets: set[str], *, sequence: bool = False
) -> Job:
    return Job(
        tag=".".join(tag),
        commands=commands,
        deadline_s=context.benchmark.max_duration_s,
        stop="runner" if any(command.metrics == "stdout" for command in commands) else "self",
        limit=context.benchmark.limit,
        sequence=sequence,
        staged=context.staged,
        secrets=tuple(sorted(secrets)),
        first_event_s=_first_event_s(context, commands),
    )


def _first_event_s(context: Context, commands: Sequence[Command]) -> float | None:
    """Return how long ranks of a group may be silent: less than the benchmark may take, so that it is told."""
    within_s = context.system.options["torchrun.first_event_s"]
    if not within_s or not any(command.ranks is not None and command.ranks.is_group for command in commands):
        return None
    return float(min(within_s, _SILENT_SHARE * context.benchmark.max_duration_s))


def _runs_itself(package: type[BasePackage], site: Site) -> type[BasePackage]:
    """Return a package whose plan awaits the benchfile's own ``run()`` in a child process."""
    from milabench.commands import CmdCommand

    def build_run_plan(self: BasePackage) -> Combinator:
        return CmdCommand(self, *site.module("milabench.agent.package", "run"))

    return type(package.__name__, (package,), {"build_run_plan": build_run_plan})
