"""What a probe can see: ptera rewrites a function's source, and what it does not rewrite never fires, in silence.

Judged from the source and from the object that a name stands for, before anything runs.
"""

from __future__ import annotations

import ast
import functools
import inspect
import types
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from textwrap import dedent
from typing import Any, Final

RETURNED: Final = "#value"  # ptera's name of what a function returns
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_SCOPES: Final = (*_FUNCTIONS, ast.ClassDef)


def blind_spot(function: Any, wanted: Iterable[str]) -> str | None:
    """Return why a probe on a function would never fire, or None; ``wanted`` are variables, or ``RETURNED``."""
    if not isinstance(function, types.FunctionType):
        return _of_object(function)
    name = f"{function.__name__}()"
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return f"{name} is async, which ptera cannot rewrite: probe an ordinary function on the way to it"
    if function.__name__ == "<lambda>":
        return "a lambda has no body that ptera could rewrite: make it a function, or replace it"
    tree = _source(function)
    if tree is None:
        return f"the source of {name} cannot be read (made by exec, or built in), and ptera rewrites source"
    found = (
        _returns_nothing(tree, name) if each == RETURNED else _unseen(tree, each)
        for each in wanted
        if each == RETURNED or each.isidentifier()
    )
    return _not_rewritable(list(_own(tree)), name) or next((reason for reason in found if reason is not None), None)


def unresolved(path: Sequence[str], module: types.ModuleType | None, name: str) -> str:
    """Return why ptera knows no function by a path of names in a module (None: there is no such module)."""
    if module is None:
        return f"there is no module {name}"
    target: Any = module
    for part in path:
        target = inspect.getattr_static(target, part, None)
        if target is None:
            return _missing(path, module, name)
    return _of_object(target)


def called_while_loading(path: str, function: str) -> int | None:
    """Return the line at which a script calls its function before voir lets anything probe it, or None.

    voir runs all up to a script's last function or class while it loads it, and the rest when the probes are set.
    """
    try:
        body = ast.parse(Path(path).read_text()).body
    except (OSError, ValueError, SyntaxError):
        return None
    last = max((index for index, node in enumerate(body) if isinstance(node, _SCOPES)), default=0)
    for statement in body[:last]:
        for node in _own(statement) if not isinstance(statement, _SCOPES) else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function:
                return node.lineno
    return None


# What an object is, where it is no function that can be rewritten ----------------------------------------------------


def _of_object(target: Any) -> str:
    target = target.__func__ if isinstance(target, (staticmethod, classmethod)) else target
    kind = type(target).__name__
    match target:
        case functools.partial():
            within = getattr(target.func, "__qualname__", repr(target.func)).replace(".", "/")
            return f"it is a partial of {within}(): probe that function"
        case type():
            return f"it is a class: probe a method of it ({target.__name__}/__init__ …)"
        case types.FunctionType() if target.__name__ == "<lambda>":
            return "it is a lambda, which ptera does not find by a name: make it a function, or replace it"
        case types.FunctionType() if "<locals>" in target.__qualname__:
            within = target.__qualname__.replace(".<locals>.", "/").replace(".", "/")
            return (
                f"it is a function that another one made: its name is {within}, which stands for one function only"
                " while there is only one of them; probe a variable where its result goes, or replace it"
            )
        case types.FunctionType():
            within = target.__qualname__.replace(".", "/")
            return f"it stands for /{target.__module__}/{within}: probe that"
        case types.BuiltinFunctionType() | types.MethodDescriptorType() | types.WrapperDescriptorType():
            return "it is written in C, and ptera rewrites Python: probe a variable where its result goes"
        case _ if callable(target):
            return f"it is an object of {kind}: probe {kind}/__call__"
        case _:
            return f"it is no function but {kind}"


def _missing(path: Sequence[str], module: types.ModuleType, name: str) -> str:
    known = sorted(_functions(module))
    wanted = "/".join(path)
    if wanted in known:
        return (
            f"{wanted} is a function that another one makes: a probe needs exactly one of them, and there is none or"
            " several; probe a variable where its result goes, or replace it"
        )
    inner = [each for each in known if each.rpartition("/")[2] == path[-1]]
    close = inner[:1] or get_close_matches(wanted, known, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"{name} has no function {wanted}{hint}"


def _functions(module: types.ModuleType) -> set[str]:
    """Return the paths of all functions that are written in a module, within classes and functions too."""
    try:
        tree = ast.parse(Path(module.__file__ or "").read_text())
    except (AttributeError, OSError, ValueError, SyntaxError):
        return {name for name, value in vars(module).items() if isinstance(value, types.FunctionType)}
    return set(_paths(tree, ""))


def _paths(node: ast.AST, prefix: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
            path = f"{prefix}{child.name}"
            if isinstance(child, ast.FunctionDef):
                yield path
            yield from _paths(child, f"{path}/")
        else:
            yield from _paths(child, prefix)


# What of a function's source is not rewritten ------------------------------------------------------------------------


def _source(function: types.FunctionType) -> ast.FunctionDef | None:
    try:
        tree = ast.parse(dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None
    return next((node for node in tree.body if isinstance(node, ast.FunctionDef)), None)


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is within a node, but not within the functions and classes in it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, _SCOPES):
            yield from _own(child)


def _returns_nothing(tree: ast.FunctionDef, name: str) -> str | None:
    nodes = list(_own(tree))
    if any(isinstance(node, ast.Return) for node in nodes):
        return None
    if any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in nodes):
        return f"{name} is a generator, whose result ptera does not see: probe the variable that it is assigned to"
    return f"{name} has no return statement, and ptera sees no other end of a function"


def _not_rewritable(nodes: Sequence[ast.AST], name: str) -> str | None:
    """Return what of a function ptera breaks on, whatever is asked of it."""
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Tuple() as target]) if _has_star(target):
                how = "unpacks into a starred variable"
            case ast.For(target=target) if not _is_plain(target):
                how = "has a loop over something else than plain variables"
            case _:
                continue
        return f"{name} {how} at `{ast.unparse(target)}`, which ptera cannot rewrite: probe another function"
    return None


def _has_star(target: ast.Tuple) -> bool:
    return any(isinstance(node, ast.Starred) for node in ast.walk(target))


def _is_plain(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) or (isinstance(target, ast.Tuple) and all(map(_is_plain, target.elts)))


def _unseen(tree: ast.FunctionDef, variable: str) -> str | None:
    """Return why ptera would not see a variable set, or None where it sees it."""
    nodes = list(_own(tree))
    seen, blind = _seen(tree, nodes), _blind(nodes)
    if variable in seen:
        return None
    what = f"`{variable}` of {tree.name}()"
    if variable in blind:
        return f"{what} is bound by {blind[variable]}, which ptera does not see: assign it to a variable and probe that"
    for node in nodes:
        if isinstance(node, ast.FunctionDef) and variable in _seen(node, list(_own(node))):
            return f"{what} is one of {node.name}(), the function in it: probe {tree.name}/{node.name} > {variable}"
    close = get_close_matches(variable, seen, n=1)
    return f"{tree.name}() has no variable `{variable}`" + (f" (did you mean `{close[0]}`?)" if close else "")


def _seen(tree: ast.FunctionDef, nodes: Sequence[ast.AST]) -> set[str]:
    """Return the variables that ptera sees set: arguments, assignments, loops, imports, and what is read of others."""
    names = {each.arg for each in ast.walk(tree.args) if isinstance(each, ast.arg)}
    for node in nodes:
        match node:
            case ast.Assign():
                names.update(*(_names(target) for target in node.targets if not isinstance(target, ast.List)))
            case ast.AnnAssign() | ast.AugAssign() | ast.NamedExpr() | ast.For():
                names |= _names(node.target)
            case ast.Import() | ast.ImportFrom():
                names |= {name for each in node.names if "." not in (name := each.asname or each.name)}
            case ast.ExceptHandler(name=str(name)):
                names.add(name)
            case _:
                pass
    read = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return names | (read - _blind(nodes).keys())  # what is only read comes from outside: told as the function begins


def _blind(nodes: Sequence[ast.AST]) -> dict[str, str]:
    """Return the variables that are bound in ways that ptera does not see, and the ways."""
    found: dict[str, str] = {}
    for node in nodes:
        match node:
            case ast.withitem():
                found |= dict.fromkeys(_names(node.optional_vars), "`with … as`")
            case ast.comprehension():
                found |= dict.fromkeys(_names(node.target), "a comprehension")
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                found[name] = "`case`"
            case ast.Assign(targets=[ast.List() as target]):
                found |= dict.fromkeys(_names(target), "a list of variables")
            case ast.Import():
                dotted = (each.name for each in node.names if each.asname is None and "." in each.name)
                found |= {name.split(".")[0]: "a dotted import" for name in dotted}
            case _:
                pass
    return found


def _names(target: ast.AST | None) -> set[str]:
    return set() if target is None else {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}
