"""in-toto Statements v1: SLSA provenance v1 of training and export, and of all documents."""

from collections.abc import Mapping
from typing import Any, Final

from tessera_core.lineage.attest.attested import Attested
from tessera_core.records.files import FileDigest
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.receipt import Receipt

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PROVENANCE_TYPE: Final = "https://slsa.dev/provenance/v1"
REFERENCE_TYPE: Final = "https://in-toto.io/attestation/reference/v0.1"
BUILDER_ID: Final = "urn:tessera:platform"
BUILD_TYPE: Final = "urn:tessera:build:{}:v1"
"""What ``externalParameters`` mean: the settings of that stage in ``params.yaml``."""

Json = dict[str, Any]


def training_statement(subject: Attested) -> Json:
    """Return the provenance of the model: which settings, data and code made which files."""
    pretrain = subject.stage("pretrain")
    shards = subject.manifest_files["shards"]
    dependencies = [
        *(_named(file) for file in pretrain.sources),
        _named(shards),
        *_receipts(subject, ("ingest", "quality", "shuffle")),
        _commit(pretrain),
    ]
    products = [file for file in pretrain.outputs if file != subject.manifest_files["model"]]
    return _provenance(
        pretrain,
        _subjects(subject.manifests["model"], subject.manifest_files["model"]),
        dependencies,
        products,
    )


def export_statement(subject: Attested) -> Json:
    """Return the provenance of an export: which model and samples made which files."""
    export = subject.stage("export")
    model = subject.manifests["model"]
    dependencies = [
        _named(subject.manifest_files["model"]),
        *(_named(file, folder="model/") for file in model.files),
        *(_receipt(stage, digest) for stage, digest in sorted(export.upstream.items())),
        _receipt("pretrain", subject.training["pretrain"]),
        _commit(export),
    ]
    files = _subjects(subject.manifests["export"], subject.manifest_files["export"])
    return _provenance(export, files, dependencies, [])


def reference_statement(
    subject: Attested, documents: Mapping[str, tuple[str, str]], facts: Mapping[str, Any]
) -> Json:
    """Return the statement that binds all other documents to the subject.

    Args:
        subject: What they are about.
        documents: File name -> sha256 and media type.
        facts: What else is said of the subject, so that it is signed too.
    """
    kind = "export" if subject.is_export else "model"
    about = _subject(MANIFEST_NAME, subject.manifest_files[kind].sha256)
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{**about, "annotations": dict(facts)}],
        "predicateType": REFERENCE_TYPE,
        "predicate": {
            "attester": {"id": BUILDER_ID},
            "references": [
                {"downloadLocation": name, "mediaType": media, "digest": {"sha256": sha256}}
                for name, (sha256, media) in sorted(documents.items())
            ],
        },
    }


def _provenance(
    receipt: Receipt, subjects: list[Json], dependencies: list[Json], byproducts: list[FileDigest]
) -> Json:
    """Return a statement about one stage run."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PROVENANCE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE.format(receipt.stage),
                "externalParameters": dict(receipt.config),
                "internalParameters": {"environment": {"sha256": receipt.environment}},
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": {"id": BUILDER_ID},
                # No times: a receipt has none, so the same run is the same bytes.
                "metadata": {"invocationId": f"urn:sha256:{receipt.digest}"},
                "byproducts": [
                    *(_named(file) for file in byproducts),
                    _receipt(receipt.stage, receipt.digest),
                ],
            },
        },
    }


def _subjects(manifest: Manifest, itself: FileDigest) -> list[Json]:
    """Return a manifest and its files, named from their folder."""
    files = [_subject(file.path, file.sha256) for file in manifest.files]
    return [*files, _subject(MANIFEST_NAME, itself.sha256)]


def _subject(name: str, sha256: str) -> Json:
    return {"name": name, "digest": {"sha256": sha256}}


def _named(file: FileDigest, folder: str = "") -> Json:
    return {"name": f"{folder}{file.path}", "digest": {"sha256": file.sha256}}


def _receipts(subject: Attested, stages: tuple[str, ...]) -> list[Json]:
    return [_receipt(stage, subject.training[stage]) for stage in stages]


def _receipt(stage: str, digest: str) -> Json:
    return {"name": f"data/lineage/{digest}.json", "digest": {"sha256": digest},
            "annotations": {"stage": stage}}  # fmt: skip


def _commit(receipt: Receipt) -> Json:
    """Return the code: the commit where it is known, and always what could be imported."""
    known = receipt.code.commit != "unknown"
    digest = {"gitCommit": receipt.code.commit} if known else {"sha256": receipt.code.closure}
    annotations = {"changed_since_commit": receipt.code.dirty, "closure": receipt.code.closure}
    return {"name": "code", "digest": digest, "annotations": annotations}
