"""Croissant 1.0 description of the sample set: its files with digests, its columns."""

from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa

from tessera_core.lineage.attest.attested import Attested
from tessera_core.lineage.attest.cards import licence_of
from tessera_core.records.samples import SAMPLES_NAME, SCENES_NAME
from tessera_core.records.schema import SAMPLES, SCENES

CONFORMS_TO: Final = "http://mlcommons.org/croissant/1.0"
CONTEXT: Final = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{
        term: f"cr:{term}"
        for term in (
            "citeAs", "column", "equivalentProperty", "extract", "field", "fileObject",
            "fileProperty", "fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key",
            "md5", "parentField", "path", "recordSet", "references", "regex", "repeated",
            "replace", "samplingRate", "separator", "source", "subField", "transform",
        )
    },
}  # fmt: skip
COLUMNS: Final = {
    "row": "Pixel row in its tile.",
    "column": "Pixel column in its tile.",
    "x": "Easting of the pixel's centre, metres, in the tile's UTM zone.",
    "y": "Northing of the pixel's centre, metres, in the tile's UTM zone.",
    "s2_reflectance": "Sentinel-2 reflectance x 10000 without offset, flattened (time, band).",
    "s2_scl": "Scene class of each Sentinel-2 observation.",
    "s2_day_of_year": "Day of the year of each Sentinel-2 observation.",
    "s1_ascending": "Scaled backscatter of ascending orbits, 0 = missing, flattened (time, band).",
    "s1_ascending_day_of_year": "Day of the year of each ascending observation.",
    "s1_descending": "The same of descending orbits.",
    "s1_descending_day_of_year": "Day of the year of each descending observation.",
    "scene_id": "STAC item, or tile directory.",
    "collection": "STAC collection.",
    "acquired": "Day of the acquisition.",
    "orbit": "Orbit direction of Sentinel-1.",
    "baseline": "Processing baseline of Sentinel-2.",
    "offset_removed": "Whether ingest removed the baseline's offset.",
    "asset": "Asset of the item.",
    "href": "Where the file was read.",
    "sha256": "Digest of the file, or its ETag.",
}

Json = dict[str, Any]


def describe_samples(subject: Attested, times: Mapping[str, str]) -> Json:
    """Return the metadata; paths in it are relative to the folder of the samples.

    Args:
        subject: Version or export; described are the samples that its model was trained on.
        times: Commit -> ISO 8601 time; dates the set where it is known.
    """
    ingest, samples = subject.stage("ingest"), subject.manifests["samples"]
    warning = " Simulated: they prove the machinery, never the science." * subject.simulated
    described: Json = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": f"{subject.model_name}-samples",
        "description": f"{ingest.facts['num_pixels']:,} d-pixels, Sentinel-1/2 pixel years, that "
        f"{subject.model_name} version {subject.version} was trained and scored on.{warning}",
        "version": f"1.0.0+{samples.digest[:12]}",
        "license": licence_of(subject)[1],
        "url": f"urn:sha256:{samples.digest}",
        "citeAs": f"Samples {samples.digest}",
        "distribution": [
            *(_file(file.path, file.sha256, file.size) for file in samples.files),
            _file_set("samples", SAMPLES_NAME),
            _file_set("scenes", SCENES_NAME),
        ],
        "recordSet": [
            _records("samples", "One row is one d-pixel.", SAMPLES),
            _records("scenes", "One row is one source file of one acquisition.", SCENES),
        ],
    }
    if (time := times.get(ingest.code.commit)) is not None:
        described["datePublished"] = time
    return described


def _file(path: str, sha256: str, size: int) -> Json:
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "contentSize": f"{size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": sha256,
    }


def _file_set(name: str, file: str) -> Json:
    return {
        "@type": "cr:FileSet",
        "@id": f"{name}-files",
        "name": f"{name}-files",
        "encodingFormat": "application/x-parquet",
        "includes": f"tile=*/window=*/{file}",
    }


def _records(name: str, description: str, schema: pa.Schema) -> Json:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "field": [_field(name, field) for field in schema],
    }


def _field(records: str, field: pa.Field) -> Json:
    is_list = pa.types.is_list(field.type)
    described: Json = {
        "@type": "cr:Field",
        "@id": f"{records}/{field.name}",
        "name": field.name,
        "description": COLUMNS[field.name],
        "dataType": _data_type(field.type.value_type if is_list else field.type),
        "source": {"fileSet": {"@id": f"{records}-files"}, "extract": {"column": field.name}},
    }
    if is_list:
        described["repeated"] = True
    return described


def _data_type(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "sc:Integer"
    if pa.types.is_floating(kind):
        return "sc:Float"
    return "sc:Boolean" if pa.types.is_boolean(kind) else "sc:Text"
