"""What run.json keeps of the options of a run, for whoever has to set up the same elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from milabench.app import facts
from milabench.app.options import Options

OPTIONS = Options(config=None, base=Path("/elsewhere"), accept_new_host_keys=True)


def kept(options: Options) -> Any:
    return json.loads(json.dumps({"base": str(options.base), "setup": facts._setup(options)}))


def test_the_line_to_set_up_the_same_is_told_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "suite.yaml").write_text("{}")
    monkeypatch.chdir(tmp_path)
    begun = Options(
        config="suite.yaml",
        base=Path("/base"),
        select=("a b",),
        exclude=("c",),
        override=("x.argv.--n=1",),
        lenient=True,
        installer="pip",
        offline=True,
        shape={"arch": "cuda"},
    )
    found = facts.setting_up({**kept(begun), "system_file": "/two.yaml"}, OPTIONS)
    assert found is not None
    assert found.command("install") == (
        f"milabench install --config {tmp_path}/suite.yaml --base /base --system /two.yaml --select 'a b' --exclude c"
        " --override x.argv.--n=1 --legacy --arch cuda --installer pip --offline --accept-new-host-keys"
    )


def test_a_suite_that_milabench_brings_keeps_its_name_and_that_of_a_bundle_has_none() -> None:
    assert kept(Options(config="smoke", base=Path("/base")))["setup"]["config"] == "smoke"
    packed = Options(
        config="/base/extra/suite.yaml", base=Path("/base"), bundle=Path("/b.tar"), unpacked=Path("/base/extra")
    )
    found = facts.setting_up(kept(packed), OPTIONS)
    assert found is not None
    assert found.command("prepare") == "milabench prepare --base /base --bundle /b.tar --accept-new-host-keys"


def test_of_a_run_that_kept_none_of_it_nothing_is_made_up() -> None:
    assert facts.setting_up({"base": "/base", "config": "suite.yaml"}, OPTIONS) is None


def test_a_secret_of_an_override_is_kept_by_its_name() -> None:
    begun = Options(
        config="smoke", base=Path("/base"), override=("x.env.T=hf_abcdefgh12",), environ={"HF_TOKEN": "hf_abcdefgh12"}
    )
    assert "hf_abcdefgh12" not in json.dumps(kept(begun))
