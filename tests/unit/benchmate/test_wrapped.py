"""Objects of a script that something was added to are those objects in everything else."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from benchmate.wrapped import Criterion, Observed


class Module:
    """A loss module, as torch's are: what moves or sets it returns it."""

    reduction = "mean"

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def to(self, device: str, *, copy: bool = False) -> Module:
        self.calls.append((device, copy))
        return Module() if copy else self

    def parameters(self) -> list[int]:
        return [1]

    def __call__(self, value: float) -> float:
        return value * 2


def test_a_method_that_returns_its_object_returns_what_records() -> None:
    recorded: list[float] = []

    def record(loss: float) -> float:
        recorded.append(loss)
        return loss

    module = Module()
    criterion = Criterion(module, record)
    moved = criterion.to("cuda")
    assert moved is criterion
    assert moved(1.5) == 3.0
    assert (recorded, module.calls) == ([3.0], [("cuda", False)])
    assert isinstance(criterion.to("cpu", copy=True), Module)
    assert (criterion.parameters(), criterion.reduction) == ([1], "mean")


def same(value: Any) -> Any:
    return value


@pytest.mark.parametrize(
    ("loader", "truth"), [((number for number in range(3)), True), ([], False), ([1], True), (Module(), True)]
)
def test_the_truth_of_an_object_is_its_own(loader: Any, truth: bool) -> None:
    assert bool(Observed(loader, iter)) is truth
    assert bool(Criterion(loader, same)) is truth


def test_a_wrapped_object_can_be_copied() -> None:
    again = copy.deepcopy(Criterion(Module(), same))
    assert (again(2.0), again.to("cpu") is again) == (4.0, True)
