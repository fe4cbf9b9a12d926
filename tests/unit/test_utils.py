"""argv from a suite's mapping."""

from __future__ import annotations

import pytest

from milabench.utils import assemble_options


@pytest.mark.parametrize(
    ("options", "tokens"),
    [
        ({"--lr": 0.01, "--epochs": 50}, ["--lr", "0.01", "--epochs", "50"]),
        ({"--no-stdout": True, "dqn": True}, ["dqn", "--no-stdout"]),
        ({"--a": None, "--b": ""}, ["--b", ""]),
        ({"--sizes": [1, 2, 3]}, ["--sizes", "1,2,3"]),
        ({"--x": 1, "--": ["run", "it"], "--y": 2}, ["--x", "1", "run", "it", "--y", "2"]),
        ({'repo_id="a/b"': True, "--json": '{"image":10}'}, ['repo_id="a/b"', "--json", '{"image":10}']),
        (["-m", "thing", 3], ["-m", "thing", "3"]),
    ],
)
def test_options_become_tokens(options: object, tokens: list[str]) -> None:
    assert assemble_options(options) == tokens


def test_false_is_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match="use null to drop the option"):
        assemble_options({"--a": False})
