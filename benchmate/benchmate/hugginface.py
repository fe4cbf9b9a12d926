"""Models and data sets of the Hugging Face hub, for ``prepare.py``; the module's name is spelt as scripts import it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

_NOT_NEEDED: Final = ("*.git*", "*.md", "*.txt", "*.onnx")


def download_hf_model(
    model_id: str,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    ignore_patterns: Sequence[str] = _NOT_NEEDED,
) -> str:
    """Fetch a model into the hub's cache (``HF_HOME``), or find it there; return its folder."""
    from huggingface_hub import snapshot_download  # type: ignore[import-not-found,unused-ignore]

    given = {"token": token, "cache_dir": cache_dir}
    path = snapshot_download(
        repo_id=model_id,
        ignore_patterns=list(ignore_patterns or _NOT_NEEDED),
        **{name: value for name, value in given.items() if value},
    )
    sys.stderr.write(f"{model_id}: {path}\n")
    return str(path)


def download_hf_dataset(
    dataset_name: str, split: str | None = None, name: str | None = None, token: str | None = None
) -> bool:
    """Fetch a data set into the hub's cache (``HF_HOME``), or find it there, and build it."""
    from datasets import load_dataset  # type: ignore[import-not-found,unused-ignore]

    given = {"split": split, "token": token}
    found: Any = load_dataset(dataset_name, name=name, **{key: value for key, value in given.items() if value})
    parts = found.values() if hasattr(found, "values") else [found]
    files = [entry["filename"] for part in parts for entry in getattr(part, "cache_files", [])]
    sys.stderr.write(
        f"{dataset_name}: {', '.join(sorted({str(Path(file).parent) for file in files})) or 'in memory'}\n"
    )
    return True
