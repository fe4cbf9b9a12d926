"""A project, and an agent, for each test; clusters and nodes for each file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agents import Raw
from containers import container, docker, engine, podman
from harness import Project, wait_until
from nodes import Nodes, started

__all__ = ["container", "docker", "engine", "podman"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Raw]:
    with Raw(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with started(tmp_path_factory.mktemp("nodes") / "all", ("n1", "n2")) as found:
        yield found


@pytest.fixture
def nodes(two_nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    """Two nodes, as they are seen from the operator's machine; what a test changes of them it mends."""
    monkeypatch.setenv("HOME", str(two_nodes.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    two_nodes.trust()
    with two_nodes.entered("op"):
        yield two_nodes
    wait_until(two_nodes["n1"].idle)
