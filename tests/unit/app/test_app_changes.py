"""What a run has recorded, held against what is there now: the same nodes, and nodes in the place of others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from milabench.app.changes import Continuation, changes, check_installed
from milabench.app.options import Options
from milabench.app.places import Place
from milabench.errors import PreflightError
from milabench.plan import Command, Image, Job, Plan, Trial
from milabench.system.types import Node, System

GPUS = [{"id": number, "name": "H100", "uuid": f"GPU-{number}"} for number in range(2)]
TORCH = ["numpy==2", "torch==1"]
NOTHING: dict[str, Any] = {"code": {}, "images": {}}


def told(name: str, **changes: Any) -> dict[str, Any]:
    known = {
        "hostname": name,
        "cpus": 4,
        "arch": "cuda",
        "driver": "1",
        "memory_bytes": 1000,
        "interface": "ib0",
        "main": name == "a",
    }
    return {**known, "devices": [{**each, "uuid": f"{name}-{each['uuid']}"} for each in GPUS], **changes}


def recorded(**changes: Any) -> dict[str, Any]:
    nodes = {name: told(name) for name in ("a", "b")}
    return {"milabench": "1", "system": told("a"), "nodes": nodes, "environments": {"torch": TORCH}, **changes}


def continuation(before: Mapping[str, Any], *places: str, own: str = "") -> Continuation:
    """Return a run whose places each have had these nodes; those in ``own`` have a base of their own."""
    seats = [Place(names=tuple(each.split())) for each in places]
    first = seats[0].node
    nodes = tuple(
        Node(name=each.node, main=each.node == first, shares_base=None if each.node in (first, *own.split()) else first)
        for each in seats
    )
    jobs = tuple(
        Job(
            tag=f"x.{node.name}",
            commands=(Command(tag=f"x.{node.name}", benchmark="x", node=node.name, argv=("x",), cwd="/"),),
            deadline_s=1.0,
        )
        for node in nodes
    )
    left = Plan(
        phase="run", trials=(Trial(benchmark="x", jobs=jobs),), configs={"x": {"install_group": "torch"}, "y": {}}
    )
    return Continuation(before=before, places=seats, described=System(arch="cuda", nodes=nodes), left=left)


def image(digest: str) -> Image:
    return Image(id=None, digest=digest, root=None)


@pytest.mark.parametrize(
    ("images", "found"),
    [
        ({"a": "1a", "c": "1a"}, {}),
        ({"a": "2b", "c": "2b"}, {"container image": "1a → 2b"}),
        ({"a": "1a", "c": "2b"}, {"container image on c": "1a → 2b"}),
        ({"c": "/srv/root"}, {"container image": "1a → /srv/root"}),
        ({}, {}),
    ],
)
def test_nodes_are_to_have_the_image_of_those_before(images: dict[str, str], found: dict[str, str]) -> None:
    was = {"digest": "1a", "id": None, "root": None}
    before = recorded(container={"image": "e.org/i:1", "images": {"a": was, "b": was}})
    run = continuation(before, "a", "b")
    there = {node: image(digest) for node, digest in images.items()}
    assert dict(changes(run, now(told("a"), told("b"), images=there))) == found
    assert (
        dict(changes(continuation(recorded(container=None), "a", "b"), now(told("a"), told("b"), images=there))) == {}
    )


def now(*nodes: dict[str, Any], **facts: Any) -> dict[str, Any]:
    found = {each["hostname"]: each for each in nodes}
    return {
        "milabench": "1",
        "system": nodes[0],
        "nodes": found,
        "environments": {"torch": TORCH},
        **NOTHING,
        **facts,
    }


@pytest.mark.parametrize(
    ("places", "there", "wanted"),
    [
        (["a", "b"], [told("a"), told("b")], {}),
        (["a", "b"], [told("a"), told("b", driver="2")], {"driver of b": "1 → 2"}),
        (["a", "b"], [told("a", cpus=8), told("b")], {"cpus": "4 → 8"}),
        (["a", "b c"], [told("a"), told("c")], {}),  # another machine of the same kind
        (["a", "b c"], [told("a"), told("c", driver="2")], {"driver of c, for b": "1 → 2"}),
        (["a", "b c"], [told("a"), told("c", interface="eth0")], {"interface of c, for b": "ib0 → eth0"}),
        (
            ["a", "b c"],
            [told("a"), told("c", devices=[{**GPUS[0], "name": "A100"}])],
            {"devices of c, for b": "['H100', 'H100'] → ['A100']"},
        ),
        (["a", "b c"], [told("a"), told("c", memory_bytes=1010)], {}),
        (["a", "b c"], [told("a"), told("c", memory_bytes=2000)], {"memory_bytes of c, for b": "1000 → 2000"}),
        (["a", "b"], [told("a"), told("b", memory_bytes=1010)], {"memory_bytes of b": "1000 → 1010"}),
        (["a c", "b"], [told("c"), told("b")], {}),
        (["a c", "b"], [told("c", cpus=8), told("b")], {"cpus of c, for a": "4 → 8"}),
    ],
)
def test_a_node_is_held_against_itself_or_against_the_one_before_it(
    places: list[str], there: list[dict[str, Any]], wanted: dict[str, str]
) -> None:
    assert dict(changes(continuation(recorded(), *places), now(*there))) == wanted


def test_a_node_that_took_a_place_before_is_held_against_what_it_was_then() -> None:
    before = recorded(nodes={name: told(name) for name in ("a", "b", "c")})
    run = continuation(before, "a", "b c")
    assert dict(changes(run, now(told("a"), told("c", hostname="c")))) == {}
    other = {**told("a"), "hostname": "c"}
    assert dict(changes(run, now(told("a"), other))) == {
        "devices of c": "['c-GPU-0', 'c-GPU-1'] → ['a-GPU-0', 'a-GPU-1']"
    }


@pytest.mark.parametrize(
    ("environments", "wanted"),
    [
        ({"torch": None}, {}),
        ({"torch": ["numpy==2", "torch==2"]}, {"environment torch on c": "torch==1 → torch==2"}),
    ],
)
def test_a_node_that_brings_a_base_has_the_environments_of_its_place(
    environments: dict[str, Any], wanted: dict[str, str]
) -> None:
    run = continuation(recorded(), "a", "b c", own="c")
    there = now(told("a"), told("c", environments=environments))
    check_installed(run, there, None)
    assert dict(changes(run, there)) == wanted


@pytest.mark.parametrize(
    ("places", "there"),
    [
        (["a", "b c"], now(told("a"), told("c", environments={"torch": []}))),
        (["a c", "b"], now(told("c"), told("b"), environments={"torch": []})),
    ],
)
def test_a_node_that_brings_an_empty_base_is_refused_with_what_to_do(places: list[str], there: dict[str, Any]) -> None:
    run = continuation(recorded(), *places, own="c")
    with pytest.raises(PreflightError, match="node c has a base of its own, without the environments torch: milabench"):
        check_installed(run, there, None)


def test_a_node_that_brings_an_empty_base_is_refused_with_the_lines_to_type() -> None:
    run = continuation(recorded(), "a", "b c", own="c")
    options = Options(config="standard", base=Path("/base"), system=Path("/two.yaml"), override=("x.argv.--n=1",))
    with pytest.raises(PreflightError) as raised:
        check_installed(run, now(told("a"), told("c", environments={"torch": []})), options)
    rest = "--config standard --base /base --system /two.yaml --override x.argv.--n=1"
    assert str(raised.value).splitlines() == [
        "node c has a base of its own, without the environments torch: to make them there, type",
        f"  milabench install {rest}",
        f"  milabench prepare {rest}",
    ]


def test_on_a_base_that_is_shared_nothing_is_asked_for() -> None:
    run = continuation(recorded(), "a", "b c")
    check_installed(run, now(told("a"), told("c")), None)
    assert run.groups_on(run.described.nodes[1]) == ["torch"]
