"""Secrets stand in a plan by name; their values come from the operator's environment when a process starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from plans import planned

from milabench.document import Node
from milabench.errors import ConfigurationError, Problem
from milabench.plan import codec
from milabench.plan.environ import is_secret, redacted, redacted_data, redacted_message, without_secrets

VALUE = "hf_0123456789"
OPERATOR = {"HF_TOKEN": VALUE}
BENCHFILE = """
import os
from milabench.pack import Package
from milabench.commands import PackCommand

class __pack__(Package):
    def make_env(self):
        return {make_env}
    def build_run_plan(self):
        return PackCommand(self, {argument} env={options})
"""


def benchfile(make_env: str = "{}", argument: str = "", options: str = "{}") -> dict[str, str]:
    text = "one: {definition: bench, plan: {method: njobs}}\n"
    code = BENCHFILE.format(make_env=make_env, argument=argument, options=options)
    return {"suite.yaml": text, "bench/main.py": "", "bench/benchfile.py": code}


def entry(text: str) -> dict[str, str]:
    return {"suite.yaml": f"one: {{{text}, plan: {{method: njobs}}}}\n", "bench/main.py": ""}


GIVEN = {
    "by the suite": entry("definition: bench, env: {HF_TOKEN: '${oc.env:HF_TOKEN}'}"),
    "by the suite, by name": entry("definition: bench, env: {HF_TOKEN: '${secret:HF_TOKEN}'}"),
    "by a program's entry": entry("command: {argv: [x], env: {HF_TOKEN: '${oc.env:HF_TOKEN}'}}"),
    "by make_env": benchfile(make_env=f"{{'HF_TOKEN': '{VALUE}'}}"),
    "by a command": benchfile(options=f"{{'HF_TOKEN': '{VALUE}'}}"),
}


@pytest.mark.parametrize("files", GIVEN.values(), ids=GIVEN)
def test_a_secret_of_the_operators_stands_by_name(tmp_path: Path, files: dict[str, str]) -> None:
    plan = planned(tmp_path, files, environ=OPERATOR)
    assert plan.trials[0].jobs[0].secrets == ("HF_TOKEN",)
    assert VALUE not in "".join(codec.lines(plan))
    assert "HF_TOKEN" not in plan.trials[0].jobs[0].commands[0].env


REFUSED = {
    "a literal": (entry("definition: bench, env: {HF_TOKEN: abc}"), "put it into your environment"),
    "a literal of a program": (entry("command: {argv: [x], env: {HF_TOKEN: abc}}"), "put it into your environment"),
    "another value by make_env": (benchfile(make_env="{'HF_TOKEN': 'abc'}"), "put it into your environment"),
    "another value by a command": (benchfile(options="{'HF_TOKEN': 'abc'}"), "put it into your environment"),
    "under another name": (entry("command: {argv: [x], env: {HUB: '${oc.env:HF_TOKEN}'}}"), "HF_TOKEN"),
    "of another name": (entry("command: {argv: [x], env: {HUB: '${secret:HF_TOKEN}'}}"), "under its own"),
    "as an argument": (entry("command: {argv: [x, '${oc.env:HF_TOKEN}']}"), "read it from the variable HF_TOKEN"),
    "as an option": (entry("definition: bench, argv: {--token: '${oc.env:HF_TOKEN}'}"), "from the variable HF_TOKEN"),
    "as a benchfile's argument": (benchfile(argument=f"'{VALUE}',"), "read it from the variable HF_TOKEN"),
}


@pytest.mark.parametrize(("files", "message"), REFUSED.values(), ids=REFUSED)
def test_a_secret_that_would_stand_in_the_plan_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        planned(tmp_path, files, environ=OPERATOR)
    assert {problem.code for problem in caught.value.problems} == {"E411"}
    assert message in str(caught.value)
    assert VALUE not in str(caught.value)
    assert caught.value.problems[0].mark is not None


def test_a_configuration_holds_secrets_by_name() -> None:
    config = {"env": {"API_KEY": "x", "A": "1"}, "command": {"argv": ["a"], "env": {"PASSWORD": "y"}}, "name": "one"}
    assert without_secrets(config) == {
        "env": {"API_KEY": "${secret:API_KEY}", "A": "1"},
        "command": {"argv": ["a"], "env": {"PASSWORD": "${secret:PASSWORD}"}},
        "name": "one",
    }


def test_a_text_is_freed_of_the_values_of_secrets() -> None:
    assert redacted(f"a={VALUE}, {VALUE}", OPERATOR) == "a=${secret:HF_TOKEN}, ${secret:HF_TOKEN}"
    assert redacted("a=1", {"PASSWORD": "1"}) == "a=1"


@pytest.mark.parametrize(
    ("secrets", "text", "shown"),
    [
        ({"OPENAI_API_KEY": "OPENAI_API_KEY"}, "OPENAI_API_KEY", "${secret:OPENAI_API_KEY}"),
        (
            {"API_KEY": "is ${secret:", "A_TOKEN": "A_TOKEN_"},
            "is ${secret: A_TOKEN_",
            "${secret:API_KEY} ${secret:A_TOKEN}",
        ),
        ({"API_KEY": "abcdefgh", "A_TOKEN": "abcdefghi"}, "abcdefghi abcdefgh", "${secret:A_TOKEN} ${secret:API_KEY}"),
        ({"A_TOKEN": "abcdefgh", "B_TOKEN": "abcdefgh"}, "abcdefgh", "${secret:A_TOKEN}"),
    ],
)
def test_a_value_that_looks_like_a_name_is_replaced_once(secrets: dict[str, str], text: str, shown: str) -> None:
    assert redacted(text, secrets) == shown


@pytest.mark.parametrize("value", ['quoted"value', "back\\slash\\", "umlauts-äöü", "line\nbreak\t", "both'and\"quotes"])
def test_a_value_with_characters_that_are_escaped_is_found(tmp_path: Path, value: str) -> None:
    known = {"MY_SECRET": value}
    assert redacted_data({f"{value}.": [value, 1, None, (f"a{value}",)]}, known) == {
        "${secret:MY_SECRET}.": ["${secret:MY_SECRET}", 1, None, ["a${secret:MY_SECRET}"]]
    }
    noted = entry("definition: bench, x-note: '${oc.env:MY_SECRET}'")
    for files in (noted, benchfile(argument=f"{value!r},")):
        with pytest.raises(ConfigurationError, match=r"the value of MY_SECRET"):
            planned(tmp_path, files, environ=known)


def test_a_number_that_is_spelled_like_a_secret_is_one() -> None:
    assert redacted_data([123456789, 12345678, True], {"PASSWORD": "123456789"}) == [
        "${secret:PASSWORD}",
        12345678,
        True,
    ]


@pytest.mark.parametrize(
    "value", ["plain-value", 'quoted"value', "it's a value", "back\\slash", "both'and\"quotes", "ä" * 500]
)
@pytest.mark.parametrize("around", ["{}", "'{}", '"{}', "--token={} and more"])
def test_a_message_shows_no_secret_however_it_is_quoted_or_cut(value: str, around: str) -> None:
    text = around.format(value)
    for told in (
        f"not {text}",
        f"not {text!r}",
        f"not {Node(text, 'f', 1, 1).shown}",
        Problem(code="", message=text * 9).message,
    ):
        message = redacted_message(told, {"MY_SECRET": value})
        assert "${secret:MY_SECRET}" in message
        assert not any(part in message for part in (value, repr(value)[1:-1], value[:8]))


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("HF_TOKEN", True),
        ("hf_token", True),
        ("GITHUB_TOKEN_2", True),
        ("WANDB_API_KEY", True),
        ("APIKEY", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("PGPASSWORD", True),
        ("TOKENIZERS_PARALLELISM", False),
        ("MAX_TOKENS", False),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", False),
        ("SECRETS_DIR", False),
        ("PATH", False),
    ],
)
def test_secrets_are_known_by_the_names_of_their_variables(name: str, secret: bool) -> None:
    assert is_secret(name) == secret
