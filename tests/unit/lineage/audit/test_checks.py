"""What receipts say of each other: gates, agreements, models, inputs, scenes."""

import pytest

from tessera_core.lineage.audit.chain import verify_chain
from tessera_core.lineage.audit.report import Grade
from tessera_core.records.files import FileDigest
from tessera_core.records.manifest import MANIFEST_NAME, Manifest, write_manifest
from tests.unit.lineage.audit.built import SCENES_TABLE, Run


@pytest.fixture
def run(tmp_path):
    return Run(root=tmp_path)


def audit(run, *, require_sources=True):
    return verify_chain(run.receipts["export"], run.paths, require_sources=require_sources)


def problems(report, grade=Grade.BLOCK):
    return {(each.artefact.split()[0], each.problem) for each in report.of(grade)}


@pytest.mark.parametrize("verdict", ["failed", None])
def test_samples_without_a_passed_verdict_block(run, verdict):
    run.prepare(verdict=verdict)
    run.train()
    run.release()

    assert problems(audit(run)) == {
        ("quality", f"its verdict is {verdict!r}, expected 'passed'"),
        ("ingest", "no quality receipt in the chain passed these samples"),
    }


def test_shuffling_other_samples_than_quality_verified_blocks(run):
    run.cycle()
    quality = run.receipts["quality"]
    run.mark = "newer"
    run.prepare()
    run.receipts["quality"] = quality
    run.record("shuffle", ("ingest", "quality"), [run.paths.shards / MANIFEST_NAME], {})
    run.train()
    run.release()

    assert ("shuffle", "it shuffled other samples than quality verified") in problems(audit(run))


def test_deciding_by_another_models_scores_blocks(run):
    run.cycle()
    scores = run.receipts["evaluate"]
    run.mark = "newer"
    run.train()
    run.receipts["evaluate"] = scores
    run.release()

    found = problems(audit(run))

    assert ("register", "the scores it decided by are another model's") in found
    assert ("register", "the champion's scores are another model's") in found


def test_a_register_receipt_without_champion_blocks(run):
    run.prepare()
    run.train()
    run.release()
    run.record("register", ("pretrain", "evaluate"), [], {})
    run.record("export", ("ingest", "register"), [], {"samples_digest": "x"})

    assert {
        ("register", "it names no receipt of the champion's pretrain"),
        ("register", "it names no receipt of the champion's evaluate"),
    } <= problems(audit(run))


def test_a_registration_that_says_itself_that_none_became_champion_is_noted(run):
    run.prepare()
    run.train()
    run.release()
    record = run.decision(run, Manifest.read(run.paths.model).digest)
    run.record("register", ("pretrain", "evaluate"), [], {**record, "champion": None})

    report = verify_chain(run.receipts["register"], run.paths, require_sources=True)

    assert report.passed
    assert any("made no version champion" in each.problem for each in report.of(Grade.NOTE))


@pytest.mark.parametrize(("headline", "is_told"), [({"a": {}}, True), ({"a": {"b": 1}}, False)])
def test_a_champion_without_any_score_is_called_unscored(run, headline, is_told):
    run.prepare()
    run.train()
    run.record("evaluate", ("ingest", "pretrain"), [], {"headline": headline})
    run.release()

    told = [each.problem for each in audit(run).findings]

    assert any("the champion is unscored" in problem for problem in told) is is_told


def test_a_receipt_that_leaves_out_an_upstream_stage_blocks(run):
    run.prepare()
    run.record("shuffle", ("ingest",), [run.paths.shards / MANIFEST_NAME], {})
    run.train()
    run.release()

    assert ("shuffle", "it names no receipt of quality") in problems(audit(run))


def test_a_receipt_of_another_stage_under_a_stages_name_blocks(run):
    run.prepare()
    run.receipts["quality"] = run.receipts["ingest"]
    run.record("shuffle", ("ingest", "quality"), [run.paths.shards / MANIFEST_NAME], {})
    run.train()
    run.release()

    assert (
        "quality",
        "it is a receipt of ingest, named where one of quality is due",
    ) in problems(audit(run))


def test_exporting_with_another_model_than_the_champion_blocks(run):
    run.prepare()
    run.train()
    run.release(model_digest="d" * 64)

    found = dict(problems(audit(run)))
    assert found.keys() == {"export", "version"}
    assert found["export"].startswith(
        "it embedded with model dddddddddddd, which the champion's pretrain"
    )


def test_a_pretrain_receipt_that_states_another_model_blocks(run):
    run.prepare()
    run.train()
    run.record(
        "pretrain", ("shuffle",), [run.paths.model / MANIFEST_NAME], {"model_digest": "d" * 64}
    )
    run.record("evaluate", ("ingest", "pretrain"), [run.paths.evaluation / MANIFEST_NAME], {})
    run.release()

    assert (
        "pretrain",
        f"it made no model with the digest {'d' * 64} it states",
    ) in problems(audit(run))


def test_training_on_other_shards_than_its_receipt_names_blocks(run):
    run.prepare()
    model = run.train()
    run.record(
        "pretrain",
        ("shuffle",),
        [run.paths.model / MANIFEST_NAME],
        {"model_digest": model.digest, "shards": "b" * 64},
    )
    run.record("evaluate", ("ingest", "pretrain"), [run.paths.evaluation / MANIFEST_NAME], {})
    run.release()

    assert problems(audit(run)) == {
        ("pretrain", "it read shards bbbbbbbbbbbb, which its shuffle receipt did not make")
    }


def with_sources(run, sources):
    """Record ingest anew with other sources, and everything after it."""
    run.prepare()
    run.record("ingest", (), [run.paths.samples / MANIFEST_NAME], {}, sources)
    run.record("quality", ("ingest",), [run.paths.quality / MANIFEST_NAME], {"verdict": "passed"})
    run.record("shuffle", ("ingest", "quality"), [run.paths.shards / MANIFEST_NAME], {})
    run.train()
    run.release()


def test_a_scene_that_the_ingest_receipt_does_not_list_blocks(run):
    run.prepare()
    (first, _) = run.sources("data/scenes")
    with_sources(run, (first,))

    assert problems(audit(run)) == {
        (
            f"data/samples/{SCENES_TABLE}",
            "1 scenes, as data/scenes/b.tif, are not the sources that the ingest receipt lists",
        )
    }


def test_an_unreadable_scenes_table_blocks_and_is_not_raised(run):
    run.prepare()
    (run.paths.samples / SCENES_TABLE).write_bytes(b"not parquet")
    write_manifest(run.paths.samples, "samples", {})
    with_sources_kept = run.sources("data/scenes")
    run.record("ingest", (), [run.paths.samples / MANIFEST_NAME], {}, with_sources_kept)
    run.record("quality", ("ingest",), [run.paths.quality / MANIFEST_NAME], {"verdict": "passed"})
    run.record("shuffle", ("ingest", "quality"), [run.paths.shards / MANIFEST_NAME], {})
    run.train()
    run.release()

    ((artefact, problem),) = problems(audit(run))
    assert artefact == f"data/samples/{SCENES_TABLE}"
    assert problem.startswith("cannot read")


def test_remote_scenes_are_noted_not_read(run):
    run.prepare()
    local = run.sources("data/scenes")
    remote = FileDigest(
        path="https://example.org/collections/c/items/i", sha256="a" * 64, md5="b" * 32, size=9
    )
    with_sources(run, (*local, remote))

    report = audit(run)

    assert report.passed
    assert problems(report, Grade.NOTE) == {
        (
            "sources",
            "1 remote items are identified by their description; their pixels were not read again",
        )
    }


@pytest.mark.parametrize(("require_sources", "grade"), [(True, Grade.BLOCK), (False, Grade.NOTE)])
def test_a_scene_that_is_gone_blocks_only_where_sources_are_required(run, require_sources, grade):
    run.cycle()
    (run.root / "data/scenes/a.tif").unlink()

    (finding,) = audit(run, require_sources=require_sources).findings

    assert (finding.grade, finding.artefact) == (grade, "data/scenes/a.tif")


def test_scoring_on_other_samples_than_trained_on_is_noted(run):
    run.cycle()
    old_shuffle = {name: run.receipts[name] for name in ("shuffle",)}
    run.mark = "newer"
    run.prepare()
    run.receipts |= old_shuffle
    run.train()
    run.release()

    assert (
        "evaluate",
        "it scored on other samples than the model was trained on",
    ) in problems(audit(run), Grade.NOTE)


def test_simulated_scenes_are_said_to_be_simulated(run):
    run.prepare()
    run.train()
    run.record(
        "evaluate",
        ("ingest", "pretrain"),
        [run.paths.evaluation / MANIFEST_NAME],
        {"simulated": True},
        run.sources("data/labels"),
    )
    run.release()

    ((artefact, problem),) = problems(audit(run), Grade.NOTE)
    assert artefact == "scenes"
    assert "proves the machinery, never the science" in problem


def test_a_skipped_evaluation_is_said_with_its_reason(run):
    run.prepare()
    run.train()
    run.record(
        "evaluate",
        ("ingest", "pretrain"),
        [run.paths.evaluation / MANIFEST_NAME],
        {"simulated": False, "skipped": {"crop_type": "no label rasters were found"}},
        run.sources("data/labels"),
    )
    run.release()

    ((artefact, problem),) = problems(audit(run), Grade.NOTE)
    assert artefact == "evaluation"
    assert problem == "skipped crop_type: no label rasters were found"


def test_a_current_receipt_that_is_gone_is_a_warning(run):
    run.prepare()
    run.train()
    run.release()
    (run.paths.receipt("quality")).unlink()

    found = problems(audit(run), Grade.WARN)

    assert ("data/receipts/quality.json") in [artefact for artefact, _ in found]


def test_benchmarks_without_data_are_one_counted_note_unless_they_were_asked_for_by_name(tmp_path):
    asked = {"evaluate": {"tasks": ["pastis", "crop_type"]}}
    run = Run(root=tmp_path, settings=asked)
    run.prepare()
    run.train()
    no_data = "the folder of benchmark data holds no {}; put the data there"
    skipped = {
        name: no_data.format(name) for name in ("pastis", *(f"public_{n}" for n in range(10)))
    }
    run.record(
        "evaluate", ("ingest", "pretrain"), [run.paths.evaluation / MANIFEST_NAME],
        {"simulated": False, "skipped": skipped},
    )  # fmt: skip
    run.release()

    said = [each.problem for each in audit(run).of(Grade.NOTE)]

    assert len(said) == 2
    assert f"skipped pastis: {no_data.format('pastis')}" in said
    (counted,) = [each for each in said if each.startswith("10 declared benchmarks")]
    assert all(f"public_{number}" in counted for number in range(10))
