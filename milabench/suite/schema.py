"""An entry as a Benchmark. ``LEGACY`` lists what is no key any more; the keys themselves are in ``language.py``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from milabench.document import Node, strings
from milabench.errors import Mark
from milabench.merge import KEPT_AS_NULL, items
from milabench.placeholders import SYSTEM_REFERENCE, is_plain
from milabench.problems import Code, Problems, nearest
from milabench.suite.drafts import Draft
from milabench.suite.fields import BEFORE_SYSTEM, FIELDS
from milabench.suite.language import KEYS
from milabench.suite.matrix import label
from milabench.suite.types import Benchmark, GitSource, Limit, Placement, Program, Token
from milabench.suite.values import Reader

LEGACY: Mapping[str, tuple[Code, str]] = {
    "capabilities": (Code.CAPABILITIES, "'capabilities' does nothing: conditions stand in 'requires_capabilities'"),
    "<<<": (Code.ANCIENT_MERGE, "'<<<' is an ordinary key and does nothing: use 'inherits'"),
    "docker_image": (Code.ENTRY_IMAGE, "'docker_image' of a benchmark does nothing: it belongs into the system file"),
    "config_base": (Code.OWN_BOOKKEEPING, "'config_base' is written by milabench and ignored in a file"),
    "config_file": (Code.OWN_BOOKKEEPING, "'config_file' is written by milabench and ignored in a file"),
    "run_name": (Code.OWN_BOOKKEEPING, "'run_name' is written by milabench and ignored in a file"),
    "tag": (Code.OWN_BOOKKEEPING, "'tag' is written by milabench and ignored in a file: 'tags' are the user's"),
}
_TOLD = ("argv", "client", "command", "env", "install_variant", "server")  # where placeholders may stand
MAX_NAME = 200  # files are named by it, with more after it
_NEEDED = {"command", "definition", "inherits", "job", "matrix", "plan"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=,@-]*")


class Schema:
    """Turn resolved entries into benchmarks. Nodes that entries share are read once, and their plain values shared."""

    def __init__(self, problems: Problems, *, default_weight: float) -> None:
        self._problems = problems
        self._read = Reader(problems)
        self._default_weight = default_weight
        self._plain: dict[int, Any] = {}
        self._known: dict[tuple[str, int], Any] = {}
        self._alive: list[Node] = []  # what the two caches above know by its identity

    def check(self, name: str, entry: Node) -> None:
        """Note what is wrong with what a template says, without asking for what it does not say."""
        entries = self._entries(name, entry)
        self._read.complete = False
        plain = {key: node for key, node in entries.items() if not any("${" in text for text in strings(node))}
        self._fields(name, plain)
        self._read.complete = True

    def benchmark(self, draft: Draft, *, complete: bool) -> Benchmark:
        """Return the benchmark a draft describes; what is wrong is noted, and what is missing if ``complete``."""
        name, entry, cell = draft.name, draft.node, draft.cell
        self._check_name(draft)
        entries = self._entries(name, entry)
        values = self._fields(name, entries)
        if complete and not _slips(entry) & _NEEDED:
            self._needs(name, entry, entries)
            self._check_nodes(name, entries, values)
        definition, program = values.get("definition"), values.get("command")
        source = definition if isinstance(definition, GitSource) else None
        definition = None if source else definition
        placement = values.get("plan") or Placement(method="njobs")
        group = values.get("group", name)
        seconds = values.get("max_duration", float(KEYS["max_duration"].default))
        named = {
            "name": name,
            "group": group,
            "install_group": values.get("install_group", group),
            "tags": values.get("tags", ()),
            "enabled": values.get("enabled", True),
            "weight": values.get("weight", self._default_weight),
        }
        config = {key: self._plain_of(node) for key, node in entries.items()}
        config.update(named, tags=list(named["tags"]), max_duration=int(seconds) if seconds.is_integer() else seconds)
        config["plan"] = {"method": placement.method, "n": placement.n, **({"share": True} if placement.share else {})}
        argv = values.get("argv")  # a list of words, None for a map
        own = {"matrix": None if cell is None else dict(cell), "definition": definition, "env": values.get("env")}
        own |= {"command": _command(program), "argv": argv}
        config.update({key: value for key, value in own.items() if value is not None})
        return Benchmark(
            **named,
            entry=draft.entry,
            definition=definition,
            source=source,
            program=program,
            variant=values.get("install_variant"),
            placement=placement,
            nodes=values.get("num_machines", 1),
            max_duration_s=seconds,
            limit=values.get("voir") or Limit(),
            ready=values.get("server"),
            env=values.get("env", {}),
            requires=values.get("requires_capabilities", ()),
            validation=config.get("validation", {}),
            labels={key: label(value) for key, value in cell.items()} if cell else {},
            config=config,
            tokens=self._tokens(entries),
            places=self._places(entries),
            mark=entry.key_mark,
        )

    def _check_name(self, draft: Draft) -> None:
        """Note a name that files cannot have."""
        name = draft.name
        if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
            allowed = f"at most {MAX_NAME} letters, digits and . _ + = , @ - are allowed"
            message = f"{name[:MAX_NAME]!r} cannot be a benchmark's name: {allowed}"
            self._problems.add(Code.BAD_NAME, message, draft.named_at, path=name)

    # One entry ---------------------------------------------------------------------------------------------------

    def _entries(self, name: str, entry: Node) -> dict[str, Node]:
        return self._read.known(entry, name, KEYS, LEGACY)

    def _fields(self, name: str, entries: Mapping[str, Node]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, node in entries.items():
            reader = FIELDS.get(key)
            if reader is None:
                continue
            seen = (key, id(node))
            if seen not in self._known:
                self._alive.append(node)
                if key in BEFORE_SYSTEM:
                    self._refuse_system(node, f"{name}.{key}")
                self._known[seen] = reader(self._read, node, f"{name}.{key}")
            values[key] = self._known[seen]
        return values

    def _tokens(self, entries: Mapping[str, Node]) -> tuple[Token, ...]:
        """Return the tokens of keys in which placeholders may stand."""
        found: tuple[Token, ...] = ()
        for key in _TOLD:
            if key in entries:
                node = entries[key]
                seen = (f"tokens of {key}", id(node))
                if seen not in self._known:
                    self._alive.append(node)
                    self._known[seen] = tuple(_tokens(node, key))
                found += self._known[seen]
        return found

    def _places(self, entries: Mapping[str, Node]) -> tuple[Mapping[str, Mark], ...]:
        """Return where variables and conditions are written, those of a program last."""
        found: list[Mapping[str, Mark]] = []
        for key in ("env", "command", "requires_capabilities"):
            node = entries.get(key)
            if node is None:
                continue
            seen = (f"places in {key}", id(node))
            if seen not in self._known:
                self._alive.append(node)
                self._known[seen] = dict(_places(node, key))
            found.append(self._known[seen])
        return tuple(found)

    def _refuse_system(self, node: Node, path: str) -> None:
        """Note a value of the system where it would never be put in."""
        if isinstance(node.value, dict | list):
            for inner in node.value.values() if isinstance(node.value, dict) else node.value:
                self._refuse_system(inner, path)
        elif isinstance(node.value, str) and (found := SYSTEM_REFERENCE.search(node.value)):
            message = f"{path} is asked before there is a system: {found[0]} cannot stand in it"
            self._problems.add(Code.UNKNOWN_REFERENCE, message, node.mark, path=path)

    def _needs(self, name: str, entry: Node, entries: Mapping[str, Node]) -> None:
        """Note what a benchmark lacks, and what it has too much."""
        if "command" not in entries and not ("plan" in entries and _has_method(entries["plan"])):
            message = f"{name} has no plan: say how it is placed, such as plan: {{method: per_gpu}}"
            self._problems.add(Code.NO_PLAN, message, entry.key_mark, path=name)
        if ("definition" in entries) == ("command" in entries):
            both = "both definition and command" if "command" in entries else "neither definition nor command"
            message = f"{name} has {both}: write one of them"
            self._problems.add(Code.NO_PROGRAM, message, entry.key_mark, path=name)
        elif "command" in entries and "argv" in entries:
            message = f"{name}.argv does nothing beside command: write it in command.argv"
            self._problems.add(Code.IDLE_ARGV, message, entries["argv"].key_mark, path=f"{name}.argv")

    def _check_nodes(self, name: str, entries: Mapping[str, Node], values: Mapping[str, Any]) -> None:
        """Note a multi-node job that is to be the same on every node."""
        placement = values.get("plan")
        if placement and placement.method == "per_node" and values.get("num_machines", 1) > 1:
            message = f"{name}.num_machines makes it one job over several nodes, and per_node one on each: choose"
            mark = entries["num_machines"].mark
            self._problems.add(Code.PER_NODE, message, mark, path=f"{name}.num_machines")

    def _plain_of(self, node: Node) -> Any:
        """Return a value without marks and without what is null; the same object for the same node."""
        value = node.value
        if not isinstance(value, dict | list):
            return value
        found = self._plain.get(id(node))
        if found is None:
            if isinstance(value, dict):
                found = {key: self._plain_of(entry) for key, entry in value.items() if _is_kept(key, entry)}
            else:
                found = [self._plain_of(item) for item in value]
            self._alive.append(node)
            self._plain[id(node)] = found
        return found


def _tokens(node: Node, path: str) -> Iterator[Token]:
    match node.value:
        case str() as text if not is_plain(text):
            yield Token(text=text, path=path, mark=node.mark)
        case dict() as entries:
            for key, entry in entries.items():
                if not is_plain(key):
                    yield Token(text=key, path=f"{path}.{key}", mark=entry.key_mark)
                yield from _tokens(entry, f"{path}.{key}")
        case list() as items:
            for index, item in enumerate(items):
                yield from _tokens(item, f"{path}[{index}]")


def _places(node: Node, key: str) -> Iterator[tuple[str, Mark]]:
    """Yield the path and the place of every variable, or condition, below a key; a program's are those of ``env``."""
    if key == "requires_capabilities":
        yield from ((f"{key}[{index}]", item.mark) for index, item in enumerate(items(node)))
    elif isinstance(node.value, dict):
        if key == "env":
            yield from ((f"env.{name}", value.mark) for name, value in node.value.items())
        elif "env" in node.value:
            yield from _places(node.value["env"], "env")


def _is_kept(key: str, node: Node) -> bool:
    """Null removes a key, where it is no value of it."""
    return node.value is not None or key in KEPT_AS_NULL


def _command(program: Program | None) -> dict[str, Any] | None:
    return None if program is None else {"argv": list(program.argv), "cwd": program.cwd, "env": dict(program.env)}


def _has_method(plan: Node) -> bool:
    """Return whether a plan says how; a plan that is no map, or misspells it, is told as such."""
    if not isinstance(plan.value, dict):
        return True
    method = plan.value.get("method")
    return method is not None and method.value is not None or "method" in _slips(plan, ("method",))


def _slips(entry: Node, names: Iterable[str] = KEYS) -> set[str]:
    """Return what the unknown keys of a map are most like."""
    content = entry.value if isinstance(entry.value, dict) else {}
    unknown = [key for key in content if key not in names and not key.startswith("x-")]
    return {near for key in unknown if (near := nearest(key, names))}
