"""The audit of a chain of receipts: what is whole passes, whatever is not is named."""

import os

import pytest

from tessera_core.lineage.audit.chain import UPSTREAM, verify_chain
from tessera_core.lineage.audit.report import Grade
from tessera_core.records.cycle import STAGES
from tessera_core.records.files import digest_file
from tessera_core.records.receipt import Receipt
from tests.unit.lineage.audit.built import SCENES_TABLE, Run, cache_workspace, code


@pytest.fixture
def run(tmp_path):
    return Run(root=tmp_path).cycle()


def audit(run, *, require_sources=True):
    return verify_chain(run.receipts["export"], run.paths, require_sources=require_sources)


def flip(path, position=None):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if position is None else position] ^= 1
    path.write_bytes(bytes(content))


def blocked(report):
    return [finding.artefact for finding in report.of(Grade.BLOCK)]


def problem_of(report, artefact):
    return next(each.problem for each in report.findings if each.artefact.startswith(artefact))


def test_a_whole_chain_has_no_finding(run):
    report = audit(run)

    assert report.passed
    assert report.findings == ()
    assert [step.stage for step in report.steps] == list(UPSTREAM)
    assert all(step.is_current for step in report.steps)


def test_clocks_change_neither_findings_nor_digests(run):
    before = audit(run)

    for number, path in enumerate(sorted(run.root.rglob("*"))):
        os.utime(path, (number * 1e7, number * 1e7))

    assert audit(run).to_dict() == before.to_dict()


def test_every_file_is_read_once(run):
    report = audit(run)

    files = run.evidence()
    assert report.num_files == len(files)
    assert report.num_bytes == sum(path.stat().st_size for path in files)


def test_each_step_tells_what_was_verified_for_it(run):
    shuffle = audit(run).steps[2]

    assert (shuffle.num_files, shuffle.num_sources) == (3, 0)
    assert shuffle.upstream == {name: run.receipts[name] for name in ("ingest", "quality")}
    assert shuffle.num_bytes == sum(
        path.stat().st_size for path in run.paths.shards.rglob("*") if path.is_file()
    )


def test_the_audit_expects_the_stages_to_stand_on_each_other_as_they_do():
    upstream = {name: set(stage.upstream) for name, stage in STAGES.items() if name != "audit"}

    assert {name: set(earlier) for name, earlier in UPSTREAM.items()} == upstream


IN_THE_WORKSPACE = {
    "a shard": "data/shards/train-0.parquet",
    "the norms": "data/shards/norms.json",
    "the weights": "data/model/encoder.safetensors",
    "the champion's weights": "data/registration/champion/encoder.safetensors",
    "the training history": "data/training/history.json",
    "an exported tile": "data/exports/tessera-v1-first/npy/a/2022/a.npy",
    "the samples": "data/samples/tile=a/window=2022/samples.parquet",
    "a scenes table": f"data/samples/{SCENES_TABLE}",
    "the quality report": "data/quality/report.html",
    "the scores": "data/evaluation/evaluation.json",
    "the registration": "data/registration/registration.json",
    "a manifest": "data/shards/manifest.json",
    "the export's manifest": "data/exports/tessera-v1-first/manifest.json",
    "a current receipt": "data/receipts/shuffle.json",
    "the export's receipt": "data/receipts/export.json",
    "a scene": "data/scenes/b.tif",
    "a label raster": "data/labels/crop_type.tif",
}


@pytest.mark.parametrize("what", IN_THE_WORKSPACE)
def test_one_flipped_byte_is_found_and_named(run, what):
    flip(run.root / IN_THE_WORKSPACE[what])

    report = audit(run)

    assert not report.passed
    assert blocked(report) == [IN_THE_WORKSPACE[what]]


@pytest.mark.parametrize("what", IN_THE_WORKSPACE)
def test_a_missing_file_is_found_and_named_unless_it_is_a_receipt_kept_elsewhere(run, what):
    name = IN_THE_WORKSPACE[what]
    (run.root / name).unlink()

    report = audit(run)

    if "receipts" in name:
        # The lineage has it, so nothing is lost; the files are then those of an earlier run.
        assert report.passed
    else:
        assert blocked(report) == [name]
        assert "is missing" in problem_of(report, name)


@pytest.mark.parametrize("stage", UPSTREAM)
def test_a_changed_receipt_in_the_lineage_is_found_and_named(run, stage):
    name = f"data/lineage/{run.receipts[stage]}.json"
    flip(run.root / name, position=10)

    report = audit(run)

    assert blocked(report) == [name]
    assert "does not hash to its name" in problem_of(report, name)


@pytest.mark.parametrize("output", ["data/shards/manifest.json", "data/training/history.json"])
def test_a_changed_manifest_in_the_lineage_is_found_and_named(run, output):
    archived = f"data/lineage/{digest_file(run.root / output, run.root).sha256}.json"
    flip(run.root / archived)

    report = audit(run)

    assert blocked(report) == [archived]
    assert f"the archived copy of {output} was changed" in problem_of(report, archived)


def test_a_manifest_missing_from_the_lineage_warns(run):
    archived = run.paths.lineage / (
        digest_file(run.paths.shards / "manifest.json", run.root).sha256 + ".json"
    )
    archived.unlink()

    report = audit(run)

    assert report.passed
    assert [finding.grade for finding in report.findings] == [Grade.WARN]


@pytest.mark.parametrize("stage", ["ingest", "evaluate"])
def test_a_receipt_that_is_nowhere_is_found_and_named(run, stage):
    (run.paths.lineage / f"{run.receipts[stage]}.json").unlink()
    run.paths.receipt(stage).unlink()

    report = audit(run)

    assert f"data/lineage/{run.receipts[stage]}.json" in blocked(report)


def test_an_unknown_start_is_found_not_raised(run):
    report = verify_chain("0" * 64, run.paths, require_sources=True)

    assert blocked(report) == [f"data/lineage/{'0' * 64}.json"]
    assert (report.steps, report.subject) == ((), {})


def test_a_file_that_no_manifest_lists_warns(run):
    (run.paths.exports / "tessera-v1-first" / "npy" / "extra.npy").write_bytes(b"x")

    report = audit(run)

    assert report.passed
    assert report.findings[0].artefact == "data/exports/tessera-v1-first/npy/extra.npy"


@pytest.fixture
def second(run):
    """A function for a second run in the workspace, whose model loses to the first run's."""

    def again(*, cached: bool) -> Run:
        model_digest = Receipt.read(run.paths.receipt("pretrain")).facts["model_digest"]
        if cached:
            cache_workspace(run.paths)
        later = Run(root=run.root, mark="second", version="2")
        later.prepare()
        later.train()
        later.release(champion=run, model_digest=model_digest)
        return later

    return again


def test_files_of_an_earlier_champion_count_as_found_in_dvcs_cache(second):
    report = audit(second(cached=True))

    earlier = [step.stage for step in report.steps if not step.is_current]
    assert report.passed
    assert earlier == ["ingest", "quality", "shuffle", "pretrain", "evaluate"]
    assert len(report.steps) == 12


def test_files_of_an_earlier_champion_that_nobody_kept_block(second):
    report = audit(second(cached=False))

    assert "data/shards/train-0.parquet" in blocked(report)
    problem = problem_of(report, "data/shards/train-0.parquet")
    assert problem.endswith("is in no workspace, not in data/lineage and not in DVC's cache")


def test_an_earlier_champions_weights_count_as_found_in_its_registered_copy(second):
    report = audit(second(cached=False))

    assert "data/model/encoder.safetensors" not in blocked(report)


def test_a_damaged_copy_in_dvcs_cache_does_not_count(run, second):
    md5 = digest_file(run.paths.shards / "train-0.parquet", run.root).md5
    later = second(cached=True)
    flip(later.paths.dvc_cache / md5[:2] / md5[2:])

    assert blocked(audit(later)) == ["data/shards/train-0.parquet"]


@pytest.mark.parametrize("name", ["data/model/encoder.safetensors", "data/scenes/a.tif"])
def test_the_later_run_must_still_match_the_workspace(second, name):
    later = second(cached=True)
    flip(later.root / name)

    assert blocked(audit(later)) == [name]


def test_a_run_with_a_workspace_of_its_own_is_audited_there(tmp_path):
    run = Run(root=tmp_path, workspace=tmp_path / "data" / "runs" / "try").cycle()
    sound = audit(run)

    flip(run.paths.shards / "norms.json")

    assert sound.passed
    assert blocked(audit(run)) == ["data/runs/try/data/shards/norms.json"]


def test_a_champion_trained_in_another_workspace_is_found_there(tmp_path):
    trial = Run(root=tmp_path, workspace=tmp_path / "data" / "runs" / "try")
    trial.prepare()
    trial.train()
    trial.release()
    model_digest = Receipt.read(trial.paths.receipt("pretrain")).facts["model_digest"]
    later = Run(root=tmp_path, version="2")
    later.prepare()
    later.mark = "second"
    later.train()
    later.release(champion=trial, model_digest=model_digest)
    sound = audit(later)

    flip(trial.paths.evaluation / "evaluation.json")

    assert sound.passed
    assert blocked(audit(later)) == ["data/evaluation/evaluation.json"]


def test_code_of_an_unknown_commit_warns(tmp_path):
    run = Run(root=tmp_path, codes={"pretrain": code("unknown", dirty=True)}).cycle()

    report = audit(run)

    assert report.passed
    (finding,) = report.findings
    assert (finding.grade, finding.artefact) == (Grade.WARN, "code of pretrain")
    assert "git commit is unknown" in finding.problem


def test_code_changed_since_its_commit_warns_once_for_all_stages(tmp_path):
    dirty = {stage: code(dirty=True) for stage in ("shuffle", "ingest")}
    run = Run(root=tmp_path, codes=dirty).cycle()

    (finding,) = audit(run).findings

    assert (finding.grade, finding.artefact) == (Grade.WARN, "code of ingest, shuffle")
    assert "changed since commit 0123456789ab" in finding.problem


@pytest.mark.parametrize("stranger", ["text", "folder"])
def test_a_stranger_in_the_lineage_is_a_warning_and_named(run, stranger):
    path = run.paths.lineage / f"{'a' * 64}.json"
    if stranger == "text":
        path.write_bytes(b"{}")
    else:
        path.mkdir()

    (finding,) = audit(run).findings

    assert finding.grade is Grade.WARN
    assert finding.artefact == f"data/lineage/{path.name}"


def test_a_pipe_in_place_of_a_file_blocks_like_a_missing_one(run):
    path = run.paths.model / "config.json"
    path.unlink()
    os.mkfifo(path)

    assert "data/model/config.json" in blocked(audit(run))
