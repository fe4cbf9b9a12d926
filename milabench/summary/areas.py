"""What run.json says of a run, as text by areas: to tell in what runs differ, pooled or beside each other."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final

from milabench.amounts import GIB
from milabench.untrusted import mapping, mappings

Facts = Mapping[str, Any]
AREAS: Final = ("machine", "software", "code", "container", "suite", "environ", "conditions")
ENVIRONMENT: Final = "environment "  # before the name of an install group
# Where a run keeps things and what it is called, which its measurements do not depend on.
_NO_MATTER: Final = frozenset({"MILABENCH_BASE", "MILABENCH_RUN_NAME", "MILABENCH_CONFIG", "MILABENCH_SYSTEM"})
_SET_UP: Final = ("machine", "software", "code", "container")  # and the environments: what repeats have in common
_MOST_TOLD: Final = 200  # characters of an area's differences
_DIGITS: Final = 12  # of a hash


def set_ups(several: Sequence[Facts]) -> Iterator[str]:
    """Yield in what the set-ups of several runs differ, a line an area, as far as the runs tell them."""
    known = [by_area(facts) for facts in several]
    for area in dict.fromkeys(area for each in known for area in each):
        if area in _SET_UP or area.startswith(ENVIRONMENT):
            told = "; ".join(_differing([each[area] for each in known if area in each]))
            if told:
                yield f"{area}: {told}" if len(told) < _MOST_TOLD else area


def _differing(several: Sequence[Mapping[str, str]]) -> Iterator[str]:
    for name in dict.fromkeys(name for each in several for name in each):
        values = dict.fromkeys(each.get(name, "none") for each in several)
        if len(values) > 1:
            between = " / " if any(", " in value for value in values) else ", "
            yield f"{name} {between.join(values)}"


def by_area(facts: Facts) -> dict[str, dict[str, str]]:
    """Return the facts as text by area and name; an area of which nothing is said is left out."""
    found: dict[str, dict[str, str]] = {}
    if system := mapping(facts.get("system")):
        found["machine"] = dict(_machine(system, nodes(facts)))
    if "milabench" in facts:
        found["software"] = dict(_software(facts, system))
        found["suite"] = dict(_suite(facts))
    if "code" in facts:
        found["code"] = {_folder(path): str(digest)[:_DIGITS] for path, digest in mapping(facts["code"]).items()}
    if "container" in facts:
        found["container"] = container(facts)
    if "environ" in facts:
        given = mapping(facts["environ"])
        found["environ"] = {str(name): str(value) for name, value in given.items() if name not in _NO_MATTER}
    if "preflight" in facts:
        found["conditions"] = {
            f"{each.get('code')} {each.get('subject')}": str(each.get("what")) for each in mappings(facts["preflight"])
        }
    for group, packages in mapping(facts.get("environments")).items():
        if isinstance(packages, list):
            found[f"{ENVIRONMENT}{group}"] = dict(map(_package, packages))
    return found


def nodes(facts: Facts) -> list[Mapping[str, Any]]:
    """Return what a run tells of each of its nodes; of older ones and of one machine alone ``system`` tells it."""
    system = mapping(facts.get("system"))
    several = mappings(list(mapping(facts.get("nodes")).values()))
    return (several if len(several) > 1 else []) or mappings(system.get("nodes")) or [system]


def at_once(facts: Facts) -> list[Mapping[str, Any]]:
    """Return the same of the nodes that it is on at one time: without those that took the place of another."""
    came = {str(each.get("by")) for each in mappings(facts.get("replaced"))}
    there = mapping(facts.get("nodes"))
    return nodes({**facts, "nodes": {name: each for name, each in there.items() if name not in came}})


def container(facts: Facts) -> dict[str, str]:
    """Return what a run says of its containers: image, program, arguments; nothing where it had none."""
    known = mapping(facts.get("container"))
    if not known:
        return {}
    images = mappings(list(mapping(known.get("images")).values()))
    there = dict.fromkeys(_image(each) for each in images)
    arguments = known.get("args")
    return {
        "image": " ".join((str(known.get("image")), ", ".join(each for each in there if each))).strip(),
        "program": str(known.get("executable")),
        **({"arguments": shlex.join(map(str, arguments))} if isinstance(arguments, list) and arguments else {}),
    }


def _image(found: Mapping[str, Any]) -> str:
    """Return what tells an image from others of its name; what is in a folder nobody knows."""
    kind, colon, digits = str(found.get("digest") or "").partition(":")
    return f"{kind}{colon}{digits[:_DIGITS]}" if colon else "(a folder)" if found.get("root") else ""


def _machine(system: Mapping[str, Any], several: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    yield "hostname", ", ".join(str(node.get("hostname") or node.get("name")) for node in several)
    for name, label in (("arch", "arch"), ("cpu_name", "processor"), ("cpus", "CPUs")):
        if told := [str(node[name]) for node in (system, *several) if node.get(name) is not None]:
            yield label, ", ".join(dict.fromkeys(told))
    memory = [node["memory_bytes"] for node in several if isinstance(node.get("memory_bytes"), (int, float))]
    if memory:
        yield "memory", ", ".join(f"{size / GIB:.1f} GiB" for size in memory)
    devices = [device for node in several for device in mappings(node.get("devices"))]
    if devices:
        yield "devices", _counted(str(device.get("name")) for device in devices)
        yield "which devices", _listed(devices, "uuid", "serial")
        if any(device.get("firmware") for device in devices):
            yield "firmware", _counted(str(device.get("firmware")) for device in devices)


def _software(facts: Facts, system: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in (
        ("driver", system.get("driver")),
        ("platform", system.get("platform")),
        ("milabench", facts.get("milabench")),
        ("python", facts.get("python")),
    ):
        if value is not None:
            yield name, str(value)


def _suite(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield how the suite was run; what it asks of each benchmark is told with that."""
    if facts.get("config") is not None:
        yield "config", _folder(str(facts["config"]))
    yield "side by side", "yes" if facts.get("side_by_side") is True else "no"
    for name, value in mapping(mapping(facts.get("multirun")).get("options")).items():
        yield str(name), str(value)
    for each in mappings(facts.get("fetched")):
        yield f"git {each.get('git')}", str(each.get("commit"))[:_DIGITS]


def _package(line: object) -> tuple[str, str]:
    """Return name and version of a line as pip writes it: ``torch==2.9.0`` or ``mine @ file:///…``."""
    text = str(line)
    for sign in ("==", " @ "):
        name, found, version = text.partition(sign)
        if found:
            return name, version
    return text, "installed"


def _folder(path: object) -> str:
    return PurePath(str(path)).name or str(path)


def _counted(names: Iterator[str]) -> str:
    return ", ".join(name if many == 1 else f"{many} × {name}" for name, many in Counter(names).items())


def _listed(devices: list[Mapping[str, Any]], *keys: str) -> str:
    """Return what tells devices from others of their kind, in any order."""
    told = (next((str(device[key]) for key in keys if device.get(key)), "?") for device in devices)
    return ", ".join(sorted(told))
