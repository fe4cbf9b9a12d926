"""From options to values: the suite, the system, the packages, and where things are."""

from __future__ import annotations

import difflib
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path
from types import MappingProxyType
from typing import Any

import benchmate
from milabench import bundle, package, resources, suite, system, tools
from milabench.app import containers, sizing
from milabench.app.options import Options
from milabench.errors import PreflightError, UsageError
from milabench.paths import cache_folder, exists, expanded
from milabench.plan import Image, Plan, Site, Tools, Workspace, locate
from milabench.plan.setup import wheel_name
from milabench.suite import Suite
from milabench.system.types import System

# The vendors whose torch comes from an index of their own: what PyPI has under the same name is another build.
OWN_INDEX = ("rocm", "xpu", "hpu")
# What says where packages are to come from instead.
_INDEX_VARIABLES = (
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL"),
    *("UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"),
)


def check_index(facts: Mapping[str, Any], environ: Mapping[str, str], node: str | None = None) -> None:
    """Raise PreflightError where an environment would be filled with another vendor's torch.

    That is where the vendor's index cannot be reached (from that ``node``) and the operator names no other source of
    packages.
    """
    known = indexes().get(facts["arch"], [])
    if facts["arch"] not in OWN_INDEX or not known or facts["indexes"] or any(map(environ.get, _INDEX_VARIABLES)):
        return
    where = f" from node {node}" if node else ""
    raise PreflightError(
        f"torch for {facts['arch']} comes from {known[0]}, which cannot be reached{where}, and PyPI's is another"
        " vendor's:"
        f" set PIP_INDEX_URL or PIP_EXTRA_INDEX_URL to an index that has it (the address stands in"
        f" constraints/{facts['arch']}.index)"
    )


def resolve_suite(options: Options) -> Suite:
    """Return the selected benchmarks of the suite the options name."""
    whole = suite.resolve(find_config(options.config), options.override, options.environ, lenient=options.lenient)
    return suite.select(whole, options.select, options.exclude)


def resolve_system(
    options: Options, facts: Mapping[str, Any], remote: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> System:
    """Return the system the options name, on a machine with these facts; those of other nodes are in ``remote``."""
    facts = {"ips": list(addresses()), **facts}
    return system.resolve(options.system, facts, options.shape, options.operator, remote)


def workspace(
    options: Options, facts: Mapping[str, Any], remote: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> Workspace:
    """Return all that the options name, for a system with these facts; errors are those of ``assembled``."""
    selected, resolved = resolve_suite(options), resolve_system(options, facts, remote)
    return assembled(options, selected, resolved, images=containers.here(resolved, str(options.base)))


def assembled(
    options: Options,
    selected: Suite,
    resolved: System,
    unfetched: Mapping[str, str] = MappingProxyType({}),
    images: Mapping[str, Image] = MappingProxyType({}),
) -> Workspace:
    """Return what plans are made of: the benchfiles of the selected benchmarks are loaded.

    ``unfetched`` names those that could not be fetched, with the reason. Raises PreflightError where others are not.
    ``images`` are the container images of nodes that have theirs.
    """
    resolved = containers.inside(resolved, images, str(options.base))
    where = _site_for(options, resolved)
    here, fetched = locate(selected, where, unfetched, options.command("install"))
    definitions = {each.definition: each.mark for each in here.benchmarks if each.definition is not None}
    return Workspace(
        suite=here,
        system=resolved,
        packages=package.load(definitions, resolved.main.environ),
        site=where,
        environ=options.environ,
        scaling=sizing.wanted(resolved),
        fetched=fetched,
        unfetched=unfetched,
        images=images,
    )


def site(options: Options) -> Site:
    sources = resources.benchmate_sources()
    packed = bundle.read(options.unpacked) if options.unpacked else None
    return Site(
        base=str(options.base),
        python=sys.executable,
        python_version=".".join(map(str, sys.version_info[:3])),
        uv=find_uv() if options.installer == "uv" else None,
        installer=options.installer,
        constraints=str(resources.data_root() / "constraints"),
        benchmate=str(sources),
        wheel=wheel_name(sources, benchmate.__version__),
        import_path=tuple(resources.import_path()),
        offline=options.offline,
        bundle=str(options.unpacked) if options.unpacked else None,
        wheels={group.name: group.wheels for group in packed.about.groups} if packed else {},
        data=bundle.placed_mark(options.base),
        delivers=bundle.data_mark(packed) if packed else "",
    )


def _site_for(options: Options, resolved: System) -> Site:
    """Return it with what makes environments in containers and on other nodes, which were asked for their Python."""
    where = site(options)
    if resolved.container is None and all(node.local or node.python is None for node in resolved.nodes):
        return where
    program = tools.uv(where.uv) if where.uv else None
    known = Tools(
        folder=str(cache_folder(options.environ) / "tools"),
        seeds=tools.seeds(),
        sources=tools.sources(),
        uv=program,
        machine=platform.machine(),
    )
    return replace(where, tools=known)


def put_together(ready: Workspace, plan: Plan) -> None:
    """Put the folders of those tools together that a plan sends to nodes. Raises PreflightError where one cannot be."""
    known = ready.site.tools
    if known is None:
        return
    sent = {each.source for trial in plan.trials for job in trial.jobs for each in job.staged}
    for tool in known.all:
        if known.folder_of(tool) in sent:
            tools.assemble(tool, Path(known.folder_of(tool)))


def addresses() -> Iterator[str]:
    """Yield the addresses of this machine, as the kernel's tables have them."""
    with suppress(OSError):
        lines = Path("/proc/net/fib_trie").read_text().splitlines()
        for address, kind in zip(lines, lines[1:], strict=False):
            if kind.strip().startswith("/32 host LOCAL"):
                yield address.split()[-1]
    with suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            yield str(IPv6Address(int(line.split()[0], 16)))


def find_uv() -> str | None:
    """Return the uv program that came with milabench, else the one on PATH."""
    beside = Path(sys.executable).parent / "uv"
    return str(beside) if beside.exists() else shutil.which("uv")


def find_config(name: str | None) -> Path:
    """Return the suite file of a path, or of a name milabench brings (``standard``, ``standard.yaml``)."""
    folder = resources.data_root() / "config"
    known = sorted(path.stem for path in folder.glob("*.yaml") if path.stem != "base")
    if name is None:
        raise UsageError(f"no suite: give --config with a file, or one of {', '.join(known)}")
    path = expanded(name)
    if exists(path):
        return path.resolve()
    if path.name == name and exists((folder / name).with_suffix(".yaml")):
        return (folder / name).with_suffix(".yaml")
    near = difflib.get_close_matches(path.stem, known, 1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise UsageError(f"no suite {name!r}: it is no file, and the suites milabench brings are {', '.join(known)}{hint}")


def indexes() -> dict[str, list[str]]:
    """Return the vendors' public package indexes by architecture: data beside its constraints."""
    files = (resources.data_root() / "constraints").glob("*.index")
    return {path.stem: [line for line in path.read_text().split("\n") if line[:1] not in ("", "#")] for path in files}
