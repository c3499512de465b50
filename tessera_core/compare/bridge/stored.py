"""A comparison of two versions as a folder: its numbers, the map, and the manifest last."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tessera_core.compare.bridge.maps import AffineMap, Form
from tessera_core.compare.bridge.verdict import Bridge, Verdict
from tessera_core.errors import InputError, RecordError
from tessera_core.records.evaluation import COMPARISON_NAME
from tessera_core.records.files import atomic_folder, read_json, write_json
from tessera_core.records.manifest import Manifest, find_differences, write_manifest

BRIDGE_NAME: Final = "bridge.safetensors"
COMPARISON_KIND: Final = "comparison"
READABLE: Final = 0o644


def write_comparison(
    folder: Path, comparison: Mapping[str, Any], bridge: Bridge | None
) -> Manifest:
    """Write a comparison, atomically; there is no map in it where the verdict allows none.

    Args:
        folder: Target; an older comparison there is replaced as a whole.
        comparison: From ``compare_models``; further plain JSON values may be added.
        bridge: From the same call; None where there were too few anchors for one.
    """
    digests = {name: comparison[name]["model_digest"] for name in ("champion", "challenger")}
    with atomic_folder(folder) as building:
        write_json(building / COMPARISON_NAME, dict(comparison))
        if bridge is not None and bridge.map is not None:
            save_file(
                {
                    "matrix": np.ascontiguousarray(bridge.map.matrix_DE),
                    "shift": np.ascontiguousarray(bridge.map.shift_E),
                },
                building / BRIDGE_NAME,
                metadata={"form": bridge.map.form.value, **digests},
            )
            # safetensors writes for the owner alone; a service may run as someone else.
            (building / BRIDGE_NAME).chmod(READABLE)
        facts = {
            **digests,
            "verdict": comparison["bridge"]["verdict"],
            "error": comparison["bridge"]["error"],
        }
        return write_manifest(building, COMPARISON_KIND, facts)


def read_comparison(folder: Path) -> dict[str, Any]:
    """Return comparison.json; raises RecordError when missing, changed or something else."""
    manifest = Manifest.read(folder)
    if manifest.kind != COMPARISON_KIND:
        raise RecordError(f"{folder} is of kind {manifest.kind!r}, expected {COMPARISON_KIND!r}")
    if differences := find_differences(folder, manifest):
        raise RecordError(f"comparison refused: {differences[0]}; compare again")
    stored: dict[str, Any] = read_json(folder / COMPARISON_NAME)
    return stored


def read_bridge(folder: Path, *, champion: str, challenger: str) -> AffineMap:
    """Return the map from the challenger's embeddings to the champion's.

    Args:
        folder: Written by ``write_comparison``.
        champion: Digest of the model whose space is wanted.
        challenger: Digest of the model whose embeddings are to be mapped.

    Raises:
        RecordError: The folder is missing, changed or something else, was made for other models,
            or its verdict is that there is no map.
    """
    comparison = read_comparison(folder)
    for name, wanted in (("champion", champion), ("challenger", challenger)):
        found = comparison[name]["model_digest"]
        if found != wanted:
            raise RecordError(
                f"{folder} was made for {name} {found[:12]!r}, not {wanted[:12]!r}; a bridge "
                "leads from one model to one other. Compare the two that you have"
            )
    if comparison["bridge"]["verdict"] not in (Verdict.COMPATIBLE, Verdict.BRIDGEABLE):
        raise RecordError(
            f"{folder} holds no map: {comparison['bridge']['reason']}. Keep embeddings of the two "
            "versions apart, or embed everything with one of them"
        )
    path = folder / BRIDGE_NAME
    try:
        with safe_open(path, framework="numpy") as stored:
            return AffineMap(
                form=Form(stored.metadata()["form"]),
                matrix_DE=stored.get_tensor("matrix"),
                shift_E=stored.get_tensor("shift"),
            )
    except (OSError, SafetensorError, KeyError, ValueError, InputError) as error:
        raise RecordError(f"cannot read {path}: {error}; compare again") from error
