"""Schemas: columns that stored files rely on, and a version that refuses older ones."""

import json

import pyarrow as pa
import pytest

from tessera_core.errors import RecordError
from tessera_core.records.schema import (
    METADATA_KEY,
    SAMPLES,
    SAMPLES_VERSION,
    SCENES,
    SHARD,
    metadata_of,
    with_metadata,
)

# Another list here needs another SAMPLES_VERSION: files on disk carry these.
SAMPLE_COLUMNS = {
    "row": "int32",
    "column": "int32",
    "x": "double",
    "y": "double",
    "s2_reflectance": "list<item: uint16>",
    "s2_scl": "list<item: uint8>",
    "s2_day_of_year": "list<item: uint16>",
    "s1_ascending": "list<item: int16>",
    "s1_ascending_day_of_year": "list<item: uint16>",
    "s1_descending": "list<item: int16>",
    "s1_descending_day_of_year": "list<item: uint16>",
}


def columns(schema: pa.Schema) -> dict[str, str]:
    return {field.name: str(field.type).replace("element", "item") for field in schema}


def test_samples_have_the_columns_of_version_1():
    assert SAMPLES_VERSION == 1
    assert columns(SAMPLES) == SAMPLE_COLUMNS
    assert SAMPLES.names == list(SAMPLE_COLUMNS)


def test_a_shard_row_is_a_sample_that_knows_its_tile_zone_and_block():
    own = {"tile": "string", "year": "int32", "epsg": "int32", "block": "int64"}

    assert columns(SHARD) == {**own, **SAMPLE_COLUMNS}


def test_a_scene_row_leads_back_to_a_file():
    assert {"scene_id", "collection", "acquired", "baseline", "href", "sha256"} <= set(SCENES.names)


def test_metadata_is_read_back_with_its_version_left_in():
    schema = with_metadata(SAMPLES, {"tile": "a", "year": 2022})

    assert metadata_of(schema, "x") == {"tile": "a", "year": 2022, "samples_version": 1}
    assert schema.equals(SAMPLES)


def test_equal_metadata_has_equal_bytes():
    first = with_metadata(SAMPLES, {"a": 1, "b": 2})
    second = with_metadata(SAMPLES, {"b": 2, "a": 1})

    assert first.metadata == second.metadata


def test_a_file_of_someone_else_is_refused():
    with pytest.raises(RecordError, match=r"x\.parquet carries no tessera metadata"):
        metadata_of(SAMPLES, "x.parquet")


@pytest.mark.parametrize("version", [0, 2, None])
def test_another_version_is_refused(version):
    stored = json.dumps({"samples_version": version}).encode()

    with pytest.raises(RecordError, match=f"samples version {version}, expected 1; ingest again"):
        metadata_of(SAMPLES.with_metadata({METADATA_KEY: stored}), "x.parquet")
