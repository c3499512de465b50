"""Benchmark definitions in a checkout that a test has made."""

import shutil
from pathlib import Path

FOLDER = "data/benchmarks"


def lay_benchmarks(repo: Path, root: Path, *names: str) -> None:
    """Copy definitions of the repository into a checkout.

    Args:
        repo: Where they are.
        root: Where they go.
        names: Which; none = all.
    """
    target = root / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted((repo / FOLDER).glob("*.yaml")):
        if not names or path.stem in names:
            shutil.copy(path, target / path.name)
