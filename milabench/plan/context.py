"""What surrounds one benchmark on its way into a plan, and what its processes are told of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

from milabench import expression, system
from milabench.agent.container import Container
from milabench.errors import ConfigurationError, Problem
from milabench.pack import BasePackage
from milabench.package import overrides
from milabench.placeholders import SYSTEM_REFERENCE, function_table
from milabench.plan import environ, placeholders
from milabench.plan.scaling import Scaling
from milabench.plan.site import BUNDLES, SUITE, Dirs, Image, Site
from milabench.plan.sizing import Sizes, sizing
from milabench.plan.types import Staged
from milabench.problems import Code
from milabench.suite.types import Benchmark, Limit, Ready
from milabench.system import containers
from milabench.system.types import Node, System

_OF_IMAGE = "the image's"  # what stands for the version of a Python that no agent has asked


@dataclass(frozen=True, kw_only=True)
class Context:
    """One benchmark on its way into a plan, on one node: the main one unless it is placed ``per_node``."""

    benchmark: Benchmark
    package: type[BasePackage] | None
    system: System
    here: Site  # of this machine
    node: Node
    values: Mapping[str, Any]  # the system as conditions and benchfiles see it from that node
    secrets: environ.Secrets  # of the operator's environment
    code: str | None  # name of the staged folder
    commit: str | None = None  # where the folder was fetched by git
    lenient: bool = False  # about tokens whose placeholders stand for nothing
    sized: bool = False  # batch sizes follow the system's options
    scaling: Scaling | None = None
    images: Mapping[str, Image] = field(default_factory=dict)

    def on(self, node: Node) -> Context:
        """Return the benchmark as it is placed on another node."""
        if node is self.node:
            return self
        return replace(self, node=node, values=system.values_from(self.values, self.system, node))

    @property
    def is_on_all(self) -> bool:
        """Whether it is the same on every one of several nodes."""
        return self.benchmark.placement.method == "per_node" and len(self.system.nodes) > 1

    @cached_property
    def site(self) -> Site:
        if self.system.container is None:
            return self.here.on(self.node)
        machine = self.image.machine if self.image else ""
        return self.here.inside("python3", _OF_IMAGE, machine or self.node.machine)

    @property
    def image(self) -> Image | None:
        return self.images.get(self.node.name)

    @cached_property
    def container(self) -> Container | None:
        """The container that its processes run in, where the system names an image."""
        found, benchmark = container(self.system, self.here.base), self.benchmark
        if found is None:
            return None
        self.refuse_secrets([found.image, *found.args])
        _refuse_assigned(found.args)
        folders = (benchmark.definition, benchmark.program.cwd if benchmark.program else None)
        digest = self.image.digest if self.image else None
        return replace(found, folders=tuple(each for each in folders if each), digest=digest)

    @cached_property
    def dirs(self) -> Dirs:
        return self.here.dirs(self.benchmark.group, self.benchmark.install_group, self.code)

    @property
    def staged(self) -> tuple[Staged, ...]:
        """What the benchmark's processes need on its node: its folder, and what awaits coroutines of its benchfile."""
        if self.benchmark.program is not None:
            return tuple(_unpacked(self.benchmark.program.cwd, f"{self.here.base}/{BUNDLES}"))
        if self.benchmark.definition is None or self.package is None:
            return ()
        awaited = any(overrides(self.package, phase) for phase in ("install", "prepare", "run"))
        folder = Staged(source=self.benchmark.definition, target=self.dirs.code)
        return (folder, *(self.site.staged_sources if awaited else ()))

    @property
    def ready(self) -> Ready | None:
        """What says that the benchmark's server is ready, None where nothing is waited for."""
        ready = self.benchmark.ready
        if ready is None:
            return None
        url, file = (text and placeholders.resolve((text,), self.known)[0] for text in (ready.url, ready.file))
        return replace(ready, url=url, file=file)

    @cached_property
    def sizes(self) -> Sizes:
        known = sizing(self.scaling, self.system.arch, self.node) if self.sized else None
        return Sizes(self.benchmark.name, self.system.options, known)

    @cached_property
    def known(self) -> placeholders.Meanings:
        return placeholders.Meanings(
            benchmark=self.benchmark,
            words=placeholders.values(self.system, self.node, self.dirs, self.benchmark.name),
            seen=self.values,
            options=self.system.options,
            functions=function_table(self.sizes.auto, self.sizes.auto_batch),
            lenient=self.lenient,
        )

    @cached_property
    def config(self) -> dict[str, Any]:
        """Return what the benchmark's processes see as MILABENCH_CONFIG, before a process adds its tag and devices."""
        known, argv = self.known, self.benchmark.config.get("argv") or {}
        config = environ.without_secrets(self.benchmark.config)
        config |= {key: self._with_system(value) for key, value in config.items() if _is_handed_on(key)}
        config |= {"dirs": self.dirs.as_mapping(), "voir": _voir(config.get("voir", {}), self.benchmark.limit)}
        if isinstance(argv, Mapping):
            config["argv"] = {key: self._resolved(value, known) for key, value in argv.items()}
        else:
            config["argv"] = [self._resolved(value, known) for value in argv]
        if self.secrets:
            self.refuse_secrets(config)
        return config

    @property
    def variant(self) -> str:
        """Which locked requirements are installed: those of the architecture unless the suite says otherwise."""
        named = self.benchmark.variant
        return self.system.arch if named is None else str(self._resolved(named, self.known))

    def package_config(self, phase: str, tag: list[str]) -> dict[str, Any]:
        """Return the configuration a benchfile is evaluated with: its own, to change but for the system."""
        ids = [device.id for device in self.node.devices]
        return {
            **_copied(self.config),
            "definition": self.benchmark.definition,
            "install_variant": self.variant,
            "phase": phase,
            "tag": tag,
            "devices": ids,
            "device": ids[0] if ids else None,
            "system": self.values,
        }

    @cached_property
    def own_env(self) -> dict[str, str]:
        """Return the variables that the suite gives, those of a program's ``command`` last."""
        env = self.benchmark.variables
        values = placeholders.resolve(tuple(env.values()), self.known)
        return dict(zip(env, values, strict=True))

    def environ(self, *, activated: bool, node: Node | None = None) -> dict[str, str]:
        """Return the variables that milabench gives to every process of the benchmark that runs on a node."""
        node = node or self.node
        return {
            **environ.folders(self.dirs),
            **environ.caches(self.dirs),
            **environ.threads(node),
            **(environ.activated(self.dirs, node) if activated else {}),
            "MILABENCH_ARCH": self.system.arch,
            "PYTHONUNBUFFERED": "1",
        }

    def split_secrets(self, env: Mapping[str, str]) -> tuple[dict[str, str], set[str]]:
        """Split variables into values and names of secrets. Raises ConfigurationError for one that must not stand."""
        return environ.split_secrets(env, self.secrets, self.benchmark)

    def refuse_secrets(self, written: Any) -> None:
        """Raise ConfigurationError where the value of a secret stands in plain data that would be written."""
        secret = environ.exposed(written, self.secrets)
        if secret is None:
            return
        name, remedy = self.benchmark.name, f"let the program read it from the variable {secret}"
        message = f"{name}: the value of {secret}, a secret, stands among its arguments or other values: {remedy}"
        raise ConfigurationError([Problem(code=Code.SECRET.code, message=message, mark=self.benchmark.mark, path=name)])

    def _resolved(self, value: Any, known: placeholders.Meanings) -> Any:
        if isinstance(value, list):
            return [self._resolved(item, known) for item in value]
        if not isinstance(value, str):
            return value
        return placeholders.resolve((value,), known)[0]

    def _with_system(self, value: Any) -> Any:
        """Return what is handed to the benchmark with the system's values in it; anything else stays as it stands."""
        match value:
            case str() as text if "${system." in text:
                return SYSTEM_REFERENCE.sub(lambda found: self._resolved(found[0], self.known), text)
            case list() as items:
                return [self._with_system(item) for item in items]
            case dict() as entries:
                return {key: self._with_system(item) for key, item in entries.items()}
            case _:
                return value


def _unpacked(cwd: str, bundles: str) -> Iterator[Staged]:
    """Yield what makes the folder of a command be on other nodes, where that is of a bundle which is unpacked here.

    Of a bundle as a whole, which a command is started in that takes no file of it, one file makes the folder.
    """
    if cwd.startswith(f"{bundles}/"):
        whole = "/" not in cwd.removeprefix(f"{bundles}/").rstrip("/")
        travels = f"{cwd.rstrip('/')}/{SUITE}" if whole else cwd
        yield Staged(source=travels, target=travels)


def container(system: System, base: str) -> Container | None:
    """Return the container that a system names, without what is of one benchmark."""
    if system.container is None:
        return None
    return Container(
        executable=system.options["docker.executable"],
        image=system.container,
        base=base,
        args=containers.arguments(system.options["docker.args"] or ()),
        arch=system.arch,
    )


def _refuse_assigned(args: Sequence[str]) -> None:
    """Raise ConfigurationError where an argument of a container's start gives a secret its value."""
    for word in args:
        name, _, value = word.removeprefix("--env=").removeprefix("-e").partition("=")
        if value and environ.is_secret(name) and name.isidentifier():
            message = f"system.docker.args: the value of {name}, a secret, would stand on a command line"
            remedy = f"write -e {name}, and put it into your environment"
            raise ConfigurationError([Problem(code=Code.SECRET.code, message=f"{message}: {remedy}")])


def _is_handed_on(key: str) -> bool:
    """Return whether milabench hands a key to the benchmark, and asks nothing of it itself."""
    return key in ("client", "pip", "server", "url", "validation", "venv", "voir") or key.startswith("x-")


def _voir(blocks: Mapping[str, Any], limit: Limit) -> dict[str, Any]:
    """Return an entry's ``voir`` with its limit and times as what measures reads them: plain numbers.

    The sampler's ``interval`` stays text where it is (``0.25s``): a bare number is a number of steps to voir.
    """
    options = dict(blocks.get("options") or {})
    options |= {"skip": limit.skip, "stop": _stop(limit)}
    if isinstance(options.get("interval"), str):
        options["interval"] = f"{_seconds(options['interval']):g}s"
    if isinstance(options.get("gpu_poll"), str):
        options["gpu_poll"] = _seconds(options["gpu_poll"])
    return {**blocks, "options": options}


def _stop(limit: Limit) -> int | dict[str, float] | None:
    if limit.seconds is None and limit.precision is None:
        return limit.observations
    amounts = {"observations": limit.observations, "seconds": limit.seconds, "precision": limit.precision}
    return {name: amount for name, amount in amounts.items() if amount is not None}


_seconds = lru_cache(maxsize=64)(expression.duration)


def _copied(value: Any) -> Any:
    """Return a copy of maps and lists, all the way down (``copy.deepcopy`` takes four times as long)."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value
