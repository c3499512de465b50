"""The tracking databases are lost: audits still verify, and receipts bring the registry back."""

import shutil
from pathlib import Path

import pytest

from tests.cycle.conftest import run_in, tessera

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

FIND = """
from flows.context import load_context
from flows.models import find_model
context = load_context(".")
print([find_model(context, name).name for name in ("tessera/1", "tessera/2", "tessera@champion")])
"""


def test_after_the_loss_of_both_databases_everything_goes_on_as_before(
    checkout: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(checkout, tmp_path / "copy"))
    tessera(copy, "retrain", "--set", "pretrain.seed=98")
    for name in (".mlflow", ".prefect"):
        shutil.rmtree(copy / name)

    audited = tessera(copy, "audit").stdout
    rebuilt = tessera(copy, "rebuild-tracking").stdout
    again = tessera(copy, "rebuild-tracking").stdout
    found = run_in(copy, "-c", FIND).stdout
    retrained = [
        tessera(copy, "retrain", *words).stdout for words in ((), ("--set", "pretrain.seed=98"))
    ]
    after = tessera(copy, "rebuild-tracking").stdout

    assert "PASSED" in audited
    assert rebuilt.count("restored  ") == 10
    assert "note" not in rebuilt
    assert again.startswith("nothing restored; 8 runs and versions were there")
    assert found.strip().startswith("['tessera v1', 'tessera v2', 'tessera v")
    assert [text.count(" reused ") for text in retrained] == [8, 8]
    assert "tessera version 1 is champion" in retrained[0]
    assert "tessera version 2 is" in retrained[1]
    assert after.startswith("nothing restored; 8 runs and versions were there")
