"""One way to run any stage: what is reused, what runs again, what is refused."""

import json
from dataclasses import replace

import pytest
import torch

from tessera_core.config import PlatformConfig
from tessera_core.errors import InputError, RecordError
from tessera_core.ports import OFFLINE
from tessera_core.records.cycle import STAGES
from tessera_core.records.files import digest_file
from tessera_core.records.manifest import Manifest, find_differences
from tessera_core.records.receipt import Receipt, write_receipt
from tessera_core.stages import outputs_intact, run_stage
from tests.unit.chain import TINY_OVERRIDES, ingest_by_hand, record
from tests.unit.register.built import Workshop

CYCLE = ("ingest", "quality", "shuffle", "pretrain", "evaluate", "register", "export", "audit")


@pytest.fixture(autouse=True)
def _one_thread(_strict_torch: None) -> None:
    """Compute on one thread: a second costs more than it gives to networks this small."""
    torch.set_num_threads(1)


@pytest.fixture
def configure(repo):
    """A function that reads the shipped settings, made tiny, with further overrides."""
    return lambda *overrides: PlatformConfig.read(repo / "params.yaml", TINY_OVERRIDES + overrides)


@pytest.fixture
def paths(tmp_path):
    return ingest_by_hand(tmp_path)


@pytest.fixture
def shuffle(configure, paths):
    """A function that runs the shuffle stage with overrides."""
    return lambda *overrides: run_stage("shuffle", configure(*overrides), paths, OFFLINE)


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def lineage_of(paths):
    return {path.name for path in paths.lineage.iterdir()}


def test_the_stages_stand_in_order_and_lean_only_on_earlier_ones():
    assert tuple(STAGES) == CYCLE
    for position, stage in enumerate(STAGES.values()):
        assert set(stage.upstream) <= set(CYCLE[:position])
        assert stage.module.endswith(f".{stage.name}.stage")


def test_the_first_run_does_the_work_and_writes_the_receipt(shuffle, paths):
    result = shuffle()

    stored = Receipt.read(paths.receipt("shuffle"))
    assert not result.reused
    assert stored.digest == result.receipt.digest
    assert stored.config == {"shuffle": result.receipt.config["shuffle"]}
    assert outputs_intact(stored, paths)


def test_a_receipt_names_its_upstream_receipts_and_its_outputs_by_digest(shuffle, paths):
    receipt = shuffle().receipt

    assert receipt.upstream == {
        name: Receipt.read(paths.receipt(name)).digest for name in ("ingest", "quality")
    }
    assert receipt.outputs == (digest_file(paths.shards / "manifest.json", paths.workspace),)


def test_receipt_and_manifests_are_kept_in_the_lineage_under_their_digest(shuffle, paths):
    receipt = shuffle().receipt

    archived = paths.lineage / f"{receipt.digest}.json"
    manifest = paths.lineage / f"{receipt.outputs[0].sha256}.json"
    assert archived.read_bytes() == paths.receipt("shuffle").read_bytes()
    assert manifest.read_bytes() == (paths.shards / "manifest.json").read_bytes()


def test_nothing_runs_when_nothing_changed(shuffle, paths):
    first = shuffle()
    stamps = {path: path.stat().st_mtime_ns for path in paths.data.rglob("*")}

    second = shuffle()

    assert second.reused
    assert second.receipt == first.receipt
    assert {path: path.stat().st_mtime_ns for path in paths.data.rglob("*")} == stamps


def test_settings_that_the_stage_does_not_read_do_not_matter(shuffle):
    shuffle()

    assert shuffle("export.batch_size=64", "pretrain.seed=5").reused


def test_a_changed_setting_runs_the_stage_again_and_keeps_the_older_receipt(shuffle, paths):
    first = shuffle()

    second = shuffle("shuffle.seed=14")

    assert not second.reused
    assert second.receipt.digest != first.receipt.digest
    assert second.receipt.outputs != first.receipt.outputs
    assert {f"{r.receipt.digest}.json" for r in (first, second)} <= lineage_of(paths)


def test_going_back_to_older_settings_gives_the_older_receipt(shuffle, paths):
    first = shuffle()
    shuffle("shuffle.seed=14")
    before = lineage_of(paths)

    third = shuffle()

    assert third.receipt.digest == first.receipt.digest
    assert lineage_of(paths) == before


@pytest.mark.parametrize("name", ["manifest.json", "norms.json", "*.parquet"])
def test_a_changed_byte_of_an_output_runs_the_stage_again(shuffle, paths, name):
    first = shuffle()
    damaged = sorted(paths.shards.glob(name))[0]
    before = damaged.read_bytes()
    damage(damaged)
    assert not outputs_intact(first.receipt, paths)

    second = shuffle()

    assert damaged.read_bytes() == before
    assert second.receipt.digest == first.receipt.digest
    assert outputs_intact(second.receipt, paths)


def test_a_missing_or_an_unlisted_file_runs_the_stage_again(shuffle, paths):
    shuffle()
    (paths.shards / "norms.json").unlink()
    shuffle()
    (paths.shards / "stray.parquet").write_bytes(b"")

    shuffle()

    assert find_differences(paths.shards, Manifest.read(paths.shards)) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 0}'])
def test_an_unreadable_receipt_of_its_own_runs_the_stage_again(shuffle, paths, content):
    first = shuffle()
    paths.receipt("shuffle").write_bytes(content)

    second = shuffle()

    assert not second.reused
    assert second.receipt.digest == first.receipt.digest


def test_new_samples_run_the_stage_again(shuffle, paths):
    first = shuffle()
    ingest_by_hand(paths.root, seed=2)

    second = shuffle()

    assert not second.reused
    assert second.receipt.upstream != first.receipt.upstream
    assert second.receipt.outputs != first.receipt.outputs


def test_a_changed_closure_of_code_runs_the_stage_again(shuffle, paths):
    older = shuffle().receipt
    older = replace(older, code=replace(older.code, closure="0" * 64))
    write_receipt(older, paths.receipt("shuffle"), paths.lineage)

    assert not shuffle().reused


def test_another_commit_that_left_the_code_alone_is_no_news(shuffle, paths):
    older = shuffle().receipt
    older = replace(older, code=replace(older.code, commit="0" * 40))
    write_receipt(older, paths.receipt("shuffle"), paths.lineage)

    result = shuffle()

    assert result.reused
    assert result.receipt.code.commit == "0" * 40


@pytest.mark.parametrize("missing", ["ingest", "quality"])
def test_a_missing_upstream_is_named_with_the_command_that_makes_it(shuffle, paths, missing):
    paths.receipt(missing).unlink()

    with pytest.raises(
        RecordError,
        match=rf"shuffle needs the receipt of {missing}.*run `tessera {missing}` first",
    ):
        shuffle()

    assert not paths.receipt("shuffle").exists()


def test_an_unreadable_upstream_receipt_is_refused(shuffle, paths):
    paths.receipt("quality").write_text('{"version": 1}')

    with pytest.raises(RecordError, match=r"quality\.json is not a receipt"):
        shuffle()


def test_a_quality_verdict_on_other_samples_is_refused(shuffle, paths):
    record(paths, "quality", {"ingest": "f" * 64}, [])

    with pytest.raises(
        RecordError,
        match=r"receipt of quality stands on another ingest run \(f{12}\).*`tessera quality`",
    ):
        shuffle()

    assert not paths.shards.exists()


def test_a_failing_stage_leaves_no_receipt_and_no_output(shuffle, paths):
    before = lineage_of(paths)

    with pytest.raises(InputError, match="spatial blocks cannot give"):
        shuffle("shuffle.block_size_m=100000")

    assert not paths.receipt("shuffle").exists()
    assert not paths.shards.exists()
    assert lineage_of(paths) == before


def test_a_stage_that_fails_later_keeps_its_older_receipt_and_outputs(shuffle, paths):
    first = shuffle()

    with pytest.raises(InputError):
        shuffle("shuffle.block_size_m=100000")

    assert Receipt.read(paths.receipt("shuffle")).digest == first.receipt.digest
    assert outputs_intact(first.receipt, paths)
    assert shuffle().reused


def test_an_unknown_stage_names_the_nearest(configure, paths):
    with pytest.raises(RecordError, match=r"shuffled is not a stage\. Did you mean 'shuffle'\?"):
        run_stage("shuffled", configure(), paths, OFFLINE)


def test_a_stage_that_asks_the_registry_looks_every_time_and_says_when_nothing_changed(
    configure, tmp_path
):
    workshop = Workshop(root=tmp_path, config=configure())
    workshop.train(seed=1)
    workshop.evaluate(accuracy=0.7)

    def register():
        workshop.compare()
        return run_stage("register", workshop.config, workshop.paths, workshop.ports)

    first, second = register(), register()
    workshop.train(seed=2)
    workshop.evaluate(accuracy=0.95)
    third = register()
    workshop.registry.set_alias("champion", "1", {})
    register()

    assert [result.reused for result in (first, second, third)] == [False, True, False]
    assert second.receipt == first.receipt
    assert workshop.registry.aliases == {"champion": "2"}, "it looked, and put it right"


def test_pretraining_follows_shuffling_and_is_reused_with_it(configure, shuffle, paths):
    shuffle()
    first, second = (run_stage("pretrain", configure(), paths, OFFLINE) for _ in range(2))

    assert (first.reused, second.reused) == (False, True)
    assert json.loads(paths.receipt("pretrain").read_bytes())["upstream"] == {
        "shuffle": Receipt.read(paths.receipt("shuffle")).digest
    }
    assert {output.path for output in first.receipt.outputs} == {
        "data/model/manifest.json", "data/training/history.json",
        *(f"data/training/{name}.png" for name in ("correlation", "curves", "spectrum")),
    }  # fmt: skip


def test_upstream_outputs_that_changed_after_their_receipt_are_refused(configure, shuffle, paths):
    shuffle()
    damage(paths.shards / "norms.json")

    with pytest.raises(RecordError, match=r"pretrain stands on outputs of shuffle that changed"):
        run_stage("pretrain", configure(), paths, OFFLINE)


def test_outputs_that_were_made_again_are_not_called_reused(shuffle, paths):
    first = shuffle()
    damage(paths.shards / "norms.json")

    second = shuffle()

    assert not second.reused
    assert second.receipt.digest == first.receipt.digest
