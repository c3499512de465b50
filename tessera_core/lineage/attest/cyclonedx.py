"""CycloneDX 1.6 bill of materials of a model: files, model card, data, libraries."""

import uuid
from collections.abc import Mapping
from typing import Any, Final

from tessera_core.lineage.attest.attested import Attested
from tessera_core.lineage.attest.cards import LIMITS, USERS, USES, headline_rows
from tessera_core.records.evaluation import UNSCORED, is_unscored
from tessera_core.records.files import FileDigest, digest_json

SCHEMA: Final = "http://cyclonedx.org/schema/bom-1.6.schema.json"
NAMESPACE: Final = uuid.NAMESPACE_URL
DATA: Final = {
    "samples": "Parquet d-pixels by tile and year, before shuffling and splits.",
    "shards": "The samples shuffled over all tiles, with splits and norms; the encoder saw train.",
}

Json = dict[str, Any]


def bill_of_materials(subject: Attested, versions: Mapping[str, str]) -> Json:
    """Return the ML-BOM of the subject's model.

    Args:
        subject: Version or export; an export's BOM is that of its model.
        versions: Package -> version. Listed only where their digest is the one in the training
            receipt, since only then they are what trained the model.
    """
    pretrain = subject.stage("pretrain")
    libraries = _libraries(versions) if digest_json(dict(versions)) == pretrain.environment else []
    data = [_data(subject, kind) for kind in DATA]
    serial = uuid.uuid5(NAMESPACE, f"urn:sha256:{subject.start}")
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "component": _model(subject),
            "tools": {
                "components": [
                    {
                        "type": "application",
                        "name": "tessera-platform",
                        "version": pretrain.code.commit,
                    }
                ]
            },
            "properties": [
                _property("environment", pretrain.environment),
                _property("receipt", subject.training["pretrain"]),
                _property("simulated", str(subject.simulated).lower()),
            ],
        },
        "components": [*data, *libraries],
        "dependencies": [
            {"ref": "model", "dependsOn": [each["bom-ref"] for each in (*data, *libraries)]}
        ],
    }


def _model(subject: Attested) -> Json:
    facts, about = subject.stage("pretrain").facts, subject.manifests["model"].facts
    itself = subject.manifest_files["model"]
    architecture = (
        f"TESSERA, family {about.get('family', 'own')}, {facts['num_parameters']:,} parameters, "
        f"{about.get('embedding_dim', '?')} dimensions"
    )
    return {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": subject.model_name,
        "version": subject.version,
        "description": f"Encoder of Sentinel-1/2 pixel years; artifact {subject.model_digest}",
        "hashes": _hashes(itself),
        "components": [
            {"type": "file", "name": file.path, "hashes": _hashes(file)}
            for file in subject.manifests["model"].files
        ],
        "modelCard": {
            "modelParameters": {
                "approach": {"type": "self-supervised"},
                "task": "embedding",
                "architectureFamily": "transformer",
                "modelArchitecture": architecture,
                "datasets": [{"ref": kind} for kind in DATA],
                "inputs": [{"format": "Sentinel-2 series"}, {"format": "Sentinel-1 series"}],
                "outputs": [{"format": "int8 vector with float32 scale"}],
            },
            "quantitativeAnalysis": {
                "performanceMetrics": [
                    {
                        "type": metric,
                        "value": str(value["mean"]),
                        "slice": f"{task}: {model}",
                        "confidenceInterval": {
                            "lowerBound": str(value["low"]),
                            "upperBound": str(value["high"]),
                        },
                    }
                    for task, model, metric, value in headline_rows(subject)
                ]
            },
            "considerations": {
                "users": list(USERS),
                "useCases": list(USES),
                "technicalLimitations": [*LIMITS, *_warning(subject)],
            },
        },
    }


def _warning(subject: Attested) -> list[str]:
    said = []
    if subject.simulated:
        said.append("Trained and scored on simulated scenes: the numbers prove the machinery only.")
    if is_unscored(subject.stage("evaluate").facts):
        said.append(f"The model is {UNSCORED}.")
    return said


def _data(subject: Attested, kind: str) -> Json:
    return {
        "type": "data",
        "bom-ref": kind,
        "name": kind,
        "version": subject.manifests[kind].digest,
        "description": DATA[kind],
        "hashes": _hashes(subject.manifest_files[kind]),
        "data": [{"type": "dataset", "name": kind, "description": DATA[kind]}],
    }


def _libraries(versions: Mapping[str, str]) -> list[Json]:
    return [
        {
            "type": "platform" if name == "python" else "library",
            "bom-ref": _package(name, version),
            "name": name,
            "version": version,
            "purl": _package(name, version),
        }
        for name, version in sorted(versions.items())
    ]


def _package(name: str, version: str) -> str:
    kind = "generic" if name == "python" else "pypi"
    # A + in a local version, as torch's, is a separator in a package URL.
    return f"pkg:{kind}/{name.lower().replace('_', '-')}@{version.replace('+', '%2B')}"


def _hashes(file: FileDigest) -> list[Json]:
    return [{"alg": "SHA-256", "content": file.sha256}]


def _property(name: str, value: str) -> Json:
    return {"name": f"tessera:{name}", "value": value}
