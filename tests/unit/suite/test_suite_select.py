from __future__ import annotations

from typing import Any

import pytest

from milabench.errors import UsageError
from milabench.suite import Suite, select

TEXT = """\
resnet50: {inherits: _base, tags: [vision, monogpu], group: torchvision, install_group: torch}
resnet152-gpus: {inherits: _base, tags: [vision, multigpu], group: torchvision, install_group: torch}
bert-fp16: {inherits: _base, tags: [nlp, monogpu], group: hf, install_group: torch}
dqn: {inherits: _base, tags: [rl], install_group: jax}
off: {inherits: _base, tags: [rl, old], enabled: false}
"""
ALL = ["resnet50", "resnet152-gpus", "bert-fp16", "dqn"]


@pytest.fixture
def suite(suites: Any) -> Suite:
    found = suites.resolve(TEXT)
    assert isinstance(found, Suite)
    return found


@pytest.mark.parametrize(
    ("include", "exclude", "names"),
    [
        ([], [], ALL),
        (["resnet50"], [], ["resnet50"]),
        (["bert-fp16,resnet50"], [], ["resnet50", "bert-fp16"]),
        (["bert-fp16", "dqn"], [], ["bert-fp16", "dqn"]),
        (["resnet*"], [], ["resnet50", "resnet152-gpus"]),
        (["vision and not multigpu"], [], ["resnet50"]),
        (["vision and not multigpu", "dqn"], [], ["resnet50", "dqn"]),
        (["torchvision"], [], ["resnet50", "resnet152-gpus"]),
        (["torch"], ["multigpu"], ["resnet50", "bert-fp16"]),
        ([], ["vision, nlp"], ["dqn"]),
        (["*"], ["off"], ALL),
        (["rl"], [], ["dqn"]),
    ],
)
def test_names_globs_tags_groups_and_expressions_select(
    suite: Suite, include: list[str], exclude: list[str], names: list[str]
) -> None:
    assert [one.name for one in select(suite, include, exclude).benchmarks] == names


@pytest.mark.parametrize(
    ("include", "exclude", "words"),
    [
        (["resnet5"], [], "did you mean 'resnet50'"),
        ([], ["visoin"], "--exclude: .*did you mean 'vision'"),
        (["zzz*"], [], "'zzz\\*'"),
        (["vision and"], [], "--select: .*missing"),
        (["off"], [], "off is disabled"),
        (["nlp and vision"], [], "nothing is left by --select 'nlp and vision'.*resnet50"),
        (["dqn"], ["rl"], "nothing is left"),
    ],
)
def test_a_selection_of_nothing_is_a_usage_error(
    suite: Suite, include: list[str], exclude: list[str], words: str
) -> None:
    with pytest.raises(UsageError, match="(?s)" + words):
        select(suite, include, exclude)


def test_a_suite_without_benchmarks_says_so(suites: Any) -> None:
    with pytest.raises(UsageError, match="describes no benchmark"):
        select(suites.resolve(""))
