"""``tessera promote``: a person overrules the gate, and who and why is kept."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows.adapters.registry import MlflowRegistry
from flows.adapters.tracking import open_run
from flows.context import load_context
from tessera_core.records.files import digest_json, write_atomically
from tessera_core.records.manifest import Manifest
from tessera_core.records.overrides import last_override, overrides_of

pytestmark = pytest.mark.timeout(180)

Tessera = Callable[..., tuple[int, str, str]]

RECEIPTS = {f"{'a' * 64}.json", f"{'b' * 64}.json"}
"""What the scored versions stand on, as far as a promotion asks."""


@pytest.fixture
def registry(tessera: Tessera, root: Path, artifact: Path) -> MlflowRegistry:
    """Two scored versions, of which the first serves, and a third that was never scored."""
    settings = load_context(root).settings
    with open_run(settings, "key", "run") as tracker:
        found = MlflowRegistry(settings, "tessera", tracker.run_id)
    tags = {"tessera.model_digest": Manifest.read(artifact).digest}
    for receipt in ("a" * 64, "b" * 64, ""):
        found.register(artifact, {**tags, "tessera.receipt.evaluate": receipt})
    for name in RECEIPTS:
        write_atomically(root / "data" / "lineage" / name, b"{}")
    found.set_alias("champion", "1", {})
    return found


def test_the_version_serves_and_name_reason_and_predecessor_are_kept(
    tessera: Tessera, registry: MlflowRegistry, root: Path
) -> None:
    code, said, _ = tessera("promote", "2", "--by", "Ann", "--reason", "seams in version 1")

    champion = registry.champion()
    [path] = (p for p in (root / "data" / "lineage").glob("*.json") if p.name not in RECEIPTS)
    record = json.loads(path.read_bytes())
    assert code == 0
    assert "version 2 is champion, before it version 1: Ann decided: seams in version 1" in said
    assert champion is not None
    assert (champion.version, champion.override) == ("2", "Ann decided: seams in version 1")
    assert (record["by"], record["reason"], record["before"], record["version"]) == (
        "Ann", "seams in version 1", "1", "2",
    )  # fmt: skip
    assert path.stem == digest_json(record)


def test_each_decision_names_the_one_before_so_that_none_can_vanish(
    tessera: Tessera, registry: MlflowRegistry, root: Path
) -> None:
    for version in ("2", "1", "2"):
        assert tessera("promote", version, "--by", "Ann", "--reason", "seams")[0] == 0

    overrides = overrides_of(root / "data" / "lineage")
    last = last_override(overrides, "tessera")
    assert len(overrides) == 3
    assert last is not None
    assert (overrides[last].version, overrides[last].before) == ("2", "1")
    assert registry.tags()["2"]["tessera.receipt.override"] == last


def test_what_nobody_answers_for_or_could_serve_changes_nothing(
    tessera: Tessera, registry: MlflowRegistry, root: Path
) -> None:
    refused = {
        ("2", "Ann", " "): "needs a name (--by) and a reason (--reason)",
        ("2", "", "seams"): "needs a name (--by) and a reason (--reason)",
        ("9", "Ann", "seams"): "tessera has no version 9",
        ("3", "Ann", "seams"): "version 3 was never scored",
        ("tessera/1", "Ann", "seams"): "version 1 is the champion already",
        ("2", "Ann", "seams\nand more"): "--reason has 14 characters, expected one line",
        ("2", "Ann", "x" * 20_000): "--reason has 20000 characters, expected one line",
    }

    for (version, by, reason), complaint in refused.items():
        code, _, said = tessera("promote", version, "--by", by, "--reason", reason)
        assert code != 0
        assert complaint in " ".join(said.split())

    champion = registry.champion()
    assert champion is not None
    assert champion.version == "1"
    assert {path.name for path in (root / "data" / "lineage").iterdir()} == RECEIPTS


def test_a_version_of_another_checkout_is_refused_until_what_it_stands_on_is_here(
    tessera: Tessera, registry: MlflowRegistry, root: Path
) -> None:
    (root / "data" / "lineage" / f"{'b' * 64}.json").unlink()

    code, _, complaint = tessera("promote", "2", "--by", "Ann", "--reason", "seams")

    champion = registry.champion()
    assert code == 2
    assert "another checkout registered it" in complaint
    assert "`dvc remote add -d team URL`" in complaint
    assert champion is not None
    assert champion.version == "1"
    assert len(list((root / "data" / "lineage").iterdir())) == 1


@pytest.mark.parametrize("call", ["set_model_version_tag", "set_registered_model_alias"])
def test_a_promotion_that_is_interrupted_is_finished_by_the_same_words(
    tessera: Tessera, registry: MlflowRegistry, root: Path, call: str
) -> None:
    words = ("promote", "2", "--by", "Ann", "--reason", "seams in version 1")
    with pytest.MonkeyPatch.context() as patch:
        # As if the process had ended there.
        patch.setattr(MlflowClient, call, _interrupted)
        assert tessera(*words)[0] == 130
    before = registry.champion()

    code, said, _ = tessera(*words)

    champion = registry.champion()
    overrides = overrides_of(root / "data" / "lineage")
    assert (before and before.version, champion and champion.version) == ("1", "2")
    assert (code, len(overrides)) == (0, 1)
    assert "version 2 is champion, before it version 1" in said
    assert registry.tags()["2"]["tessera.receipt.override"] == next(iter(overrides))


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt
