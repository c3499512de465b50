"""OpenLineage run events (spec 2-0-2) of every stage behind a subject.

The events are history told after the fact, from receipts. Those have no clock, so an event's
time is that of the commit whose code ran, and START and COMPLETE share it.
"""

import uuid
from collections.abc import Mapping
from typing import Any, Final

from tessera_core.lineage.attest.attested import Attested
from tessera_core.lineage.attest.intoto import BUILDER_ID
from tessera_core.records.files import digest_json
from tessera_core.records.receipt import Receipt
from tessera_core.records.schema import SAMPLES

SPEC: Final = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs"
FACETS: Final = "https://openlineage.io/spec/facets"
NAMESPACE: Final = "tessera"

Json = dict[str, Any]


def run_events(subject: Attested, times: Mapping[str, str]) -> list[Json]:
    """Return START and COMPLETE of each stage run, in the order of the stages.

    Args:
        subject: Version or export.
        times: Commit -> ISO 8601 time in UTC.
    """
    events = []
    for digest, receipt in subject.receipts.items():
        inputs = _inputs(subject, receipt)
        for kind in ("START", "COMPLETE"):
            events.append(
                {
                    "eventType": kind,
                    "eventTime": times[receipt.code.commit],
                    "producer": BUILDER_ID,
                    "schemaURL": f"{SPEC}/RunEvent",
                    "run": {"runId": run_id(digest), "facets": {"tessera": _run(digest, receipt)}},
                    "job": {
                        "namespace": NAMESPACE,
                        "name": receipt.stage,
                        "facets": {"jobType": _job_type()},
                    },
                    "inputs": inputs,
                    "outputs": _outputs(receipt) if kind == "COMPLETE" else [],
                }
            )
    return events


def run_id(digest: str) -> str:
    """Return the UUID of the run that a receipt records: the same wherever it is told."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:sha256:{digest}"))


def _inputs(subject: Attested, receipt: Receipt) -> list[Json]:
    """Return what a stage read: outputs of earlier stages, and its files from outside."""
    datasets = []
    for digest in receipt.upstream.values():
        # Register stands on its candidate as well, whose receipts are not part of this story.
        if earlier := subject.receipts.get(digest):
            datasets += _outputs(earlier)
    if receipt.sources:
        listed = [source.to_dict() for source in receipt.sources]
        facet = {
            "numFiles": len(listed),
            "numBytes": sum(source.size for source in receipt.sources),
        }
        facets = {"tessera": _facet(f"{SPEC}/DatasetFacet", facet)}
        datasets.append(_dataset(f"{receipt.stage}/sources", digest_json(listed), facets))
    if receipt.stage == "quality" and "verdict" in receipt.facts:
        for dataset in datasets:
            dataset["inputFacets"] = {"dataQualityAssertions": _assertions(receipt)}
    return datasets


def _outputs(receipt: Receipt) -> list[Json]:
    """Return what a stage made; the digest of a manifest stands for its folder."""
    datasets = []
    for output in receipt.outputs:
        facets = {"schema": _schema()} if receipt.stage == "ingest" else {}
        name = output.path.removesuffix("/manifest.json")
        datasets.append(_dataset(name, output.sha256, facets))
    return datasets


def _dataset(name: str, digest: str, facets: Json) -> Json:
    version = _facet(
        f"{FACETS}/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet",
        {"datasetVersion": f"sha256:{digest}"},
    )
    return {"namespace": NAMESPACE, "name": name, "facets": {"version": version, **facets}}


def _schema() -> Json:
    fields = [{"name": field.name, "type": str(field.type)} for field in SAMPLES]
    return _facet(
        f"{FACETS}/1-2-0/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet", {"fields": fields}
    )


def _assertions(receipt: Receipt) -> Json:
    passed = receipt.facts["verdict"] == "passed"
    rules = receipt.facts.get("num_rules", "all")
    return _facet(
        f"{FACETS}/1-1-0/DataQualityAssertionsDatasetFacet.json"
        "#/$defs/DataQualityAssertionsDatasetFacet",
        {"assertions": [{"assertion": f"quality gate of {rules} rules", "success": passed}]},
    )


def _run(digest: str, receipt: Receipt) -> Json:
    return _facet(
        f"{SPEC}/RunFacet",
        {
            "receipt": digest,
            "settings": digest_json(dict(receipt.config)),
            "environment": receipt.environment,
            "commit": receipt.code.commit,
            "changedSinceCommit": receipt.code.dirty,
            "closure": receipt.code.closure,
        },
    )


def _job_type() -> Json:
    return _facet(
        f"{FACETS}/2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet",
        {"processingType": "BATCH", "integration": "TESSERA", "jobType": "STAGE"},
    )


def _facet(schema: str, values: Json) -> Json:
    return {"_producer": BUILDER_ID, "_schemaURL": schema, **values}
