"""A registration killed at any step keeps its reasons, its numbers, and one version per model."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.adapters.registry import MlflowRegistry
from flows.context import Context
from flows.services.auditing import registry_findings
from tessera_core.config import PlatformConfig
from tessera_core.lineage.audit.decisions import check_overrides
from tessera_core.lineage.audit.evidence import Evidence
from tessera_core.records.lineage import receipts_of
from tessera_core.records.paths import Paths
from tests.cycle.killable_register import NAME, UNDISTURBED, settings_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

PROGRAM = Path(__file__).with_name("killable_register.py")
TIME_LIMIT_S = 900
MIN_KILLS = 10


def decisions_of(world: Path) -> list[dict[str, Any]]:
    found = [json.loads(path.read_bytes()) for path in world.glob("checkout/data/lineage/*.json")]
    return [each for each in found if isinstance(each, dict) and each.get("kind") == "decision"]


# Only it kills register itself: everywhere between the decision and its receipt.
def test_a_registration_killed_at_any_step_ends_with_the_same_receipt_and_a_green_audit(
    repo: Path, tmp_path: Path
) -> None:
    result = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(repo)}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    receipt = (tmp_path / UNDISTURBED / "checkout/data/receipts/register.json").read_bytes()
    expected = json.loads(receipt)["facts"]
    assert expected["decision"]["alias"] == "champion"
    assert "crop_type: accuracy" in "; ".join(expected["decision"]["reasons"])
    assert expected["decision"]["numbers"]["tasks"]
    assert expected["evidence"]

    killed = sorted(tmp_path.glob("killed-*"))
    points = [(world / "steps").read_text(encoding="utf-8").splitlines() for world in killed]

    assert len(killed) >= MIN_KILLS
    assert any("set_registered_model_alias" in steps[: number + 1][-1]
               for number, steps in enumerate(points))  # fmt: skip
    for world in killed:
        checkout = world / "checkout"
        paths = Paths(root=checkout, workspace=checkout)
        context = Context(
            config=PlatformConfig.read(repo / "params.yaml"), paths=paths,
            settings=settings_of(world), lenders=(),
        )  # fmt: skip
        registry = MlflowRegistry(context.settings, NAME, run_id="")
        champion, challenger = registry.champion(), registry.by_alias("challenger")
        registered = receipts_of("register", paths.lineage)

        assert (checkout / "data/receipts/register.json").read_bytes() == receipt, world.name
        assert [each.version for each in registry.listed()] == ["1", "2"]
        assert len({each.model_digest for each in registry.listed()}) == 2
        assert champion is not None
        assert (champion.version, challenger) == ("2", None)
        assert len(registered) == 2
        assert len(decisions_of(world)) == 2
        assert registry_findings(context, NAME) == []
        assert check_overrides(registered, Evidence(paths, lambda _: None), paths) == []
