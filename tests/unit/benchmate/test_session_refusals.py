"""What a Session refuses, in words: what makes no sense, what is of another kind, what is not done when it returns."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loops import FakeTime, rows
from sessions import session, taking

from benchmate.context import Context, ContextError
from benchmate.device import Cpu
from benchmate.session import Session, Stop, Target


def test_a_session_is_run_once(tmp_path: Path, clock: FakeTime) -> None:
    once = session(tmp_path, clock, Target(infer=taking(clock, [1])), Stop(observations=2))
    once.run()
    with pytest.raises(RuntimeError, match="once"):
        once.run()


def test_in_a_group_it_is_refused_with_the_way_out(tmp_path: Path, clock: FakeTime) -> None:
    with pytest.raises(ContextError, match="with an Observer"):
        session(tmp_path, clock, Target(infer=taking(clock, [1])), world_size=2)


def test_a_second_one_of_the_same_steps_is_refused(tmp_path: Path, clock: FakeTime) -> None:
    session(tmp_path, clock, Target(infer=taking(clock, [1])))
    with pytest.raises(
        ContextError, match=r"a\.steps is there already.* one Session.* entry of the suite, or by a `matrix`"
    ):
        session(tmp_path, clock, Target(infer=taking(clock, [1])))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Stop(observations=-1), "observations is -1"),
        (lambda: Stop(observations=1e3), "observations is 1000.0: expected a whole number"),
        (lambda: Stop(observations=1.5), "observations is 1.5: expected a whole number above 0"),
        (lambda: Stop(observations=0), "observations is 0: expected a whole number above 0"),
        (lambda: Stop(seconds=1e300, observations=10), "seconds is 1e.300: expected a number of seconds from 0 to 1e9"),
        (lambda: Stop(seconds=-1), "seconds is -1"),
        (lambda: Stop(maximum_s=float("nan")), "maximum_s is nan"),
        (lambda: Stop(precision=0), "precision is 0: expected a share above 0"),  # which nothing would end
        (lambda: Stop(precision=2), "2 %"),
        (lambda: Stop(need="any"), "need is 'any': expected 'first' or 'all'"),
        (lambda: Stop(precision_of="p99"), "precision_of is 'p99': expected 'throughput' or 'p50'"),
        (lambda: Target(infer=print, items=0), "0 items"),
        (lambda: Target(infer=print, items=2.5), "2.5 items"),
        (lambda: Target(infer=print, items=2**70), "1180591620717411303424 items: expected a whole number from 1"),
        (lambda: Target(infer=print, warmup=-2), "-2 inferences"),
        (lambda: Target(infer=print, warmup=0.5), "0.5 inferences"),
        (lambda: Target(infer=print, unit=""), "unit is '': expected a word"),
        (lambda: Target(infer=print, unit="img\n"), "expected a word"),
        (lambda: Target(infer=print, unit="images/s"), "expected what is counted alone .'images'."),
        (lambda: Target(infer=print, unit="ä" * 20), "of 40 bytes: expected 32 at most"),
        (lambda: Session(Target(infer=print), stop=Stop(), context=Context(), accelerator=Cpu()), "nothing would end"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


async def coroutine(*_: object) -> None: ...


async def async_generator(*_: object) -> AsyncIterator[int]:
    yield 1


def generator(*_: object) -> Iterator[int]:
    yield 1


class Generating:
    def __call__(self) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Session(Target(infer=print), Stop(observations=5)), "stop="),
        (lambda: Session(Target(infer=print), stop=50), "50 is no stop: make it one, Stop.observations="),
        (lambda: Session(Target(infer=print), stop={"observations": 50}), "is no stop"),
        (lambda: Session(print), "is no target: make it one, Session.Target.infer="),
        (lambda: Stop(precision="2%"), "precision is '2%': expected a share above 0 and under 1 .0.02 is 2 %."),
        (lambda: Stop(seconds="1s"), "seconds is '1s': expected a number of seconds"),
        (lambda: Stop(observations=True), "observations is True"),
        (lambda: Stop(maximum_s="1"), "maximum_s is '1'"),
        (lambda: Target(infer=5), "infer is 5: expected a function"),
        (lambda: Target(infer=None), "infer is None: expected a function"),
        (lambda: Target(infer=print, pre=5), "pre is 5: expected a function"),
        (lambda: Target(infer=print, items="8"), "8 items: expected a whole number"),
        (lambda: Target(infer=print, warmup=None), "None inferences of warm-up"),
        (lambda: Target(infer=print, unit=None), "unit is None: expected a text"),
        (lambda: Target(infer=print, unit=5), "unit is 5: expected a text"),
        (lambda: Target(infer=coroutine), "infer does nothing yet when it is called: it returns a coroutine: run it"),
        (lambda: Target(infer=functools.partial(coroutine, 1)), "a coroutine"),
        (lambda: Target(infer=async_generator), "an async generator: go over all of it"),
        (lambda: Target(infer=generator), "a generator: go over all of it within the inference .`list"),
        (lambda: Target(infer=Generating()), "infer does nothing yet .* a generator"),
        (lambda: Target(infer=print, load=coroutine), "load does nothing yet"),
        (lambda: Target(infer=print, post=generator), "post does nothing yet"),
    ],
)
def test_what_is_of_another_kind_is_refused(make: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        make()


@pytest.mark.parametrize("keys", [{}, {"parts": True}, {"warmup": 0}])
@pytest.mark.parametrize(("late", "words"), [(coroutine, "coroutine"), (async_generator, "async"), (generator, "list")])
def test_an_inference_that_is_still_to_be_run_is_refused_as_it_is_returned(
    tmp_path: Path, clock: FakeTime, late: Callable[..., Any], words: str, keys: dict[str, Any]
) -> None:
    target = Target(infer=lambda *_: late(), **keys)
    with pytest.raises(TypeError, match=f"infer does nothing yet .*{words}"):
        session(tmp_path, clock, target, Stop(observations=5)).run()
    assert rows(tmp_path) == []
