"""Losses and metrics: as they were when they came, and none lost for one that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loops import events

from benchmate.observe import Observer, StopProgram
from benchmate.values import Values


class Tensor:
    """Storage behind views, as a tensor of torch is one."""

    def __init__(self, storage: list[float], said: list[str], device: str = "cuda") -> None:
        self.storage, self.said, self.is_cpu = storage, said, device == "cpu"

    def detach(self) -> Tensor:
        self.said.append("detach")
        return Tensor(self.storage, self.said)

    def clone(self) -> Tensor:
        self.said.append("clone")
        return Tensor(list(self.storage), self.said)

    def numel(self) -> int:
        return len(self.storage)

    def item(self) -> float:
        self.said.append("item")
        return self.storage[0]

    def __itruediv__(self, number: float) -> Tensor:
        self.storage[0] /= number
        return self

    def __float__(self) -> float:
        self.said.append("read")
        return self.storage[0]


def told(folder: Path, name: str) -> list[Any]:
    return [data[name] for event, data in events(folder) if event == "data" and name in data]


@pytest.mark.parametrize(("device", "calls"), [("cuda", ["detach", "clone"]), ("cpu", ["item"])])
def test_what_a_script_alters_in_place_later_is_written_as_it_was(
    tmp_path: Path, make: Callable[..., Observer], device: str, calls: list[str]
) -> None:
    observer, said = make(observations=3), list[str]()
    with pytest.raises(StopProgram):
        for index, _ in enumerate(observer.iterate(range(9))):
            loss = Tensor([8.0 + index], said, device)
            assert observer.record_loss(loss) is loss
            metric = Tensor([2.0 + index], said, device)
            observer.record("accuracy", metric)
            loss /= 4
            metric /= 4
            assert said == 2 * calls  # nothing of a device is read, which would wait for it
            said.clear()
    assert (told(tmp_path, "loss"), told(tmp_path, "accuracy")) == ([8.0, 9.0, 10.0], [4.0])


def test_one_loss_that_is_no_number_loses_neither_the_others_nor_the_end(
    tmp_path: Path, make: Callable[..., Observer]
) -> None:
    observer = make(observations=4)
    odd: list[Any] = [1.0, {"loss": 1.0}, "much", 4.0]
    with pytest.raises(StopProgram):
        for index, _ in enumerate(observer.iterate(range(9))):
            observer.record_loss(odd[index])
    assert told(tmp_path, "loss") == [1.0, 4.0]
    (note,) = [data["message"] for event, data in events(tmp_path) if event == "note"]
    assert note.startswith("a loss is no number and is left out, first at step 1: ")
    assert [event for event, _ in events(tmp_path)][-2:] == ["measured", "stop"]


def test_each_name_is_noted_once() -> None:
    class Odd:
        def detach(self) -> Odd:
            return self

        def __float__(self) -> float:
            raise TypeError("odd")

    written: list[tuple[str, Any]] = []
    values = Values("train", lambda event, data: written.append((event, data)))
    for step in (3, 4):
        values.record("speed", step, Odd())
        values.record("size", step, Odd())
        values.flush()
    assert written == [
        ("note", {"message": f"a value of {name!r} is no number and is left out, first at step 3: odd"})
        for name in ("speed", "size")
    ]
