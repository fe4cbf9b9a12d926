"""What stands under each key of an entry: one small reader a key, listed in ``FIELDS``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from milabench.document import Node
from milabench.keys import Key
from milabench.paths import expanded, is_folder
from milabench.problems import Code, nearest
from milabench.suite.conditions import read_conditions
from milabench.suite.git import git_source
from milabench.suite.language import KEYS, VOIR
from milabench.suite.readiness import READY
from milabench.suite.types import GitSource, Limit, Placement, Program, Ready
from milabench.suite.values import Reader

MAX_COPIES = 10_000
# What is asked before there is a system, so that nothing of one can stand there.
BEFORE_SYSTEM = (
    "definition", "enabled", "gradient_accumulation_steps", "group", "install_group", "max_duration", "num_machines",
    "plan", "tags", "use_deepspeed", "weight",
)  # fmt: skip
_THRESHOLDS = KEYS["validation"].inside["usage"].inside
_PLAN = KEYS["plan"].inside


def _definition(read: Reader, node: Node, path: str) -> str | GitSource | None:
    if isinstance(node.value, dict):
        return git_source(read, node, path)
    if not isinstance(node.value, str) or not node.value:
        read.wrong(node, path, f"needs the path of a folder, not {node.shown}")
        return None
    return _folder(read, node, path)


def _folder(read: Reader, node: Node, path: str) -> str:
    """Return the absolute path of a folder, which must be there."""
    file = Path(node.file)
    base = Path.cwd() / file.parent if file.exists() else Path.cwd()
    folder = os.path.normpath(base / expanded(str(node.value)))
    if not is_folder(folder):
        read.wrong(node, path, f"is {node.value!r}, and there is no folder {folder}", Code.NO_FOLDER)
    return folder


def _program(read: Reader, node: Node, path: str) -> Program | None:
    if not isinstance(node.value, dict):
        read.wrong(node, path, f"needs a map such as {{argv: [sh, run.sh], cwd: .}}, not {node.kind}")
        return None
    entries = read.known(node, path, KEYS["command"].inside)
    argv = entries.get("argv")
    if argv is None:
        read.missing(node, path, "needs argv: a list with the program and its arguments")
        return None
    if not isinstance(argv.value, list) or not argv.value:
        read.wrong(argv, f"{path}.argv", f"needs a list with the program and its arguments, not {argv.kind}")
        return None
    here = Node(".", argv.file, argv.line, argv.column)
    cwd = entries.get("cwd", here)
    return Program(
        argv=read.tokens(argv, f"{path}.argv"),
        cwd=_folder(read, cwd, f"{path}.cwd") if read.text(cwd, f"{path}.cwd") else ".",
        env=read.environment(entries["env"], f"{path}.env") if "env" in entries else {},
        placed="cwd" in entries,
    )


def _placement(read: Reader, node: Node, path: str) -> Placement:
    entries = read.known(node, path, _PLAN)
    method = read.choice(entries["method"], f"{path}.method", _PLAN["method"].choices) if "method" in entries else None
    n = read.integer(entries["n"], f"{path}.n", 1, MAX_COPIES) if "n" in entries else 1
    share = read.boolean(entries["share"], f"{path}.share") if "share" in entries else False
    for key, given in (("n", n > 1), ("share", share)):
        if method == "per_node" and given:
            message = (
                "has no meaning with per_node, the same once on every node: take it out (or null an inherited one)"
            )
            read.wrong(entries[key], f"{path}.{key}", message, Code.PER_NODE)
    return Placement(method=method or "njobs", n=n, share=share)  # type: ignore[arg-type]


def _limit(read: Reader, node: Node, path: str) -> Limit:
    options_node = read.known(node, path, KEYS["voir"].inside).get("options")
    if options_node is None:
        return Limit()
    path = f"{path}.options"
    options = read.entries(options_node, path)
    for key, value in options.items():
        near = None if key in VOIR else _close(key, VOIR)
        if near:
            message = f"{key!r} is no option of voir"
            read.problems.add(Code.UNKNOWN_KEY, message, value.key_mark, path=f"{path}.{key}", suggestion=near)
    for key in ("interval", "gpu_poll"):
        if key in options:
            read.seconds(options[key], f"{path}.{key}")
    skip = read.integer(options["skip"], f"{path}.skip", 0) if "skip" in options else Limit().skip
    stop = options_node.value.get("stop") if isinstance(options_node.value, dict) else None
    if stop is None:
        return Limit(skip=skip)
    if not isinstance(stop.value, dict):
        observations = None if stop.value is None else read.integer(stop, f"{path}.stop", 1)
        return Limit(skip=skip, observations=observations)
    amounts = read.known(stop, f"{path}.stop", VOIR["stop"].inside)
    if not stop.value:
        read.wrong(stop, f"{path}.stop", "needs observations, seconds or precision", Code.MISSING_KEY)
    count, seconds, precision = (amounts.get(name) for name in ("observations", "seconds", "precision"))
    return Limit(
        skip=skip,
        observations=read.integer(count, f"{path}.stop.observations", 1) if count else None,
        seconds=read.seconds(seconds, f"{path}.stop.seconds") if seconds else None,
        precision=_precision(read, precision, f"{path}.stop.precision") if precision else None,
    )


def _precision(read: Reader, node: Node, path: str) -> float | None:
    share = read.fraction(node, path)
    if 0 < share < 1:
        return share
    read.wrong(node, path, f"needs a share above 0 and under 1 (such as 2%), not {node.shown}", Code.OUT_OF_RANGE)
    return None


def _close(word: str, names: Iterable[str]) -> str | None:
    """Return the name that a word is most likely a slip of."""
    near = nearest(word, names)
    return near if near and abs(len(near) - len(word)) <= 2 else None


def _validation(read: Reader, node: Node, path: str) -> None:
    for section, thresholds in read.entries(node, path).items():
        where = f"{path}.{section}"
        if section != "usage" and _close(section, ("usage",)):
            message = f"{section!r} has no meaning in {path}"
            read.problems.add(Code.UNKNOWN_KEY, message, thresholds.key_mark, path=where, suggestion="usage")
        for key, value in read.entries(thresholds, where).items():
            near = None if key in _THRESHOLDS else _close(key, _THRESHOLDS)
            if section == "usage" and near:
                message = f"{key!r} is no threshold"
                read.problems.add(Code.UNKNOWN_KEY, message, value.key_mark, path=f"{where}.{key}", suggestion=near)
            if key in _THRESHOLDS:
                read.fraction(value, f"{where}.{key}")


def _argv(read: Reader, node: Node, path: str) -> list[str] | None:
    """Return the words of a list as they are spelled; a map is only looked through."""
    if isinstance(node.value, list):
        return list(read.tokens(node, path))
    for key, value in read.entries(node, path, "a map or a list").items():
        where = f"{path}.{key}"
        read.token(key, value.key_mark, where)
        if value.value is False:
            read.wrong(value, where, "is false: use null to drop an option, true to set it", Code.ARGV_FALSE)
        elif key == "--" and not isinstance(value.value, list):
            read.wrong(value, where, "needs a list of what follows the options")
        elif isinstance(value.value, dict):
            read.wrong(value, where, "needs a value or a list of values, not a map")
        elif isinstance(value.value, list | str):
            read.tokens(value, where)
    return None


def _client(read: Reader, node: Node, path: str) -> None:
    _part(read, node, path, KEYS["client"].inside)


def _server(read: Reader, node: Node, path: str) -> Ready | None:
    ready = _part(read, node, path, KEYS["server"].inside).get("ready")
    return None if ready is None else _ready(read, ready, f"{path}.ready")


def _part(read: Reader, node: Node, path: str, known: Mapping[str, Key]) -> dict[str, Node]:
    """Return what stands under ``client`` or ``server``; other keys than those that are known go to the benchfile."""
    entries = read.entries(node, path)
    for key, entry in entries.items():
        where, near = f"{path}.{key}", None if key in known else _close(key, known)
        if key == "argv":
            _argv(read, entry, where)
        elif near:
            message = f"{key!r} has no meaning in {path}"
            read.problems.add(Code.UNKNOWN_KEY, message, entry.key_mark, path=where, suggestion=near)
    return entries


def _ready(read: Reader, node: Node, path: str) -> Ready | None:
    if not isinstance(node.value, dict):
        read.wrong(node, path, f"needs a map such as {{port: 8000, within: 60s}}, not {node.kind}")
        return None
    entries = read.known(node, path, READY)
    signs = [key for key in READY if key in entries and key != "within"]
    if len(signs) > 1:
        read.wrong(
            entries[signs[1]], f"{path}.{signs[1]}", f"stands beside {signs[0]}: what is waited for is one thing"
        )
    elif not signs:
        read.missing(node, path, "needs port, url, file or log: what is waited for")
    found: dict[str, Any] = {key: _SIGNS[key](read, entries[key], f"{path}.{key}") for key in signs[:1]}
    if "within" in entries:
        found["within_s"] = read.seconds(entries["within"], f"{path}.within")
    return Ready(**found)


def _url(read: Reader, node: Node, path: str) -> str:
    text = _told(read, node, path)
    if text and not re.match(r"https?://|\{|\$\{", text):
        read.wrong(node, path, f"needs an address such as http://localhost:8000/health, not {node.shown}")
    return text


def _told(read: Reader, node: Node, path: str) -> str:
    """Return text in which placeholders may stand."""
    text = read.text(node, path)
    read.token(text, node.mark, path)
    return text


def _pattern(read: Reader, node: Node, path: str) -> str:
    text = read.text(node, path)
    try:
        re.compile(text)
    except re.error as error:
        read.wrong(node, path, f"is no regular expression: {error}")
    return text


_SIGNS: Mapping[str, Callable[[Reader, Node, str], Any]] = {
    "port": lambda read, node, path: read.integer(node, path, 1, 65535),
    "url": _url,
    "file": _told,
    "log": _pattern,
}


def _tags(read: Reader, node: Node, path: str) -> tuple[str, ...]:
    return tuple(sorted(set(read.words(node, path))))


FIELDS: Mapping[str, Callable[[Reader, Node, str], Any]] = {
    "argv": _argv,
    "client": _client,
    "command": _program,
    "definition": _definition,
    "dirs": Reader.entries,
    "enabled": Reader.boolean,
    "env": Reader.environment,
    "gradient_accumulation_steps": lambda read, node, path: read.integer(node, path, 1),
    "group": Reader.word,
    "install_group": Reader.word,
    "install_variant": _told,
    "max_duration": Reader.seconds,
    "num_machines": lambda read, node, path: read.integer(node, path, 1),
    "pip": Reader.entries,
    "plan": _placement,
    "requires_capabilities": read_conditions,
    "server": _server,
    "tags": _tags,
    "url": Reader.words,
    "use_deepspeed": Reader.boolean,
    "validation": _validation,
    "venv": Reader.entries,
    "voir": _limit,
    "weight": lambda read, node, path: read.number(node, path, 0),
}
