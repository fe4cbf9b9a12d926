"""``multirun`` of a system file: the whole run, once for each combination of values of options."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from milabench.document import Node, plain
from milabench.options import OPTIONS, place_of
from milabench.problems import Code, Problems, nearest

MULTIRUN = "multirun"
TIME = "time"  # stands for the moment at which a run begins
RUN_KEYS = ("name", "matrix")
_PLACEHOLDER = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=,@-]*")
_UNFIT = re.compile(r"[^A-Za-z0-9._+=,@-]+")
_DIGITS = 6  # of a hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """One of the runs: its name, in which ``{time}`` may be left, and the options' values by their paths."""

    name: str
    values: Mapping[str, Node]

    @property
    def overrides(self) -> tuple[str, ...]:
        """The values as the command line would give them, in the order of ``values``."""
        return tuple(
            f"{place_of(option)}={json.dumps(plain(node), ensure_ascii=False)}" for option, node in self.values.items()
        )


def read(multirun: Node, problems: Problems) -> tuple[Variation, ...]:
    """Return all runs in the order written, the first key of a matrix outermost; what is wrong is noted."""
    found: dict[str, Variation] = {}
    content = _map(multirun, "multirun", problems)
    for key, node in content.items():
        if key == "cache":
            message = "multirun.cache does nothing yet: a multirun that was cut off starts anew"
            problems.add(Code.IDLE_SYSTEM_KEY, message, node.key_mark, path="multirun.cache")
        elif key != "runs":
            _unknown(key, node, "multirun", ("runs",), problems)
    runs = content.get("runs")
    if runs is None:
        return ()
    if not isinstance(runs.value, list):
        problems.add(Code.WRONG_TYPE, f"multirun.runs needs a list, not {runs.kind}", runs.mark, path="multirun.runs")
        return ()
    for index, run in enumerate(runs.value):
        for variation in _variations(run, f"multirun.runs[{index}]", problems):
            if variation.name in found:
                _twice(variation, run, f"multirun.runs[{index}].name", problems)
            found[variation.name] = variation
    return tuple(found.values())


def _variations(run: Node, path: str, problems: Problems) -> Iterator[Variation]:
    content = _map(run, path, problems)
    for key, node in content.items():
        if key not in RUN_KEYS:
            _unknown(key, node, path, RUN_KEYS, problems)
    missing = [key for key in RUN_KEYS if key not in content] if isinstance(run.value, dict) else []
    for key in missing:
        problems.add(Code.MISSING_KEY, f"{path} needs a {key}", run.mark, path=path)
    if missing or not content:
        return
    name = content["name"]
    if not isinstance(name.value, str):
        message = f"{path}.name needs text, not {name.kind}"
        problems.add(Code.WRONG_TYPE, message, name.mark, path=f"{path}.name")
        return
    axes = _axes(content["matrix"], f"{path}.matrix", problems)
    for cell in itertools.product(*axes.values()) if axes else ():
        values = dict(zip(axes, cell, strict=True))
        named = _named(name, values, axes, f"{path}.name", problems)
        if named is not None:
            yield Variation(name=named, values=values)


def _axes(matrix: Node, path: str, problems: Problems) -> dict[str, list[Node]]:
    """Return the values of each option; a value alone is one, and an option that has none is noted."""
    axes: dict[str, list[Node]] = {}
    for option, node in _map(matrix, path, problems).items():
        where = f"{path}.{option}"
        values = node.value if isinstance(node.value, list) else [node]
        if option not in OPTIONS:
            message = f"{option!r} is no option"
            problems.add(Code.UNKNOWN_KEY, message, node.key_mark, path=where, suggestion=nearest(option, OPTIONS))
        elif not values:
            problems.add(Code.WRONG_TYPE, f"{where} needs a value, or a list of values", node.mark, path=where)
        for value in values:
            if value.value is None or isinstance(value.value, dict | list):
                message = f"{where} needs a value, or a list of values, not {value.kind}"
                problems.add(Code.WRONG_TYPE, message, value.mark, path=where)
        axes[option] = values
    return axes


def _named(
    name: Node, values: Mapping[str, Node], axes: Mapping[str, list[Node]], path: str, problems: Problems
) -> str | None:
    """Return the name of a run, None where it can have none. A time at its end is left out: a run's folder has one."""
    failed = len(problems.errors)

    def value(match: re.Match[str]) -> str:
        key, form = match[1], match[2]
        if key == TIME:
            return match[0]
        if key not in values:
            message = f"{{{key}}} in {path} is none of the options of the matrix"
            near = nearest(key, [*values, TIME])
            problems.add(Code.PLACEHOLDER, message, name.mark, path=path, suggestion=near)
            return ""
        return _word(_text(values[key], form, name, path, problems), map(_spelled, axes[key]))

    text = _PLACEHOLDER.sub(value, str(name.value))
    whole = text.removesuffix(f".{{{TIME}}}")
    if len(problems.errors) > failed or problems.failed(name.mark):
        return None
    if not _NAME.fullmatch(whole.replace(f"{{{TIME}}}", "0")):
        message = (
            f"{path} makes {text!r}, and no folder can be called so: letters, digits and . _ + = , @ - are allowed"
        )
        problems.add(Code.BAD_NAME, message, name.mark, path=path)
        return None
    return whole


def _text(value: Node, form: str | None, name: Node, path: str, problems: Problems) -> str:
    """Return an option's value as it is spelled, or in a form such as ``.2f``."""
    try:
        return format(value.value, form) if form else _spelled(value)
    except (ValueError, TypeError):
        message = f"{path}: {value.value!r} cannot be written in the form {form!r}"
        problems.add(Code.PLACEHOLDER, message, name.mark, path=path)
        return ""


def _spelled(value: Node) -> str:
    return value.text or str(value.value)


def _word(text: str, others: Iterable[str]) -> str:
    """Return a value as it can stand in a folder's name: an image's, say, with other characters than its own.

    Where another value would stand there as the same, it has a hash of its own.
    """
    word = _fit(text)
    if word and not any(_fit(other) == word for other in others if other != text):
        return word
    return text if word == text else f"{word}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}".strip("-")


def _fit(text: str) -> str:
    return text if not _UNFIT.search(text) else _UNFIT.sub("-", text).strip("-.")


def _twice(variation: Variation, run: Node, path: str, problems: Problems) -> None:
    assert isinstance(run.value, dict)
    name = run.value["name"]
    differing = ", ".join(f"{{{option}}}" for option in variation.values)
    message = f"two runs are called {variation.name}: {path} needs what differs between them ({differing})"
    problems.add(Code.EQUAL_NAMES, message, name.mark, path=path)


def _map(node: Node, path: str, problems: Problems) -> dict[str, Node]:
    if isinstance(node.value, dict):
        return node.value
    if node.value is not None:
        problems.add(Code.WRONG_TYPE, f"{path} needs a map, not {node.kind}", node.mark, path=path)
    return {}


def _unknown(key: str, node: Node, path: str, known: tuple[str, ...], problems: Problems) -> None:
    if not key.startswith("x-"):
        message = f"{key!r} has no meaning in {path}"
        near = nearest(key, known)
        problems.add(Code.UNKNOWN_KEY, message, node.key_mark, path=f"{path}.{key}", suggestion=near)
