"""The suite of the overview, beside a base.yaml that holds defaults only."""

from __future__ import annotations

from pathlib import Path

import pytest

from milabench.errors import ConfigurationError, Mark
from milabench.suite import Suite, resolve
from overview import CORRECTED, OVERVIEW, SIZES


def files(folder: Path, text: str) -> Path:
    (folder / "config").mkdir()
    (folder / "benchmarks" / "torchvision").mkdir(parents=True)
    (folder / "config" / "base.yaml").write_text("_defaults:\n  enabled: true\n")
    path = folder / "config" / "suite.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def corrected(tmp_path: Path) -> Suite:
    return resolve(files(tmp_path, CORRECTED))


def test_as_it_stands_it_has_one_mistake_told_at_its_place(tmp_path: Path) -> None:
    path = files(tmp_path, OVERVIEW)
    line = 1 + OVERVIEW[: OVERVIEW.index("_resnet50\n")].count("\n")
    with pytest.raises(ConfigurationError) as raised:
        resolve(path)
    (problem,) = raised.value.problems
    assert problem.code == "E202"
    assert problem.mark == Mark(file=str(path), line=line, column=17)
    assert problem.suggestion == "resnet50"
    assert str(problem).startswith(f"{path}:{line}:17: ")


def test_corrected_it_holds_the_model_and_one_benchmark_for_each_size(corrected: Suite) -> None:
    names = ["resnet50", *(f"resnet50-noio-bs{size}" for size in SIZES)]
    assert [benchmark.name for benchmark in corrected.benchmarks] == names
    assert [dict(benchmark.labels) for benchmark in corrected.benchmarks[1:]] == [
        {"batch-size": str(size)} for size in SIZES
    ]


def test_a_cell_has_the_arguments_of_all_it_inherits_in_order(corrected: Suite) -> None:
    assert list(corrected.benchmarks[1].config["argv"].items()) == [
        ("--precision", "tf32-fp16"),
        ("--lr", 0.01),
        ("--no-stdout", True),
        ("--epochs", 50),
        ("--num-workers", "{cpu_per_gpu}"),
        ("--model", "resnet50"),
        ("--batch-size", "32"),
        ("--synthetic-data", True),
        ("--fixed-batch", True),
    ]


def test_everything_else_is_inherited_as_well(corrected: Suite, tmp_path: Path) -> None:
    cell = corrected.benchmarks[-1]
    assert cell.definition == str(tmp_path / "benchmarks" / "torchvision")
    assert (cell.group, cell.install_group, cell.placement.method) == ("torchvision", "torch", "per_gpu")
    assert cell.tags == ("classification", "convnet", "resnet", "vision")
    assert (cell.max_duration_s, cell.limit.observations, cell.limit.skip) == (600.0, 60, 5)
    assert cell.validation == {"usage": {"gpu_load_threshold": 0.5, "gpu_mem_threshold": 0.5}}
    assert cell.weight == 1.0
    assert cell.config["voir"] == {"options": {"stop": 60, "interval": "1s", "skip": 5}}


def test_sources_are_the_files_in_the_order_they_are_merged(corrected: Suite, tmp_path: Path) -> None:
    assert corrected.sources == (str(tmp_path / "config/base.yaml"), str(tmp_path / "config/suite.yaml"))
