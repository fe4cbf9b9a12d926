"""A project, and an agent, for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agents import Raw
from cluster import NO_SLURM, Cluster, is_possible
from containers import docker, engine, podman
from harness import Project

__all__ = ["docker", "engine", "podman"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Raw]:
    with Raw(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if not is_possible():
        pytest.skip(NO_SLURM)
    with Cluster() as made:
        yield made
