"""The whole cycle on simulated scenes: run, reuse, repeat elsewhere, damage, replace."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cycle.conftest import OTHER_SEED, copy_checkout, dvc, make_checkout, tessera

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

STAGES = ("ingest", "quality", "shuffle", "pretrain", "evaluate", "register", "export", "audit")


def receipt_outputs(checkout: Path, stage: str) -> list[str]:
    receipt = json.loads((checkout / "data" / "receipts" / f"{stage}.json").read_bytes())
    return [output["sha256"] for output in receipt["outputs"]]


def test_the_cycle_ends_with_a_champion_its_scores_and_a_certificate(checkout: Path) -> None:
    printed = (checkout / "first-run.txt").read_text(encoding="utf-8")

    assert "tessera version 1 is champion" in printed
    assert "best baseline, " in printed
    assert len(printed.partition("tessera version")[2].splitlines()) <= 24, "it fits a screen"
    assert "passed" in printed
    assert "make ui" in printed
    assert (checkout / "data" / "audit" / "certificate.html").is_file()


def test_after_a_prefect_run_dvc_is_clean_and_repro_runs_nothing(checkout: Path) -> None:
    assert "up to date" in dvc(checkout, "status")

    printed = dvc(checkout, "repro")

    assert "Running stage" not in printed


def test_a_second_run_reuses_every_stage_and_says_so(checkout: Path) -> None:
    printed = tessera(checkout, "retrain").stdout

    reused = [line.split()[0] for line in printed.splitlines() if " reused " in line]
    assert reused == list(STAGES)


def test_a_run_that_is_started_in_another_folder_does_the_same(
    checkout: Path, tmp_path: Path
) -> None:
    printed = tessera(tmp_path, "retrain", "--root", str(checkout)).stdout

    assert printed.count(" reused ") == len(STAGES)


def test_dvc_repro_after_a_forced_rerun_lets_prefect_reuse_every_stage(checkout: Path) -> None:
    dvc(checkout, "repro", "--force", "--single-item", "evaluate")

    printed = tessera(checkout, "retrain").stdout

    assert printed.count(" reused ") == len(STAGES)


def test_another_clone_gives_the_same_digests(checkout: Path, repo: Path, tmp_path: Path) -> None:
    other = make_checkout(repo, tmp_path / "other")
    tessera(other, "retrain")

    for stage in ("ingest", "shuffle", "pretrain", "export"):
        assert receipt_outputs(other, stage) == receipt_outputs(checkout, stage), stage


@pytest.mark.parametrize(
    "pattern",
    [
        "data/shards/train-*.parquet",
        "data/model/encoder.safetensors",
        "data/exports/*/npy/*/*/*.npy",
        "data/receipts/shuffle.json",
        "data/samples/tile=*/window=*/samples.parquet",
    ],
)
def test_one_flipped_byte_is_named_by_the_audit(checkout: Path, pattern: str) -> None:
    victim = sorted(checkout.glob(pattern))[0]
    original = victim.read_bytes()
    damaged = bytearray(original)
    damaged[len(damaged) // 2] ^= 1
    try:
        victim.write_bytes(bytes(damaged))
        printed = tessera(checkout, "audit", expect=3).stdout
    finally:
        victim.write_bytes(original)

    assert victim.relative_to(checkout).as_posix() in printed
    assert "BLOCK" in printed
    tessera(checkout, "audit")


def test_an_override_trains_a_second_version_in_its_own_workspace(
    pristine: Path, two_versions: Path, tmp_path: Path
) -> None:
    printed = (two_versions / "second-run.txt").read_text(encoding="utf-8")

    decision = printed.partition("tessera version 2 is")[2].partition("simulated scenes")[0]
    assert "crop_type" in decision
    for stage in ("ingest", "quality", "shuffle"):
        assert f"{stage:<9} reused" in printed
    assert printed.count(" reused ") == 3
    assert receipt_outputs(two_versions, "pretrain") == receipt_outputs(pristine, "pretrain")
    tessera(copy_checkout(two_versions, tmp_path / "copied"), "audit", *OTHER_SEED)


def test_bad_input_ends_with_exit_code_2_and_leaves_nothing(checkout: Path, tmp_path: Path) -> None:
    broken = tmp_path / "tiles"
    broken.mkdir()

    result = tessera(
        checkout, "retrain", "--set", "ingest.source=tiles", "--set", f"ingest.path={broken}",
        expect=2,
    )  # fmt: skip

    assert "holds no tile" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list((checkout / "data" / "runs").glob("*/data/samples"))[1:]


def test_a_closed_quality_gate_ends_with_exit_code_3(checkout: Path) -> None:
    result = tessera(checkout, "retrain", "--set", "quality.min_clear_median=300", expect=3)

    assert "min_clear_median" in result.stderr or "clear" in result.stderr
    shutil.rmtree(checkout / "data" / "runs", ignore_errors=True)
