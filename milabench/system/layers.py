"""What is said of a system, in layers: a file, under variables of the environment, under the command line.

All of them are brought to one form, ``{system: {arch, nodes, gpu: {…}, options: {sizer: {auto: …}}}}``, in which an
option has one place. A value knows the layers below it (``Node.before``); the file of a variable's mark is its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from milabench import document, overrides
from milabench.document import Node
from milabench.interpolation import Interpolator
from milabench.merge import merge
from milabench.options import OPTIONS, place_of, variable
from milabench.problems import Code, Problems, nearest
from milabench.system import multirun
from milabench.system.language import TOP
from milabench.system.multirun import MULTIRUN

SYSTEM = overrides.SYSTEM
OWN_VARIABLES = ("MILABENCH_SIZER_", "MILABENCH_CPU_", "MILABENCH_TORCHRUN_")  # what begins so is an option or a slip
_SECTIONS = {name.split(".")[0] for name in OPTIONS if "." in name}


def read(file: Path | None, environ: Mapping[str, str], changes: Sequence[str], problems: Problems) -> Node | None:
    """Return what all layers say of the system, references replaced; None where nothing is said.

    ``environ`` has the options' variables, and is what ``${oc.env:NAME}`` looks into; ``changes`` are overrides, of
    which those of the system count. What is wrong is noted.
    """
    layers = [
        *([] if file is None else _from_file(file, problems)),
        *_from_environment(environ, problems),
        *(each.node for each in overrides.read(changes, problems) if each.name == SYSTEM),
    ]
    merged: Node | None = None
    for layer in layers:
        upper = _in_one_form(layer, problems)
        merged = upper if merged is None else merge(merged, upper, problems, SYSTEM)
    if merged is None:
        return None
    whole = {SYSTEM: merged}
    return Interpolator(whole, whole.__getitem__, problems, environ=environ).resolve(SYSTEM)


def options_of(changes: Sequence[str]) -> set[str]:
    """Return the options that overrides set, however they are written; what is wrong in them is not told."""
    problems, found = Problems(), set()
    for each in overrides.read(changes, problems):
        if each.name == SYSTEM:
            said = _in_one_form(each.node, problems)
            found |= {name for name in OPTIONS if document.at(said, place_of(name).split(".")[1:])}
    return found


def _from_file(file: Path, problems: Problems) -> Iterator[Node]:
    """Yield what stands under ``system`` in a file, or all of it where the file is older than that key."""
    root = document.read(file, problems)
    content = root.value if isinstance(root.value, dict) else {}
    if MULTIRUN in content:
        multirun.read(content[MULTIRUN], problems)
    others = {key: node for key, node in content.items() if key not in TOP}
    if SYSTEM not in content and any(not key.startswith("x-") and not nearest(key, TOP) for key in others):
        message = "an older file without the key 'system:'; its content is read as if it stood under it"
        problems.add(Code.NO_SYSTEM_KEY, message, root.mark)
        yield root.replaced(others)
        return
    for key, node in content.items():
        if key == SYSTEM:
            if node.value is not None:
                yield node
        elif key not in TOP and not key.startswith("x-"):
            message = f"{key!r} has no meaning at the top of a system file"
            problems.add(Code.UNKNOWN_KEY, message, node.key_mark, path=key, suggestion=nearest(key, TOP))


def _from_environment(environ: Mapping[str, str], problems: Problems) -> Iterator[Node]:
    """Yield a layer for each option whose variable is set, and not empty."""
    known = {variable(name): name for name in OPTIONS}
    for called, text in environ.items():
        if called in known and text:
            yield _at(place_of(known[called]).split(".")[1:], Node(text, called, 1, 1, (1, 1)))
        elif called.startswith(OWN_VARIABLES) and called not in known:
            message = f"the variable {called} is set, and there is no such option"
            problems.add(Code.UNKNOWN_KEY, message, Node(None, called, 1, 1).mark, suggestion=nearest(called, known))


def _in_one_form(layer: Node, problems: Problems) -> Node:
    """Return a layer with each option in its place, however it was written: nested, dotted, or under ``options``."""
    content = layer.value
    if not isinstance(content, dict):
        return layer
    result = layer.replaced({key: node for key, node in content.items() if key != "options"})
    written = content.get("options")
    if written is None or not isinstance(written.value, dict):
        return layer
    for name, node in _options(written, "", problems):
        keys = place_of(name).split(".")[1:]
        result = merge(result, _at(keys, node, beside=written), problems, SYSTEM)
    return result


def _options(node: Node, prefix: str, problems: Problems) -> Iterator[tuple[str, Node]]:
    """Yield the options that a map sets by their dotted names; what is none is noted."""
    assert isinstance(node.value, dict)
    for key, entry in node.value.items():
        name = f"{prefix}{key}"
        if name in OPTIONS:
            yield name, entry
        elif isinstance(entry.value, dict) and (name in _SECTIONS or (entry.value and not prefix)):
            yield from _options(entry, f"{name}.", problems)
        elif not key.startswith("x-") and not (name in _SECTIONS and entry.value is None):
            what = "is a part of options' names and needs a map" if name in _SECTIONS else "is no option"
            message, where = f"{name!r} {what}", f"system.options.{name}"
            near = None if name in _SECTIONS else nearest(name, OPTIONS)
            problems.add(Code.UNKNOWN_KEY, message, entry.key_mark, path=where, suggestion=near)


def _at(keys: Sequence[str], node: Node, beside: Node | None = None) -> Node:
    """Return maps around a value, so that it stands at a path; they have the marks of ``beside``, else its own."""
    for key in reversed(keys):
        node = (beside or node).replaced({key: node})
    return node
