"""The tracking databases are lost: audits still verify, and receipts bring the registry back."""

import shutil
from pathlib import Path

import pytest

from tests.cycle.conftest import OTHER_SEED, copy_checkout, run_in, tessera

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

FIND = """
from flows.context import load_context
from flows.services.models import find_model
context = load_context(".")
print([find_model(context, name).name for name in ("tessera/1", "tessera/2", "tessera@champion")])
"""


def test_after_the_loss_of_both_databases_everything_goes_on_as_before(
    two_versions: Path, tmp_path: Path
) -> None:
    copied = copy_checkout(two_versions, tmp_path / "copied")
    tessera(copied, "retrain")  # repairs what names the folder that it was copied from
    for name in (".mlflow", ".prefect"):
        shutil.rmtree(copied / name)

    audited = tessera(copied, "audit").stdout
    rebuilt = tessera(copied, "rebuild-tracking").stdout
    again = tessera(copied, "rebuild-tracking").stdout
    found = run_in(copied, "-c", FIND).stdout
    retrained = [tessera(copied, "retrain", *words).stdout for words in ((), OTHER_SEED)]
    after = tessera(copied, "rebuild-tracking").stdout

    assert "PASSED" in audited
    assert rebuilt.count("restored  ") == 10
    assert "note" not in rebuilt
    assert again.startswith("nothing restored; 8 runs and versions were there")
    assert found.strip().startswith("['tessera v1', 'tessera v2', 'tessera v")
    assert [text.count(" reused ") for text in retrained] == [8, 8]
    assert "tessera version 1 is champion" in retrained[0]
    assert "tessera version 2 is" in retrained[1]
    assert after.startswith("nothing restored; 8 runs and versions were there")
