"""A history to audit: ten versions by monthly retrains, two scenes recalled on the way.

    python -m tests.cycle.history FOLDER     lays it in FOLDER, a new checkout; about ten minutes

The cycle is small and its scenes are simulated: this is for walking through, not for science.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import yaml
from tqdm import tqdm

from tests.cycle.conftest import make_checkout, tessera

RECALLED: Final = (
    "S2A_MSIL2A_20220123T100411_R122_T33UXP",
    "S1A_IW_GRDH_1SDV_20220102T164235_041324_rtc",
)
MONTHS: Final = ("", "", "", "", RECALLED[0], "", "", RECALLED[1], "")
"""What was recalled in a month; nothing where a scheduled retrain made the version. The second
recall makes two versions: what the first one published has seen the second scene."""

COMMITTER: Final = ("-c", "user.name=Ann", "-c", "user.email=ann@example.invalid")


def lay_history(repo: Path, folder: Path) -> Path:
    """Make a checkout of the repository in a folder and run nine months of it."""
    checkout = make_checkout(repo, folder)
    excluded: list[str] = []
    for month, scene in enumerate(tqdm(MONTHS, unit="month", disable=None), start=1):
        if scene:
            recall(checkout, scene, version=month)
            excluded.append(scene)
            commit(checkout, f"Leave out {scene}", "ingest", exclude=excluded)
        else:
            commit(checkout, f"Retrain of month {month}", "pretrain", seed=month)
            tessera(checkout, "retrain")
    return checkout


def recall(checkout: Path, scene: str, version: int) -> None:
    """Carry a recall out; Ann decides where the gate would keep what has seen the scene."""
    result = tessera(checkout, "recall", scene, "--run", expect=None)
    if result.returncode == 0:
        return
    assert "Let a person decide" in result.stderr, result.stderr[-3000:]
    reason = f"the champion has seen {scene}"
    tessera(checkout, "promote", str(version), "--by", "Ann", "--reason", reason)
    tessera(checkout, "recall", scene, "--run")


def commit(checkout: Path, subject: str, section: str, **values: object) -> None:
    """Change settings in params.yaml and commit that."""
    path = checkout / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params[section] |= values
    path.write_text(yaml.safe_dump(params), encoding="utf-8")
    subprocess.run(
        ["git", *COMMITTER, "commit", "--quiet", "--all", "-m", subject],
        cwd=checkout, check=True, timeout=60,
    )  # fmt: skip


def main(arguments: Sequence[str]) -> None:
    """Lay the history in the folder that is named."""
    (folder,) = arguments
    lay_history(Path(__file__).resolve().parents[2], Path(folder).absolute())


if __name__ == "__main__":
    main(sys.argv[1:])
