"""Embeddings of two models never lie in one folder or one store."""

import json
import threading
from dataclasses import replace

import pytest
import zarr

from tessera_core.errors import RecordError
from tessera_core.export.claim import CLAIM_NAME, claim, require_unmixed
from tessera_core.export.directory import Inference, embed_directory
from tessera_core.export.store import root_attributes, write_store
from tessera_core.export.zones import zones_of
from tessera_core.records.manifest import write_manifest
from tessera_core.testing.directories import tile_arrays, tile_document, write_tile_directory
from tessera_core.testing.models import tiny_model
from tessera_core.testing.tiles import make_tile
from tests.unit.export.built import DIMENSIONS, SETTINGS

TILE = make_tile(seed=1)
OLD, NEW = (replace(tiny_model(seed), digest=letter * 64) for seed, letter in ((1, "a"), (2, "b")))
UNWRITTEN = tiny_model(1)


@pytest.fixture
def tiles(tmp_path):
    """Two tile directories."""
    for name in ("first", "second"):
        write_tile_directory(tmp_path / name, tile_arrays(TILE), tile_document(TILE.grid, 2022))
    return tmp_path / "first", tmp_path / "second"


def embed(tile, out, model):
    return embed_directory(tile, out, model, Inference(), as_float=False)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_says_whose_embeddings_it_holds(tiles, tmp_path):
    embed(tiles[0], tmp_path / "out", OLD)
    embed(tiles[1], tmp_path / "out", OLD)

    assert json.loads((tmp_path / "out" / CLAIM_NAME).read_text()) == {"model_digest": "a" * 64}
    assert sorted(content(tmp_path / "out")) == [
        "first.npy", "first_scales.npy", CLAIM_NAME, "second.npy", "second_scales.npy",
    ]  # fmt: skip


def test_another_models_tile_is_refused_and_nothing_is_touched(tiles, tmp_path):
    embed(tiles[0], tmp_path / "out", OLD)
    before = content(tmp_path / "out")

    for tile in tiles:
        with pytest.raises(RecordError, match=r"is for embeddings of model a{12}.* not of b{12}"):
            embed(tile, tmp_path / "out", NEW)

    assert content(tmp_path / "out") == before


def test_a_model_without_digest_does_not_mix_with_a_known_one(tiles, tmp_path):
    embed(tiles[0], tmp_path / "out", OLD)

    with pytest.raises(RecordError, match="not of a model without digest"):
        embed(tiles[1], tmp_path / "out", UNWRITTEN)


def test_embeddings_of_nobody_knows_whom_are_not_added_to(tiles, tmp_path):
    embed(tiles[0], tmp_path / "out", UNWRITTEN)

    with pytest.raises(RecordError, match=r"holds embeddings \(first_scales.npy\) but no model"):
        embed(tiles[1], tmp_path / "out", OLD)

    assert sorted(content(tmp_path / "out")) == ["first.npy", "first_scales.npy"]


def test_the_same_tile_may_be_embedded_again_by_the_same_model(tiles, tmp_path):
    embed(tiles[0], tmp_path / "out", OLD)
    before = content(tmp_path / "out")

    embed(tiles[0], tmp_path / "out", OLD)

    assert content(tmp_path / "out") == before


def test_the_other_model_is_refused_before_the_tile_is_read(tmp_path):
    (tmp_path / "out").mkdir()
    claim(tmp_path / "out", "a" * 64)

    with pytest.raises(RecordError, match="is for embeddings of model a"):
        embed(tmp_path / "nowhere", tmp_path / "out", NEW)


@pytest.mark.parametrize("stored", ["", "[]", "{}", '{"model_digest": 3}', '{"model_digest": ""}'])
def test_a_claim_that_says_nothing_is_no_licence(stored, tmp_path):
    (tmp_path / CLAIM_NAME).write_text(stored)

    with pytest.raises(RecordError, match=CLAIM_NAME):
        require_unmixed(tmp_path, "a" * 64)


def test_of_two_models_that_come_first_at_once_one_gets_the_folder(tmp_path):
    digests, refused = [letter * 64 for letter in "abcdefgh"], []
    gate = threading.Barrier(len(digests))

    def come(digest):
        gate.wait(10)
        try:
            claim(tmp_path, digest)
        except RecordError:
            refused.append(digest)

    threads = [threading.Thread(target=come, args=(digest,)) for digest in digests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    winner = json.loads((tmp_path / CLAIM_NAME).read_text())["model_digest"]
    assert sorted([*refused, winner]) == digests
    assert sorted(content(tmp_path)) == [CLAIM_NAME]


@pytest.mark.parametrize("inside", ["", "npy", "npy/33UXP/2022"])
def test_a_published_export_takes_no_further_embeddings(inside, tiles, tmp_path):
    export = tmp_path / "exports" / "tessera-v3"
    (export / "npy").mkdir(parents=True)
    write_manifest(export, "export", {})

    with pytest.raises(RecordError, match=r"part of the published export .*, which never changes"):
        embed(tiles[0], export / inside, OLD)

    assert sorted(path.name for path in export.rglob("*")) == ["manifest.json", "npy"]


@pytest.mark.parametrize("stored", ["no JSON", "[]", '{"kind": "model", "files": [], "facts": {}}'])
def test_manifests_of_others_are_no_exports(stored, tiles, tmp_path):
    (tmp_path / "manifest.json").write_text(stored)

    embed(tiles[0], tmp_path / "out", OLD)

    assert (tmp_path / "out" / "first.npy").is_file()


@pytest.mark.parametrize(
    ("digest", "whose"),
    [("a" * 64, "of this model"), ("b" * 64, "of model a{12}, not b{12}: a store is written once")],
)
def test_a_store_takes_no_second_model_and_no_second_writing(digest, whose, tmp_path):
    about = root_attributes(
        model="models:/tessera/3", dimensions=DIMENSIONS, source_data=["file:x"], build_version="1"
    )
    write_store(tmp_path, zones_of([]), [], SETTINGS, {**about, "tessera:model_digest": "a" * 64})
    before = (tmp_path / "embeddings.zarr" / "zarr.json").read_bytes()

    with pytest.raises(RecordError, match=rf"embeddings\.zarr holds embeddings {whose}"):
        write_store(tmp_path, zones_of([]), [], SETTINGS, {**about, "tessera:model_digest": digest})

    assert (tmp_path / "embeddings.zarr" / "zarr.json").read_bytes() == before


def test_a_store_that_names_no_model_is_not_written_to_either(tmp_path):
    zarr.create_group(tmp_path / "embeddings.zarr", zarr_format=3)

    with pytest.raises(RecordError, match="holds embeddings of model unknown, not aaaaaaaaaaaa"):
        write_store(tmp_path, [], [], SETTINGS, {
            "geoemb:dimensions": DIMENSIONS, "tessera:model_digest": "a" * 64,
        })  # fmt: skip
