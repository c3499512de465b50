"""The groups of changes between two versions, and what has to run again for each."""

from dataclasses import replace

import pytest

from tessera_core.lineage.replay.ablation import TRAINED, plan_variants
from tessera_core.lineage.replay.chain import find_recorded
from tessera_core.records.files import FileDigest
from tessera_core.records.manifest import Manifest
from tests.unit.lineage.audit.built import Run

OTHER = FileDigest(path="data/samples/manifest.json", sha256="9" * 64, md5="9" * 32, size=1)


@pytest.fixture
def old(tmp_path):
    run = Run(root=tmp_path).cycle()
    return find_recorded(Manifest.read(run.paths.model).digest, run.paths)


def changed(recorded, stage, **values):
    return replace(
        recorded,
        stages={**recorded.stages, stage: replace(recorded.stages[stage], **values)},
    )


def other_code(recorded, stage):
    code = replace(recorded.stages[stage].code, closure="f" * 64)
    return changed(recorded, stage, code=code)


def plan(old, new):
    return {variant.name: variant for variant in plan_variants(old, new)}


def test_the_same_version_has_no_change(old):
    assert plan(old, old) == {}


def test_settings_of_training_need_training_only(old):
    new = changed(old, "pretrain", config={"pretrain": {"seed": 8}})

    variants = plan(old, new)

    assert list(variants) == ["config pretrain"]
    assert variants["config pretrain"].first == "pretrain"
    assert variants["config pretrain"].stages["pretrain"].config == {"pretrain": {"seed": 8}}


def test_a_variant_takes_one_group_and_leaves_the_rest(old):
    new = changed(old, "pretrain", config={"pretrain": {"seed": 8}})
    new = changed(new, "shuffle", config={"shuffle": {"seed": 9}})

    variants = plan(old, new)

    assert list(variants) == ["config pretrain", "config shuffle"]
    assert variants["config shuffle"].first == "shuffle"
    assert variants["config shuffle"].stages["pretrain"] == old.stages["pretrain"]


def test_other_samples_are_shuffled_and_trained_on_with_the_older_settings(old):
    new = changed(old, "ingest", outputs=(OTHER,), config={"ingest": {"seed": 8}})

    variants = plan(old, new)

    assert list(variants) == ["data"]
    assert variants["data"].first == "shuffle"
    assert variants["data"].stages["ingest"] == new.stages["ingest"]
    assert variants["data"].stages["shuffle"] == old.stages["shuffle"]


def test_other_code_runs_from_the_first_stage_that_it_reaches(old):
    new = other_code(other_code(old, "pretrain"), "shuffle")

    variants = plan(old, new)

    assert list(variants) == ["code"]
    assert variants["code"].first == "shuffle"
    assert variants["code"].stages["shuffle"].config == old.stages["shuffle"].config


def test_samples_that_only_code_has_changed_are_no_change_of_data(old):
    new = other_code(changed(old, "ingest", outputs=(OTHER,)), "ingest")

    variants = plan(old, new)

    assert list(variants) == ["code"]
    assert variants["code"].first == TRAINED[0]


def test_a_setting_that_only_the_newer_code_knows_belongs_to_the_code(old):
    new = changed(
        other_code(old, "pretrain"), "pretrain", config={"pretrain": {"seed": 7, "new": 1}}
    )

    variants = plan(old, new)

    assert list(variants) == ["code"]
    assert variants["code"].stages["pretrain"].config == {"pretrain": {"seed": 7, "new": 1}}
