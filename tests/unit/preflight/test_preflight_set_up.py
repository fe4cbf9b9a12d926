"""What is found of environments, data, secrets and gated models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from good_node import GOOD, ONCE, WANTED, codes, found, plan, trial

from milabench.preflight import Conditions, Wanted
from milabench.preflight.conditions import Environment


def environment(**changes: Any) -> Conditions:
    return replace(GOOD, environments={"torch": replace(Environment(made=True), **changes)})


SET_UP: dict[str, tuple[Conditions, tuple[str, str, str], str, str]] = {
    "not installed": (
        environment(made=False),
        ("not-installed", "blocking", "torch"),
        "not installed: torch",
        "type: milabench install -c s (or, all in one go: milabench run -c s --all)",
    ),
    "another interpreter": (
        environment(base={"python": ("3.10.1", "3.12.2")}),
        ("installed-otherwise", "blocking", "torch"),
        "not installed: torch as it is asked for now (python 3.10.1, asked for 3.12.2)",
        "milabench install -c s",
    ),
    "another milabench": (
        environment(parts=("benchmate", "benchmate[voir]")),
        ("installed-otherwise", "blocking", "torch"),
        "torch as it is asked for now (new or changed: benchmate of this milabench)",
        "milabench install -c s",
    ),
    "many other requirements": (
        environment(parts=tuple(f"b{n}/requirements.in" for n in range(9))),
        ("installed-otherwise", "blocking", "torch"),
        "b5/requirements.in, and 3 more)",
        "milabench install -c s",
    ),
    "changed by hand": (
        environment(changed={"numpy": ("1.26.4", "2.1.0"), "extra": (None, "1.0"), "old": ("1", None)}),
        ("environment-changed", "blocking", "torch"),
        "torch (numpy 1.26.4 → 2.1.0, extra 1.0 added, old 1 removed)",
        "type: rm -r /base/venv/torch && milabench install -c s",
    ),
    "added to by hand": (
        environment(changed={"extra": (None, "1.0")}),
        ("environment-changed", "warning", "torch"),
        "torch (extra 1.0 added)",
        "rm -r /base/venv/torch",
    ),
    "a command's folder": (
        replace(GOOD, absent=frozenset({"/", "/elsewhere"})),
        ("no-folder", "blocking", "/"),
        "the folder that bert runs in is not there: /",
        "let `cwd` name one that is on every node",
    ),
    "not prepared": (
        replace(GOOD, data=frozenset()),
        ("not-prepared", "blocking", "bert"),
        "not prepared, or with other arguments: bert",
        "type: milabench prepare -c s (or, all in one go: milabench run -c s --all)",
    ),
}


@pytest.mark.parametrize(("conditions", "wanted", "what", "remedy"), SET_UP.values(), ids=SET_UP)
def test_what_is_found_of_environments_and_data(
    conditions: Conditions, wanted: tuple[str, str, str], what: str, remedy: str
) -> None:
    (finding,) = found(conditions)
    assert codes([finding]) == [wanted]
    assert what in finding.what
    assert remedy in finding.remedy


def test_what_is_made_before_the_run_need_not_be_there() -> None:
    bare = replace(GOOD, environments={"torch": Environment(made=False)}, data=frozenset())
    assert found(bare, wanted=replace(WANTED, ahead=("install", "prepare"))) == []
    assert [each.code for each in found(bare, wanted=replace(WANTED, ahead=("prepare",)))] == ["not-installed"]


def test_a_secret_that_is_named_must_be_there() -> None:
    named = replace(WANTED, plan=plan(trial("bert", (0,), secrets=("WANDB_API_KEY", "PATH"))))
    (finding,) = found(wanted=named)
    assert codes([finding]) == [("secret-missing", "blocking", "WANDB_API_KEY")]
    assert finding.what == "not in your environment: WANDB_API_KEY"


# Gated -------------------------------------------------------------------------------------------------------------

PAGE = "https://huggingface.co/meta-llama/Llama-3.1-8B"
LOGIN = "/home/me/.cache/huggingface/token"


def gated(*, data: bool = True, url: Any = PAGE, offline: bool = False, **environ: str) -> Wanted:
    """Return a run of a gated benchmark; with ``data`` it has something to prepare."""
    config = {"tags": ["nlp", "gated"], **({"url": url} if url else {})}
    return Wanted(
        plan=plan(trial("llama", (0,)), llama=config),
        data={"llama": ONCE} if data else {},
        environ=environ,
        tokens=WANTED.tokens,
        ahead=("prepare",),
        offline=offline,
    )


GATED: dict[str, tuple[Conditions, Wanted, tuple[str, str] | None, str]] = {
    "no token": (GOOD, gated(), ("token-missing", "blocking"), "export HF_TOKEN=…"),
    "no token and nothing to prepare": (GOOD, gated(data=False), ("token-missing", "warning"), "export HF_TOKEN=…"),
    "an empty token": (GOOD, gated(HF_TOKEN=""), ("token-missing", "blocking"), "export HF_TOKEN=…"),
    "no token and no page": (GOOD, gated(url=None), ("token-missing", "blocking"), "export HF_TOKEN=…"),
    "the name it has elsewhere": (
        GOOD,
        gated(MILABENCH_HF_TOKEN="hf_x"),
        ("token-missing", "blocking"),
        'export HF_TOKEN="$MILABENCH_HF_TOKEN"',
    ),
    "a login that benchmarks do not see": (
        replace(GOOD, files=frozenset({LOGIN})),
        gated(),
        ("token-missing", "blocking"),
        f"export HF_TOKEN_PATH={LOGIN}",
    ),
    "a token": (GOOD, gated(HF_TOKEN="hf_x"), ("gated", "note"), "on these pages"),
    "a token by its old name": (GOOD, gated(HUGGING_FACE_HUB_TOKEN="hf_x"), ("gated", "note"), "on these pages"),
    "a token in the file that benchmarks look into": (
        replace(GOOD, files=frozenset({"/base/data/token"})),
        gated(),
        ("gated", "note"),
        "on these pages",
    ),
    "another site": (GOOD, gated(url=["https://example.org/model"]), ("gated", "note"), "on these pages"),
    "what is no address": (GOOD, gated(url="https://[x"), ("gated", "note"), "on these pages"),
    "prepared already": (replace(GOOD, data=frozenset({"llama"})), gated(), None, ""),
    "no network": (GOOD, gated(offline=True), None, ""),
}


@pytest.mark.parametrize(("conditions", "wanted", "expected", "remedy"), GATED.values(), ids=GATED)
def test_what_is_found_of_gated_benchmarks(
    conditions: Conditions, wanted: Wanted, expected: tuple[str, str] | None, remedy: str
) -> None:
    findings = found(conditions, wanted=wanted)
    assert codes(findings) == ([(*expected, "llama")] if expected else [])
    assert all(remedy in each.remedy for each in findings)


def test_gated_benchmarks_are_told_by_the_page_where_access_is_asked_for() -> None:
    names = ("a", "b", "c")
    configs = {name: {"tags": ["gated"], "url": PAGE if name != "c" else None} for name in names}
    several = replace(gated(), plan=plan(*(trial(name, (0,)) for name in names), **configs))
    (finding,) = found(wanted=several)
    assert finding.what == f"gated, and there is no token for it: a, b ({PAGE}); c (its entry names no url)"
