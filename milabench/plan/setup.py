"""The install and prepare phases: environments per install group, preparation per benchmark; each a job needed once.

Each is a trial with a job for every base of the nodes that need it: at the same time, since their disks are their own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from milabench import package
from milabench.pack import BasePackage
from milabench.package import overrides, requirements
from milabench.plan import bases, environ, placeholders, run
from milabench.plan.context import Context
from milabench.plan.site import Site
from milabench.plan.types import Command, Job, Once, Phase, Staged, Trial
from milabench.system.types import Node

DEADLINE_S = 7200.0
RECORD = ".milabench.json"  # written last into an environment: one without it is half made
# What tells installers, git and the libraries that fetch models and data to use no network.
OFFLINE = {
    "UV_OFFLINE": "1",
    "PIP_NO_INDEX": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "GIT_ALLOW_PROTOCOL": "file",
}


def kept(context: Context) -> list[Context]:
    """Return a benchmark on each node that must have, on its base, what it needs where it runs.

    Where it cannot run at all that is the main one: what is not there yet may be the reason.
    """
    able, _ = run.placed(context)
    wide = context.benchmark.nodes > 1 and able
    nodes = context.system.nodes[: context.benchmark.nodes] if wide else [each.node for each in able or [context]]
    keepers = bases.first_of_bases(context.system)
    there = {each.name: each for each in (keepers.get(bases.base_of(node), node) for node in nodes)}
    return [context.on(node) for node in there.values()]


def environment(contexts: Sequence[Context]) -> Once:
    """Return what the environment of an install group must hold for these benchmarks."""
    first = contexts[0]
    parts = {"benchmate": first.site.wheel}
    for context in contexts:
        parts |= {f"benchmate[{extra}]": first.site.wheel for extra in _extras(context)}
        if context.commit is not None:
            parts[f"{context.code}/commit"] = context.commit
        for source, locked in _requirements(context):
            parts[f"{context.code}/{source.name}"] = _hash(source) + (
                "" if locked else f"+{_constraints_hash(context)}"
            )
        if context.package is not None and overrides(context.package, "install"):
            parts[f"{context.code}/install"] = _hash(Path(str(context.benchmark.definition)) / "benchfile.py")
    return Once(
        record=f"{first.dirs.venv}/{RECORD}",
        folder=first.dirs.venv,
        base={
            "python": first.site.python_version,
            "installer": first.site.installer,
            "arch": first.system.arch,
            **_image(first),
        },
        parts=parts,
    )


def _image(context: Context) -> dict[str, str]:
    """Return what an environment made in a container is made of: the image has its Python."""
    if context.system.container is None:
        return {}
    return {"image": context.image.name if context.image else context.system.container}


def preparation(context: Context) -> Once | None:
    """Return what says that a benchmark's data is there, or None where it has nothing to prepare."""
    pack, definition = context.package, context.benchmark.definition
    if pack is None or definition is None:
        return None
    script = Path(definition) / pack.prepare_script if getattr(pack, "prepare_script", None) else None
    own = overrides(pack, "prepare") or overrides(pack, "build_prepare_plan")
    if not own and (script is None or not script.exists()):
        return None
    asked = json.dumps(context.config["argv"], sort_keys=True, default=str)
    argv = hashlib.sha256(asked.encode()).hexdigest()[:16]  # in the name: other suites may ask for other data
    made_by = Path(definition) / "benchfile.py" if own else script
    assert made_by is not None
    return Once(
        record=f"{context.dirs.extra}/prepared/{context.benchmark.name}.{argv}.json",
        folder=None,
        base={"data": context.dirs.data},
        parts={"script": _hash(made_by), "argv": argv, **({"bundle": context.site.data} if context.site.data else {})},
        always=True,
    )


def delivered(site: Site) -> Once:
    """Return what says that a base which is not this machine's has the data of the bundle, and not that of another."""
    record = f"{site.base}/extra/setup/delivered.json"
    return Once(record=record, folder=None, base={}, parts={"data": site.delivers}, always=True)


def is_delivered(context: Context) -> bool:
    """Say whether the base of a benchmark's node is to have the data of the bundle, and is not this machine's."""
    keeps = bases.keeper(context.system, context.node)
    return bool(context.here.delivers) and keeps in bases.apart(context.system)


def unpinned(contexts: Sequence[Context]) -> Iterator[str]:
    """Yield the requirement files that are installed as written, for want of a locked one."""
    for context in contexts:
        if context.variant != "unpinned" and context.site.bundle is None:
            yield from (f"{context.code}/{source.name}" for source, locked in _requirements(context) if not locked)


def install_trial(group: str, contexts: Sequence[Context]) -> Trial:
    """Return the making of one environment, on each base of the nodes that these benchmarks are on."""
    by_node = _by_node(contexts)
    return Trial(benchmark=group, jobs=tuple(_install_job(group, each, by_node[0][0].node) for each in by_node))


def _install_job(group: str, contexts: Sequence[Context], first: Node) -> Job:
    """Return one node's part: an environment, the packages of all benchmarks there, then their own installs."""
    context, dirs = contexts[0], contexts[0].dirs
    site, tag = context.site, _tag(group, context.node, first)
    steps = {**site.environment(dirs.venv), "packages": _fill(contexts)}
    commands = [setup_command(context, f"{tag}.{step}", argv) for step, argv in steps.items()]
    seen: set[str] = set()
    secrets: set[str] = set()
    for each in contexts:
        if each.package is not None and overrides(each.package, "install") and str(each.code) not in seen:
            seen.add(str(each.code))
            commands.append(_by_benchfile(each, "install", _tag(each.benchmark.name, each.node, first), secrets))
    return Job(
        tag=tag,
        commands=tuple(commands),
        deadline_s=DEADLINE_S,
        sequence=True,
        once=environment(contexts),
        staged=brought(contexts, site),
        secrets=tuple(sorted(secrets)),
    )


def brought(contexts: Sequence[Context], site: Site) -> tuple[Staged, ...]:
    """Return what is staged to make the environment of a group: folders, constraints, wheels, and what makes it."""
    wheel = Staged(source=site.benchmate, target=site.wheel_path)
    staged = (
        *site.staged,
        *(folder for each in contexts for folder in _staged(each)),
        *(_staged_bundle(site, contexts[0]) if site.bundle else _staged_constraints(contexts)),
        wheel,
    )
    return tuple({each.target: each for each in staged}.values())


def _by_node(contexts: Sequence[Context]) -> list[list[Context]]:
    """Return the benchmarks on each node together, in the order of the system's nodes."""
    found: dict[str, list[Context]] = {node.name: [] for node in contexts[0].system.nodes}
    for context in contexts:
        found[context.node.name].append(context)
    return [members for members in found.values() if members]


def _tag(name: str, node: Node, first: Node) -> str:
    """Return what begins the tags of one node's part: on the first node the name alone."""
    return name if node is first else f"{name}.{node.name}"


def _staged(context: Context) -> Iterator[Staged]:
    fresh = context.package is not None and overrides(context.package, "install")
    yield from (replace(folder, fresh=fresh and folder.target == context.dirs.code) for folder in context.staged)


def _staged_bundle(site: Site, context: Context) -> Iterator[Staged]:
    """Yield what of a bundle a group needs on another machine, from the operator's base to the same place there."""
    group = context.benchmark.install_group
    wheels = (f"wheels/{name}" for name in site.wheels.get(group, ()))
    for name in (*wheels, f"locks/{group}.txt") if site.carried else ():
        yield Staged(source=f"{site.bundle}/{name}", target=f"{site.bundle}/{name}")


def _staged_constraints(contexts: Sequence[Context]) -> Iterator[Staged]:
    if _applied_constraints(contexts) is not None:
        yield Staged(source=contexts[0].site.constraints, target=_constraints_folder(contexts[0]))


def _applied_constraints(contexts: Sequence[Context]) -> Path | None:
    """Return the pins that hold for an environment: where all requirements are locked they add nothing."""
    unlocked = any(not locked for context in contexts for _, locked in _requirements(context))
    return constraints(contexts[0]) if unlocked else None


def _constraints_folder(context: Context) -> str:
    return f"{context.dirs.cache}/constraints/{_constraints_hash(context)}"


def prepare_trial(contexts: Sequence[Context]) -> Trial | None:
    """Return the preparation of one benchmark, on each node that is given, or None where there is nothing to do."""
    jobs = tuple(job for each in contexts if (job := _prepare_job(each, contexts[0])))
    return Trial(benchmark=contexts[0].benchmark.name, jobs=jobs) if jobs else None


def _prepare_job(context: Context, first: Context) -> Job | None:
    once = preparation(context)
    if once is None or context.package is None:
        return None
    tag = _tag(context.benchmark.name, context.node, first.node)
    secrets: set[str] = set()
    if overrides(context.package, "prepare"):
        commands = [_by_benchfile(context, "prepare", tag, secrets)]
    else:
        commands = list(_preparing(context, context.package, tag, secrets))
    return Job(
        tag=tag,
        commands=tuple(commands),
        deadline_s=DEADLINE_S,
        sequence=True,
        once=once,
        staged=context.staged,
        secrets=tuple(sorted(secrets)),
    )


def _preparing(context: Context, pack: type[BasePackage], tag: str, secrets: set[str]) -> Iterator[Command]:
    """Yield what ``build_prepare_plan`` says; names of secrets are added to ``secrets``."""
    name = context.benchmark.name
    rendered, env = package.preparation(pack, context.package_config("prepare", [name]), context.node.environ)
    for number, (_, tokens, options) in enumerate(rendered, 1):
        argv = placeholders.resolve(tokens, context.known)
        given = {key: str(value) for key, value in options.get("env", {}).items()}
        own = {**environ.caches(context.dirs), **_own(context, {**env, **given}, secrets)}
        step = "prepare" if len(rendered) == 1 else f"prepare.{number}"
        yield setup_command(context, f"{tag}.{step}", argv, own, str(options["cwd"]))


def _fill(contexts: Sequence[Context]) -> tuple[str, ...]:
    """Return the one command that resolves and installs the requirements of all benchmarks of a group."""
    first, site = contexts[0], contexts[0].site
    indexes: Sequence[str] = first.system.probed.get(first.node.name, first.system.facts).get("indexes", ())
    asked = _packed(contexts) if site.bundle else asked_for(contexts)
    if site.installer == "pip" or site.uv is None:
        options = [f"--extra-index-url={url}" for url in indexes] + (["--no-index"] if site.offline else [])
        return (f"{first.dirs.venv}/bin/python", "-m", "pip", "install", *options, *asked)
    options = [f"--index={url}" for url in indexes] + (["--offline"] if site.offline else [])
    python = ("--python", f"{first.dirs.venv}/bin/python", "--index-strategy", "unsafe-best-match")
    return (site.uv, "pip", "install", *python, *options, *asked)


def asked_for(contexts: Sequence[Context]) -> tuple[str, ...]:
    """Return what is asked of an installer, uv or pip: the requirements of all benchmarks of a group, and benchmate."""
    files = {f"{each.dirs.code}/{source.name}": None for each in contexts for source, _ in _requirements(each)}
    limits = _applied_constraints(contexts)
    named = [word for path in files for word in ("-r", path)]
    constrained = ["-c", f"{_constraints_folder(contexts[0])}/{limits.name}"] if limits else []
    return (*named, *constrained, _benchmate(contexts))


def _packed(contexts: Sequence[Context]) -> tuple[str, ...]:
    """Return what is asked for where all packages are in a bundle: they were resolved when it was packed."""
    first = contexts[0]
    lock = f"{first.site.bundle}/locks/{first.benchmark.install_group}.txt"
    return ("--no-index", "--no-deps", "--find-links", f"{first.site.bundle}/wheels", "-r", lock, _benchmate(contexts))


def _benchmate(contexts: Sequence[Context]) -> str:
    extras = {extra for context in contexts for extra in _extras(context)}
    extra = f"[{','.join(sorted(extras))}]" if extras else ""
    return f"benchmate{extra} @ file://{quote(contexts[0].site.wheel_path, safe='/+')}"


def _by_benchfile(context: Context, phase: Phase, tag: str, secrets: set[str]) -> Command:
    """Return the child that awaits a benchfile's coroutine; package caches stay the user's own while installing."""
    caches = environ.caches(context.dirs) if phase == "prepare" else {}
    argv = context.site.module("milabench.agent.package", phase)
    return setup_command(context, f"{tag}.{phase}", argv, {**caches, **_own(context, {}, secrets)})


def _own(context: Context, env: Mapping[str, str], secrets: set[str]) -> dict[str, str]:
    """Return the variables that the benchfile and the suite give; names of secrets are added to ``secrets``."""
    values, names = context.split_secrets({**env, **context.own_env})
    secrets |= names
    return values


def setup_command(
    context: Context, tag: str, argv: tuple[str, ...], own: Mapping[str, str] | None = None, cwd: str | None = None
) -> Command:
    """Return a command of a setup phase: with variables of its own in the benchmark's folder, else in the base."""
    node, dirs = context.node, context.dirs
    env = {
        **environ.folders(dirs),
        **environ.activated(dirs, node),
        **environ.threads(node),
        "MILABENCH_ARCH": context.system.arch,
        "MILABENCH_INSTALLER": context.site.installer,
        **(OFFLINE if context.site.offline else {}),
        **_of_bundle(context.site),
        **({"MILABENCH_UV": context.site.uv} if context.site.uv else {}),
        **(own or {}),
    }
    cwd = cwd or (dirs.base if own is None else dirs.code)
    name = context.benchmark.name
    return Command(
        tag=tag,
        benchmark=name,
        node=node.name,
        argv=argv,
        cwd=cwd,
        env=env,
        metrics="none",
        container=context.container,
    )


def _of_bundle(site: Site) -> dict[str, str]:
    """Return the variables by which a benchfile's own installs find what is in a bundle, and look nowhere else."""
    names = ("UV_FIND_LINKS", "PIP_FIND_LINKS") if site.bundle else ()
    return dict.fromkeys(names, f"{site.bundle}/wheels") | ({"UV_NO_INDEX": "1"} if site.bundle else {})


def _requirements(context: Context) -> list[tuple[Path, bool]]:
    if context.package is None:
        return []
    config = context.package_config("install", [context.benchmark.name])
    return requirements(context.package, config, context.node.environ)


def _extras(context: Context) -> Iterator[str]:
    """Yield what benchmate needs beside itself: voir for a voirfile, torchcompat where a script written for it is."""
    if context.benchmark.definition is None:
        return
    folder = Path(context.benchmark.definition)
    if (folder / "voirfile.py").exists():
        yield "voir"
    if any(_mentions(script, b"torchcompat") for script in folder.rglob("*.py")):
        yield "compat"


def _mentions(path: Path, word: bytes) -> bool:
    try:
        return word in path.read_bytes()
    except OSError:  # a link to nothing
        return False


def constraints(context: Context) -> Path | None:
    """Return the file of pins for the architecture, where there is one."""
    path = Path(context.site.constraints) / f"{context.system.arch}.txt"
    return path if path.exists() else None


def _constraints_hash(context: Context) -> str:
    path = constraints(context)
    return _hash(path) if path else ""


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def wheel_name(sources: Path, version: str) -> str:
    """Return the name of the wheel made of benchmate's sources; it holds a hash of them."""
    digest = hashlib.sha256()
    for path in sorted(sources.rglob("*")):
        if path.suffix in {".py", ".typed", ".toml"}:
            digest.update(str(path.relative_to(sources)).encode() + b"\0" + path.read_bytes() + b"\0")
    return f"benchmate-{version}+{digest.hexdigest()[:12]}-py3-none-any.whl"
