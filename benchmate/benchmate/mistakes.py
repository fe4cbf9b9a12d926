"""What of a voirfile can be judged without running it: the mistakes that voir passes over in silence."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping


def problems(source: str) -> list[str]:
    """Return why voir would ignore a voirfile's instruments or its options, one message with its line each.

    Raises SyntaxError for what is not Python.
    """
    tree = ast.parse(source)
    classes = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and _is_configurable(node)]
    found = [message for function in functions for message in _of_function(function, classes)]
    if not any(name.startswith("instrument_") or name in ("__instruments__", "*") for name in _bound(tree)):
        found.append("line 1: voir finds no instrument: name its functions instrument_…")
    if functions:
        found += [
            f"line {node.lineno}: `from __future__ import annotations` turns the options of @configurable into text,"
            " which voir cannot read: remove it"
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and node.module == "__future__" and "annotations" in _names(node)
        ]
    return found


def _bound(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a module binds anywhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.asname or node.name


def _of_function(function: ast.FunctionDef, classes: Mapping[str, ast.ClassDef]) -> Iterator[str]:
    where = f"line {function.lineno}: {function.name}"
    if len(function.args.args) < 2:  # without options it is an instrument like any other, and runs as one
        return
    match function.args.args[1].annotation:
        case None:
            yield f"{where}: @configurable needs its second argument annotated with a dataclass"
        case ast.Constant(value=str()):
            yield f"{where}: the annotation of the options is text, which voir cannot read: remove its quotes"
        case ast.Name(id=name) if name in classes:
            for node in classes[name].body:
                if isinstance(node, ast.AnnAssign) and _is_optional(node.annotation):
                    field = ast.unparse(node.target)
                    yield (
                        f"line {node.lineno}: {name}.{field} is optional, which disables {function.name} in silence:"
                        " give it one of the types int, float, str, bool"
                    )


def _is_configurable(function: ast.FunctionDef) -> bool:
    return any(ast.unparse(decorator).split(".")[-1] == "configurable" for decorator in function.decorator_list)


def _is_optional(annotation: ast.expr) -> bool:
    match annotation:
        case ast.Subscript(value=value):
            kind = ast.unparse(value).split(".")[-1]
            return kind == "Optional" or (kind == "Union" and "None" in ast.unparse(annotation.slice))
        case ast.BinOp(op=ast.BitOr()):
            return "None" in ast.unparse(annotation)
        case ast.Constant(value=str(text)):
            return "Optional" in text or "None" in text
        case _:
            return False


def _names(node: ast.ImportFrom) -> set[str]:
    return {alias.name for alias in node.names}
