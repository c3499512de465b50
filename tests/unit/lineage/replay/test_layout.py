"""What a stage reads is laid out by content, inside the folder of the replay and nowhere else."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tessera_core.errors import RecordError
from tessera_core.lineage.audit.evidence import Evidence
from tessera_core.lineage.replay.layout import (
    Contents,
    fetch_nothing,
    lay_descriptions,
    lay_outputs,
    lay_sources,
    make_root,
    write_params,
)
from tessera_core.records.files import digest_file, read_json, write_json
from tessera_core.records.manifest import MANIFEST_NAME, Manifest, find_differences
from tessera_core.records.outside import digest_source, remember_place
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt
from tests.unit.lineage.audit.built import Run, cache_workspace


@pytest.fixture
def run(tmp_path):
    return Run(root=tmp_path / "checkout").cycle()


@pytest.fixture
def contents(run):
    return contents_of(run)


@pytest.fixture
def clean(tmp_path):
    folder = tmp_path / "clean"
    folder.mkdir()
    return Paths(root=folder, workspace=folder)


def contents_of(run, fetch=fetch_nothing):
    return Contents(paths=run.paths, evidence=Evidence(run.paths, lambda size: None), fetch=fetch)


def receipt_of(run, stage):
    return Receipt.read(run.paths.receipt(stage))


def test_outputs_are_laid_out_with_their_receipt(run, contents, clean):
    lay_outputs(contents, receipt_of(run, "pretrain"), clean)

    assert not find_differences(clean.model, Manifest.read(clean.model))
    assert (clean.training / "history.json").is_file()
    assert Receipt.read(clean.receipt("pretrain")).digest == run.receipts["pretrain"]


def test_outputs_that_a_later_run_replaced_come_from_the_cache(run, clean):
    receipt = receipt_of(run, "shuffle")
    cache_workspace(run.paths)
    Run(root=run.root, mark="second").cycle()

    lay_outputs(contents_of(run), receipt, clean)

    assert (clean.shards / "norms.json").read_bytes() == b"first shards norms.json\n"


def test_what_is_nowhere_is_asked_for_once_and_then_refused(run, clean):
    asked = []
    contents = contents_of(run, fetch=asked.append)
    shutil.rmtree(run.paths.shards)

    for _ in range(2):
        with pytest.raises(RecordError, match=r"2 file.s., as data/shards/norms.json"):
            lay_outputs(contents, receipt_of(run, "shuffle"), clean)

    assert [[Path(file.path).name for file in files] for files in asked] == [
        ["norms.json", "train-0.parquet"]
    ]


def test_what_the_remote_brings_is_used(run, clean, tmp_path):
    cache_workspace(run.paths)
    away = tmp_path / "remote"
    run.paths.dvc_cache.rename(away)
    shutil.rmtree(run.paths.shards)
    contents = contents_of(run, fetch=lambda files: shutil.copytree(away, run.paths.dvc_cache))

    lay_outputs(contents, receipt_of(run, "shuffle"), clean)

    assert (clean.shards / "norms.json").is_file()


def test_a_changed_source_is_refused(run, contents, clean):
    (run.root / "data" / "scenes" / "a.tif").write_bytes(b"another scene\n")

    with pytest.raises(RecordError, match=r"as data/scenes/a\.tif"):
        lay_sources(contents, receipt_of(run, "ingest"), clean, clean.root)


def test_sources_beside_the_checkout_stay_inside_the_folder_of_the_replay(run, tmp_path):
    beside = tmp_path / "tiles" / "a.npy"
    beside.parent.mkdir()
    beside.write_bytes((run.root / "data" / "scenes" / "a.tif").read_bytes())
    receipt = receipt_of(run, "ingest")
    source = replace(receipt.sources[0], path="../tiles/a.npy")
    receipt = replace(receipt, sources=(source,))
    folder = tmp_path / "replay"

    root = make_root(folder, [receipt])
    lay_sources(contents_of(run), receipt, Paths(root=root, workspace=root), folder)

    assert (root / ".." / "tiles" / "a.npy").resolve().is_relative_to(folder)
    assert (root / ".." / "tiles" / "a.npy").is_file()


def test_a_source_that_leaves_the_folder_of_the_replay_is_refused(run, contents, clean):
    receipt = receipt_of(run, "ingest")
    scene = run.root / "data" / "scenes" / "a.tif"
    scene.rename(run.root.parent / "a.tif")
    receipt = replace(receipt, sources=(replace(receipt.sources[0], path="../a.tif"),))

    with pytest.raises(RecordError, match="lies outside"):
        lay_sources(contents, receipt, clean, clean.root)


def test_a_source_at_a_fixed_place_is_read_there_and_nothing_is_written_beside_it(
    run, contents, clean, tmp_path
):
    far = tmp_path / "far"
    shutil.copytree(run.root / "data" / "scenes", far)
    write_json(far / "catalog.json", {"links": [{"rel": "item", "href": "./new.tif"}]})
    receipt = receipt_of(run, "ingest")
    sources = tuple(
        replace(source, path=str(far / Path(source.path).name)) for source in receipt.sources
    )
    receipt = replace(receipt, sources=sources)
    before = {path: path.read_bytes() for path in far.iterdir()}

    lay_sources(contents, receipt, clean, clean.root)
    assert lay_descriptions(contents, receipt, clean) == []
    assert {path: path.read_bytes() for path in far.iterdir()} == before

    # The same content elsewhere is of no use to a stage that reads there.
    (far / "a.tif").unlink()
    cache_workspace(run.paths)
    with pytest.raises(RecordError, match=r"far/a\.tif there and nowhere else"):
        lay_sources(contents_of(run), receipt, clean, clean.root)


def test_what_a_moved_checkout_read_beside_itself_is_laid_out(run, tmp_path):
    beside = tmp_path / "tiles" / "a.npy"
    beside.parent.mkdir()
    shutil.move(run.root / "data" / "scenes" / "a.tif", beside)
    source = digest_source(run.root / "../tiles/a.npy", run.root)
    receipt = replace(receipt_of(run, "ingest"), sources=(source,))
    remember_place([source], run.root)
    moved = tmp_path / "x" / "y" / "z"
    moved.parent.mkdir(parents=True)
    run.root.rename(moved)
    contents = contents_of(Run(root=moved))
    folder = tmp_path / "replay"

    root = make_root(folder, [receipt])
    lay_sources(contents, receipt, Paths(root=root, workspace=root), folder)

    assert (root / "../tiles/a.npy").read_bytes() == beside.read_bytes()


def test_the_state_of_a_checkpoint_that_was_changed_is_refused(run, contents, clean):
    folder = run.root / "data" / "checkpoints" / "x"
    folder.mkdir(parents=True)
    (folder / "step-00000004.pt").write_bytes(b"state")
    claim = digest_file(folder / "step-00000004.pt", folder)
    write_json(folder / "step-00000004.json", {"sha256": claim.sha256, "size": claim.size})
    source = digest_source(folder / "step-00000004.json", run.root)
    receipt = replace(receipt_of(run, "pretrain"), sources=(source,))

    lay_sources(contents, receipt, clean, clean.root)
    assert (clean.checkpoints / "x" / "step-00000004.pt").read_bytes() == b"state"

    (folder / "step-00000004.pt").write_bytes(b"other")
    with pytest.raises(RecordError, match=r"step-00000004\.pt"):
        lay_sources(contents_of(run), receipt, clean, clean.root)


def test_a_catalogue_that_grew_leads_to_the_scenes_of_the_run_only(run, contents, clean):
    links = [{"rel": "item", "href": href} for href in ("./a.tif", "./new.tif")]
    document = {"links": [{"rel": "root", "href": "./catalog.json"}, *links]}
    write_json(run.root / "data" / "scenes" / "catalog.json", document)
    (run.root / "data" / "scenes" / "broken.json").write_text("{", encoding="utf-8")

    laid = lay_descriptions(contents, receipt_of(run, "ingest"), clean)

    assert laid == ["data/scenes/catalog.json"]
    kept = read_json(clean.root / "data" / "scenes" / "catalog.json")["links"]
    assert [link["href"] for link in kept] == ["./catalog.json", "./a.tif"]


def test_settings_are_those_of_the_receipt_where_it_has_them(run, clean, tmp_path):
    code = tmp_path / "code"
    code.mkdir()
    shipped = {"pretrain": {"seed": 1, "new": 2}, "ingest": {"seed": 1, "new": 2}, "audit": {}}
    (code / "params.yaml").write_text(yaml.safe_dump(shipped), encoding="utf-8")

    write_params(
        receipt_of(run, "pretrain"),
        [receipt_of(run, "ingest"), receipt_of(run, "pretrain")],
        code,
        clean,
    )

    written = yaml.safe_load((clean.root / "params.yaml").read_text(encoding="utf-8"))
    assert written == {"pretrain": {"seed": 7}, "ingest": {"seed": 7, "new": 2}, "audit": {}}


def test_a_manifest_among_the_sources_stands_for_its_files(run, contents, clean):
    receipt = receipt_of(run, "pretrain")
    teacher = replace(receipt, sources=(receipt.outputs[0],))

    lay_sources(contents, teacher, clean, clean.root)

    assert (clean.model / MANIFEST_NAME).is_file()
    assert (clean.model / "encoder.safetensors").is_file()
