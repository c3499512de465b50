"""A version of a small cycle, replayed: the same again, with other code, in another environment."""

import shutil
from pathlib import Path

import pytest

from tests.cycle.conftest import tessera

STAGES = ("ingest", "quality", "shuffle", "pretrain", "evaluate")

CHANGE = ("(stream + 1) * WORD_STRIDE", "(stream + 2) * WORD_STRIDE")
"""Other random numbers for every view, by one line of ``chance.py``."""

pytestmark = pytest.mark.slow


@pytest.fixture
def copied(checkout: Path, tmp_path: Path) -> Path:
    """A copy of the checkout that a test may change."""
    return Path(shutil.copytree(checkout, tmp_path / "copy", symlinks=True))


def verdicts(text: str) -> dict[str, str]:
    """Return stage -> outcome from the report on the terminal."""
    report = text.partition("REPLAY OF")[2]
    words = [line.split() for line in report.splitlines() if line.startswith("  ")]
    return {line[0]: line[1] for line in words if line[0] in STAGES}


def test_every_stage_behind_the_champion_comes_out_identical(checkout: Path) -> None:
    said = tessera(checkout, "replay", "1").stdout

    assert verdicts(said) == dict.fromkeys(STAGES, "identical")
    assert "finding " not in said
    assert "with commit " in said
    assert list(checkout.glob("data/replays/tessera-v1-*/replay.json"))


def test_a_changed_line_in_the_sampler_is_found_where_it_first_shows(copied: Path) -> None:
    sampler = copied / "tessera_core" / "pretrain" / "chance.py"
    text = sampler.read_text(encoding="utf-8")
    changed = text.replace(*CHANGE)
    assert changed != text
    sampler.write_text(changed, encoding="utf-8")

    said = tessera(copied, "replay", "1", "--present-code", expect=3).stdout

    assert list(verdicts(said).values())[:3] == ["identical"] * 3
    assert verdicts(said)["pretrain"] == "differs"
    assert "The first stage that diverges is pretrain." in said
    assert "finding      code: pretrain was made by" in said
    assert "safetensors: other content" in said


def test_a_bumped_dependency_is_a_finding_that_names_it(copied: Path) -> None:
    # The first distribution on the path is the one that Python believes in.
    folder = copied / "tqdm-99.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: tqdm\nVersion: 99.0\n")

    said = tessera(copied, "replay", "1", "--stage", "quality").stdout

    assert "finding      environment: tqdm was 4." in said
    assert "is 99.0" in said
    assert verdicts(said) == {"quality": "identical"}


def test_a_version_that_does_not_exist_is_bad_input(checkout: Path) -> None:
    said = tessera(checkout, "replay", "99", expect=2).stderr

    assert "the lineage has no version and no export 99" in said
