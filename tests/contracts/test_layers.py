"""The layers drawn in docs/decisions/0002 hold; import-linter reads them from pyproject.toml."""

import subprocess
import sys
from pathlib import Path


def test_imports_point_downwards_and_stay_behind_their_boundaries(repo):
    lint_imports = Path(sys.executable).with_name("lint-imports")

    run = subprocess.run(
        [lint_imports, "--no-logo", "--no-cache"],
        cwd=repo,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert run.returncode == 0, run.stdout + run.stderr
