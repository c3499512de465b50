"""Golden numbers in JSON, one entry per kind of platform, because kernels round differently."""

import json
import platform
from pathlib import Path
from typing import Any

import pytest
import torch


def platform_class() -> str:
    """What decides the last digits, once the kernels are pinned: processor family and torch."""
    return f"{platform.machine()}, torch {torch.__version__.split('+')[0]}"


def recall(path: Path, found: Any, bless: bool) -> Any:
    """Return what was recorded for this platform, recording ``found`` first when blessing.

    Skips where nothing was ever recorded for this platform.
    """
    entries = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if bless:
        entries[platform_class()] = found
        text = json.dumps(entries, indent=1, sort_keys=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    if platform_class() not in entries:
        pytest.skip(
            f"{path.name} has nothing for {platform_class()}, only for "
            f"{', '.join(entries) or 'no platform'}; record it with `make golden`"
        )
    return entries[platform_class()]
