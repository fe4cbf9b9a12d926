"""What is found of containers before a run, by what each node has of the image."""

from __future__ import annotations

from dataclasses import replace

import pytest

from milabench.agent.container import Container
from milabench.plan import Image
from milabench.preflight.containers import Found, findings

CONTAINER = Container(executable="podman", image="example.org/bench:1", base="/base")
ROOT = replace(CONTAINER, image="/srv/root")
IMAGE = Image(id="sha256:1", digest="sha256:a", root=None)
OTHER = Image(id="sha256:2", digest="sha256:b", root=None)
THERE = Found(program="/usr/bin/podman", image=IMAGE)

CASES = {
    "no program": ({"n1": Found()}, CONTAINER, "no-container-program", "no program podman,"),
    "no program on one of several": ({"n1": THERE, "n2": Found()}, CONTAINER, "no-container-program", "on n2"),
    "no image": ({"n1": replace(THERE, image=None)}, CONTAINER, "no-image", "is not there"),
    "no daemon": (
        {"n1": replace(THERE, image=None, problem="Cannot connect")},
        CONTAINER,
        "container-program-fails",
        "Cannot connect",
    ),
    "different images": (
        {"n1": THERE, "n2": replace(THERE, image=OTHER)},
        CONTAINER,
        "images-differ",
        "n1 sha256:a",
    ),
}


@pytest.mark.parametrize(("found", "container", "code", "what"), CASES.values(), ids=CASES)
def test_what_stands_in_the_way_of_containers_is_told(
    found: dict[str, Found], container: Container, code: str, what: str
) -> None:
    (only,) = findings(container, found)
    assert (only.code, only.severity) == (code, "blocking")
    assert what in only.what


@pytest.mark.parametrize(
    ("executable", "image", "typed"),
    [
        ("podman", "a b:1", "podman image inspect 'a b:1'"),
        ("podman", "/srv/root", "podman --version"),
        ("apptainer", "/srv/bench.sif", "apptainer inspect /srv/bench.sif"),
    ],
)
def test_what_a_program_says_can_be_seen_by_hand(executable: str, image: str, typed: str) -> None:
    container = Container(executable=executable, image=image, base="/base")
    (only,) = findings(container, {"n1": Found(program=executable, problem="Exec format error")})
    assert only.remedy == f"see what it says by hand: {typed}"


def test_where_all_is_there_nothing_is_told() -> None:
    assert [*findings(CONTAINER, {"n1": THERE, "n2": THERE})] == []


def test_what_to_type_is_what_fetches_the_image() -> None:
    lacking = {"n1": Found(program="podman")}
    (published,) = findings(CONTAINER, lacking)
    assert published.remedy.endswith("podman pull example.org/bench:1")
    (folder,) = findings(ROOT, lacking)
    assert "pull" not in folder.remedy


def test_many_nodes_are_not_all_named() -> None:
    (only,) = findings(CONTAINER, {f"n{number}": Found() for number in range(20)})
    assert "on n0, n1, n2 and 17 more" in only.what


def test_every_code_stands_in_a_case() -> None:
    assert {case[2] for case in CASES.values()} == {
        "no-container-program",
        "container-program-fails",
        "no-image",
        "images-differ",
    }
