"""The receipts behind a model: found by digest, whoever asks, or not at all."""

import shutil

import pytest

from tessera_core.errors import RecordError
from tessera_core.lineage.replay.chain import REPLAYED, find_recorded
from tessera_core.records.manifest import Manifest
from tests.unit.lineage.audit.built import Run


@pytest.fixture
def run(tmp_path):
    return Run(root=tmp_path).cycle()


def model_of(run):
    return Manifest.read(run.paths.model).digest


def test_the_stages_behind_a_model_are_found_in_their_order(run):
    recorded = find_recorded(model_of(run), run.paths)

    assert tuple(recorded.stages) == REPLAYED
    assert {s: r.digest for s, r in recorded.stages.items()} == {
        stage: run.receipts[stage] for stage in REPLAYED
    }


def test_they_are_found_after_another_run_took_the_workspace(run):
    model, receipts = model_of(run), dict(run.receipts)
    Run(root=run.root, mark="second").cycle()

    recorded = find_recorded(model, run.paths)

    assert recorded.stages["pretrain"].digest == receipts["pretrain"]
    assert recorded.stages["evaluate"].digest == receipts["evaluate"]


def test_they_are_found_without_any_current_receipt(run):
    shutil.rmtree(run.paths.receipt("ingest").parent)

    assert tuple(find_recorded(model_of(run), run.paths).stages) == REPLAYED


def test_a_model_that_nobody_trained_here_is_refused(run):
    with pytest.raises(RecordError, match=r"no pretrain receipt in .* made the model 000000000000"):
        find_recorded("0" * 64, run.paths)


def test_a_changed_receipt_counts_as_missing(run):
    path = run.paths.lineage / f"{run.receipts['shuffle']}.json"
    path.write_bytes(path.read_bytes().replace(b'"seed":7', b'"seed":8'))

    with pytest.raises(RecordError, match=r"shuffle receipt .* is missing in data/lineage, or was"):
        find_recorded(model_of(run), run.paths)
