"""The auditor's walk-through of docs/how-to/audit.md, run command by command."""

import doctest
import re
import subprocess
from pathlib import Path

import pytest

from tests.cycle.conftest import TIME_LIMIT_S, environment_of
from tests.cycle.history import lay_history

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(2400)]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "audit.md"
PROMPT = "$ "
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def steps_of(page: str) -> list[tuple[str, str]]:
    """Return each command of the page's console blocks with what it shows below it."""
    steps = []
    for block in re.findall(r"```console\n(.*?)```", page, flags=re.DOTALL):
        for step in re.split(rf"^{re.escape(PROMPT)}", block, flags=re.MULTILINE)[1:]:
            command, _, shown = step.partition("\n")
            steps.append((command, shown))
    return steps


STEPS = steps_of(PAGE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def history(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout that the page walks through."""
    return lay_history(repo, tmp_path_factory.mktemp("history") / "checkout")


@pytest.mark.parametrize(("command", "shown"), STEPS, ids=[command for command, _ in STEPS])
def test_a_command_of_the_page_shows_what_the_page_shows(
    history: Path, command: str, shown: str
) -> None:
    result = subprocess.run(
        ["bash", "-c", command], cwd=history, env=environment_of(history), text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIME_LIMIT_S,
    )  # fmt: skip

    assert doctest.OutputChecker().check_output(shown, result.stdout, FLAGS), result.stdout


def test_the_page_has_commands() -> None:
    assert len(STEPS) >= 10
