"""A version is replayed: the same bytes, other code, another environment, lost data, Ctrl-C."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cycle.conftest import dvc, tessera

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SAMPLER = Path("tessera_core/pretrain/views.py")
STAGES = ["ingest", "quality", "shuffle", "pretrain", "evaluate", "export"]
PATIENCE_S = 120


@pytest.fixture
def other_sampler(copied: Path) -> Path:
    """The copy, with one line of the sampler changed since the version was trained."""
    source = (copied / SAMPLER).read_text("utf-8")
    changed = source.replace("words=stream_words(key),", "words=stream_words(key + 1),")
    assert changed != source
    (copied / SAMPLER).write_text(changed, "utf-8")
    return copied


def verdicts(checkout: Path, suffix: str = "") -> dict[str, str]:
    (path,) = checkout.glob(f"data/replays/tessera-v1-????????????{suffix}/replay.json")
    return {one["stage"]: one["verdict"] for one in json.loads(path.read_bytes())["stages"]}


def leftovers(checkout: Path) -> list[str]:
    listed = subprocess.run(
        ["git", "worktree", "list", "--porcelain"],
        cwd=checkout, capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    others = [line for line in listed.splitlines() if line.startswith("worktree ")][1:]
    return [*others, *(path.name for path in checkout.glob("data/replays/.*"))]


def test_every_stage_of_the_champion_is_identical(checkout: Path) -> None:
    lineage = sorted((checkout / "data" / "lineage").iterdir())

    printed = tessera(checkout, "replay", "tessera/1").stdout

    assert "every stage is identical" in printed
    assert verdicts(checkout) == dict.fromkeys(STAGES, "identical")
    assert leftovers(checkout) == []
    assert sorted((checkout / "data" / "lineage").iterdir()) == lineage


def test_with_one_line_of_the_sampler_changed_pretrain_is_the_first_to_differ(
    other_sampler: Path,
) -> None:
    printed = tessera(other_sampler, "replay", "tessera/1", "--present-code", expect=3).stdout

    assert "first diverging stage: pretrain" in printed
    assert "data/model/encoder.safetensors" in printed
    assert str(SAMPLER) in printed, "the finding names the changed file"
    found = verdicts(other_sampler)
    assert [stage for stage in STAGES if found[stage] != "identical"] == ["pretrain"]


def test_the_code_of_the_receipt_is_restored_from_its_commit(other_sampler: Path) -> None:
    printed = tessera(other_sampler, "replay", "tessera/1", "--stage", "pretrain").stdout

    assert "pretrain  identical" in printed
    assert "code present" not in printed
    assert leftovers(other_sampler) == []


def test_a_package_of_another_version_is_named(copied: Path) -> None:
    # The first place on the path that knows the package speaks for it.
    fake = copied / "tqdm-99.1.dist-info"
    fake.mkdir()
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: tqdm\nVersion: 99.1\n", "utf-8")

    printed = tessera(copied, "replay", "tessera/1", "--stage", "quality").stdout

    assert "environment of quality: package versions are others now: tqdm 4." in printed
    assert "-> 99.1" in printed


def test_samples_that_are_gone_come_back_from_the_remote(copied: Path) -> None:
    dvc(copied, "push")
    shutil.rmtree(copied / ".dvc" / "cache")
    shutil.rmtree(copied / "data" / "samples")

    printed = tessera(copied, "replay", "tessera/1", "--stage", "quality").stdout

    assert "quality   identical" in printed


def test_a_stage_whose_inputs_are_nowhere_is_not_proven(copied: Path) -> None:
    shutil.rmtree(copied / ".dvc" / "cache")
    shutil.rmtree(copied / "data" / "samples")

    printed = tessera(copied, "replay", "tessera/1", "--stage", "quality", expect=3).stdout

    assert "BLOCK inputs of quality" in printed
    assert "data/samples" in printed


def test_an_interrupted_replay_leaves_nothing_behind(other_sampler: Path) -> None:
    words = ["-m", "flows.cli.main", "replay", "tessera/1", "--stage", "pretrain"]
    environment = {**os.environ, "PYTHONPATH": str(other_sampler)}
    with subprocess.Popen(
        [sys.executable, *words], cwd=other_sampler, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        end = time.monotonic() + PATIENCE_S
        while len(leftovers(other_sampler)) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        assert len(leftovers(other_sampler)) == 2, "a worktree and a folder of the replay"
        # As a terminal does it: to all processes of the group.
        os.killpg(process.pid, signal.SIGINT)
        process.wait(PATIENCE_S)

    assert process.returncode == 130
    assert leftovers(other_sampler) == []
