"""Files and functions stay readable: a longer one is two ideas, or needs an argument here."""

import ast
from pathlib import Path

import pytest

ROOTS = ("tessera_core", "flows", "tests", "infra", "docs")
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 80


@pytest.fixture(scope="module")
def sources(repo: Path) -> dict[str, str]:
    """Text by path relative to the repository."""
    paths = sorted(path for root in ROOTS for path in (repo / root).rglob("*.py"))
    return {path.relative_to(repo).as_posix(): path.read_text("utf-8") for path in paths}


def function_lengths(source: str) -> dict[str, int]:
    """Lines from ``def`` to the last statement, docstring included, by ``line:name``."""
    functions = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return {
        f"{node.lineno}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for node in functions
    }


def test_the_measure_counts_from_def_to_the_last_line():
    source = "@decorated\ndef outer():\n    '''Say.'''\n\n    async def inner():\n        pass\n"

    lengths = function_lengths(source)

    assert lengths == {"2:outer": 5, "5:inner": 2}


def test_every_file_stays_below_the_ceiling(sources):
    too_long = {
        path: lines
        for path, source in sources.items()
        if (lines := len(source.splitlines())) > MAX_FILE_LINES
    }

    assert "tessera_core/__init__.py" in sources
    assert too_long == {}


def test_every_function_stays_below_the_ceiling(sources):
    too_long = {
        f"{path}:{name}": lines
        for path, source in sources.items()
        for name, lines in function_lengths(source).items()
        if lines > MAX_FUNCTION_LINES
    }

    assert too_long == {}
