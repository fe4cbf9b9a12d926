"""What is found of environments, data, secrets and tokens: whether what a run needs is there, and as it was made."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from milabench.preflight.conditions import Conditions, Environment
from milabench.preflight.types import Finding, Severity, Wanted

GATED = "gated"  # the tag of a benchmark whose model or data are given out to whom they were granted only
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_SITES = ("huggingface.co", "hf.co")
_OTHER_NAME = "MILABENCH_HF_TOKEN"  # by which milabench of Mila has it
_TOLD = 6  # packages


def findings(conditions: Conditions, wanted: Wanted) -> Iterator[Finding]:
    """Yield what is not there, or not as it was made."""
    if "install" not in wanted.ahead:
        yield from _environments(conditions, wanted)
    if "prepare" not in wanted.ahead:
        yield from _data(conditions, wanted)
    yield from _folders(conditions, wanted)
    yield from _secrets(wanted)
    if not wanted.offline:
        yield from _gated(conditions, wanted)


# Environments --------------------------------------------------------------------------------------------------------


def _environments(conditions: Conditions, wanted: Wanted) -> Iterator[Finding]:
    states = {name: conditions.environments[name] for name in wanted.environments if name in conditions.environments}
    if absent := [name for name, state in states.items() if not state.made]:
        yield Finding(
            code="not-installed",
            severity="blocking",
            subject=", ".join(absent),
            what=f"not installed: {', '.join(absent)}",
            consequence="benchmarks of these environments cannot start",
            remedy=_type("install", wanted),
        )
    for name, state in states.items():
        if state.made and (state.base or state.parts):
            yield Finding(
                code="installed-otherwise",
                severity="blocking",
                subject=name,
                what=f"not installed: {name} as it is asked for now ({_reasons(state)})",
                consequence="its benchmarks would run with other packages than the suite asks for",
                remedy=_type("install", wanted),
            )
        elif state.changed:
            folder = wanted.environments[name].folder
            only_more = all(was is None for was, _ in state.changed.values())
            yield Finding(
                code="environment-changed",
                severity="warning" if only_more else "blocking",
                subject=name,
                what=f"changed since it was installed: {name} ({_changes(state.changed)})",
                consequence="its benchmarks would measure other packages than were installed for the suite",
                remedy=f"type: rm -r {shlex.quote(str(folder))} && {_command('install', wanted)}",
            )


def _reasons(state: Environment) -> str:
    reasons = [f"{name} {was or 'none'}, asked for {now or 'none'}" for name, (was, now) in state.base.items()]
    parts = sorted({_part(part) for part in state.parts})
    told = parts[:_TOLD] + ([f"and {len(parts) - _TOLD} more"] if len(parts) > _TOLD else [])
    return "; ".join([*reasons, *([f"new or changed: {', '.join(told)}"] if told else [])])


def _part(part: str) -> str:
    """Return what a part of an environment is called: ``bert/requirements.in``, benchmate of this milabench."""
    return "benchmate of this milabench" if part.startswith("benchmate") else part


def _changes(changed: Mapping[str, tuple[str | None, str | None]]) -> str:
    told = [_change(name, was, now) for name, (was, now) in list(changed.items())[:_TOLD]]
    return ", ".join([*told, *([f"and {len(changed) - _TOLD} more"] if len(changed) > _TOLD else [])])


def _change(name: str, was: str | None, now: str | None) -> str:
    if was is None:
        return f"{name} {now} added"
    return f"{name} {was} removed" if now is None else f"{name} {was} → {now}"


def _type(verb: str, wanted: Wanted) -> str:
    return f"type: {_command(verb, wanted)} (or, all in one go: {_command('run', wanted)} --all)"


def _command(verb: str, wanted: Wanted) -> str:
    return wanted.commands.get(verb, f"milabench {verb}")


# Data and secrets ----------------------------------------------------------------------------------------------------


def _data(conditions: Conditions, wanted: Wanted) -> Iterator[Finding]:
    if absent := [name for name in wanted.data if name not in conditions.data]:
        yield Finding(
            code="not-prepared",
            severity="blocking",
            subject=", ".join(absent),
            what=f"not prepared, or with other arguments: {', '.join(absent)}",
            consequence="these benchmarks would fail for want of their data, or measure other data",
            remedy=_type("prepare", wanted),
        )


def _folders(conditions: Conditions, wanted: Wanted) -> Iterator[Finding]:
    for folder, names in wanted.folders.items():
        if folder in conditions.absent:
            yield Finding(
                code="no-folder",
                severity="blocking",
                subject=folder,
                what=f"the folder that {', '.join(names)} runs in is not there: {folder}",
                consequence="its processes cannot start: the folder of a command is not sent to nodes",
                remedy="put it there, let `cwd` name one that is on every node, or make it a definition, which is sent",
            )


def _secrets(wanted: Wanted) -> Iterator[Finding]:
    named = {name for trial in wanted.plan.trials for job in trial.jobs for name in job.secrets}
    if absent := sorted(named - wanted.environ.keys()):
        yield Finding(
            code="secret-missing",
            severity="blocking",
            subject=", ".join(absent),
            what=f"not in your environment: {', '.join(absent)}",
            consequence="processes that the suite gives this secret would start without it",
            remedy="set what the suite names as a secret (export NAME=…)",
        )


# Gated models and data -----------------------------------------------------------------------------------------------


def _gated(conditions: Conditions, wanted: Wanted) -> Iterator[Finding]:
    """Yield what needs a grant and a token. Nobody is asked: whether access was granted shows when it is fetched."""
    gated = {name: config for name, config in wanted.benchmarks.items() if GATED in config.get("tags", ())}
    ahead = {name: config for name, config in gated.items() if name not in conditions.data}  # not fetched yet
    hub = {name: config for name, config in ahead.items() if _is_of_hub(_pages(config))}
    if hub and not _has_token(conditions, wanted):
        severity: Severity = "blocking" if any(name in wanted.data for name in hub) else "warning"
        yield Finding(
            code="token-missing",
            severity=severity,
            subject=", ".join(hub),
            what=f"gated, and there is no token for it: {_with_pages(hub)}",
            consequence="fetching their models or data is refused (401)",
            remedy=_token_remedy(conditions, wanted),
        )
        return
    if ahead:
        yield Finding(
            code="gated",
            severity="note",
            subject=", ".join(ahead),
            what=f"gated: {_with_pages(ahead)}",
            consequence="fetching them is refused (403) until access is granted, which may take days",
            remedy="ask for it on these pages, with the account of your token",
        )


def _has_token(conditions: Conditions, wanted: Wanted) -> bool:
    return any(wanted.environ.get(name) for name in TOKENS) or bool(conditions.files & set(wanted.tokens[:1]))


def _token_remedy(conditions: Conditions, wanted: Wanted) -> str:
    elsewhere = next((file for file in wanted.tokens[1:] if file in conditions.files), None)
    if wanted.environ.get(_OTHER_NAME):
        return f'type: export HF_TOKEN="${_OTHER_NAME}"'
    if elsewhere is not None:  # benchmarks keep what they fetch below the base, and look for the token there
        return f"type: export HF_TOKEN_PATH={elsewhere} (your login's, where benchmarks do not look by themselves)"
    return "ask for access there, make a token (https://huggingface.co/settings/tokens), and type: export HF_TOKEN=…"


def _with_pages(benchmarks: Mapping[str, Mapping[str, Any]]) -> str:
    """Return benchmarks by their pages: ``llama, llm (https://…)``; those of one page together."""
    by_page: dict[str, list[str]] = {}
    for name, config in benchmarks.items():
        by_page.setdefault(", ".join(_pages(config)) or "its entry names no url", []).append(name)
    return "; ".join(f"{', '.join(names)} ({page})" for page, names in by_page.items())


def _pages(config: Mapping[str, Any]) -> Sequence[str]:
    url = config.get("url") or ()
    return (url,) if isinstance(url, str) else tuple(map(str, url))


def _is_of_hub(pages: Sequence[str]) -> bool:
    """Say whether it comes from the Hugging Face hub, as what names no page most likely does."""
    return not pages or any(_site(page).removeprefix("www.") in _SITES for page in pages)


def _site(page: str) -> str:
    try:
        return urlsplit(page).hostname or ""
    except ValueError:  # no address at all (``https://[x``)
        return ""
