"""The model artifact: encoder, norms, band contract and canaries in one folder, one digest.

Files: ``encoder.safetensors``, ``config.json``, ``norms.json``, ``bands.json``,
``canaries.safetensors`` and ``manifest.json``. Nothing is ever unpickled.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from tessera_core.domain.bands import S1_NAMES, S2_NAMES
from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.domain.embedding import Embedding, quantise
from tessera_core.domain.norms import NormStats
from tessera_core.errors import ArtifactError, RecordError
from tessera_core.model.embed import ModelArtifact, embed_pixels
from tessera_core.model.encoder import Encoder, EncoderConfig
from tessera_core.records.files import atomic_folder, read_json, write_json
from tessera_core.records.manifest import Manifest, find_differences, write_manifest

WEIGHTS_NAME: Final = "encoder.safetensors"
CANARIES_NAME: Final = "canaries.safetensors"
BAND_CONTRACT: Final = {
    "s2": list(S2_NAMES),
    "s1": list(S1_NAMES),
    "s2_unit": "reflectance x 10000, baseline offset removed",
    "s1_unit": "(20 log10(linear power) + 50) x 200",
    "day_of_year": "1..366, raw, last channel",
}
MAX_CODE_STEPS: Final = 3
MIN_SHARE_WITHIN_ONE: Final = 0.9999
MAX_SCALE_DRIFT: Final = 0.016
"""Tolerances between device classes and batch sizes (peers.md B4)."""

CANARY_BATCH: Final = 16
READABLE: Final = 0o644


def write_artifact(
    folder: Path, encoder: Encoder, config: EncoderConfig, norms: NormStats, canaries: DPixels
) -> Manifest:
    """Write an artifact, atomically.

    Args:
        folder: Target; an older artifact there is replaced as a whole.
        encoder: The trained network.
        config: Its shape.
        norms: Its normalisation.
        canaries: A few d-pixels whose codes are stored and checked at every load.

    Raises:
        ArtifactError: There is no canary, or one has no embedding.
    """
    encoder.eval()
    artifact = ModelArtifact(encoder=encoder, config=config, norms=norms, digest="")
    expected = _embed_canaries(artifact, canaries)
    if len(canaries) == 0 or not np.isfinite(expected.scale).all():
        raise ArtifactError(
            f"{folder} not written: {np.isfinite(expected.scale).sum()} of {len(canaries)} "
            "canaries have an embedding, expected all and at least one canary. Take d-pixels "
            "with clear observations, and check the weights for NaN"
        )
    with atomic_folder(folder) as building:
        weights = {name: value.contiguous() for name, value in encoder.state_dict().items()}
        save_file(weights, building / WEIGHTS_NAME)
        write_json(building / "config.json", asdict(config))
        write_json(building / "norms.json", norms.to_dict())
        write_json(building / "bands.json", BAND_CONTRACT)
        save_arrays(
            {**_arrays_of(canaries), "codes": expected.codes, "scale": expected.scale},
            building / CANARIES_NAME,
        )
        for name in (WEIGHTS_NAME, CANARIES_NAME):
            # safetensors writes for the owner alone; a service may run as someone else.
            (building / name).chmod(READABLE)
        return write_manifest(
            building, "model", {"family": config.family, "embedding_dim": config.embedding_dim}
        )


def load_artifact(folder: Path) -> ModelArtifact:
    """Read an artifact strictly and check its canaries.

    Raises:
        ArtifactError: A file is missing or changed, a tensor is missing, extra, misshaped or not
            finite, the band contract differs, or a canary misses its code.
    """
    try:
        manifest = Manifest.read(folder)
        config = EncoderConfig(**read_json(folder / "config.json"))
        norms = NormStats.from_dict(read_json(folder / "norms.json"))
        bands = read_json(folder / "bands.json")
    except (RecordError, TypeError) as error:
        raise ArtifactError(f"{folder} is not a model artifact: {error}") from error
    if differences := find_differences(folder, manifest):
        raise ArtifactError(f"model artifact refused: {differences[0]}; fetch it again")
    if bands != BAND_CONTRACT:
        raise ArtifactError(
            f"{folder} was trained on another band contract: {bands}, expected {BAND_CONTRACT}"
        )
    encoder = Encoder(config)
    load_weights(encoder, folder / WEIGHTS_NAME)
    artifact = ModelArtifact(
        encoder=encoder.eval(), config=config, norms=norms, digest=manifest.digest
    )
    _check_canaries(artifact, folder)
    return artifact


def random_artifact(like: ModelArtifact, seed: int) -> ModelArtifact:
    """Return an untrained model of the same shape and norms: the baseline to beat."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(like.config).eval()
    return ModelArtifact(encoder=encoder, config=like.config, norms=like.norms, digest="")


def load_weights(encoder: Encoder, path: Path) -> None:
    """Fill an encoder from safetensors; every tensor must fit and be finite."""
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"cannot read weights {path}: {error}") from error
    own = encoder.state_dict()
    faults = [f"missing {name}" for name in sorted(own.keys() - weights.keys())]
    faults += [f"extra {name}" for name in sorted(weights.keys() - own.keys())]
    for name in sorted(own.keys() & weights.keys()):
        if own[name].shape != weights[name].shape:
            faults.append(
                f"{name} has shape {tuple(weights[name].shape)}, expected {tuple(own[name].shape)}"
            )
        elif not torch.isfinite(weights[name]).all():
            faults.append(f"{name} holds NaN or infinity")
    if faults:
        raise ArtifactError(f"{path} does not fit the encoder: {'; '.join(faults)}")
    encoder.load_state_dict(weights, strict=True)


def read_canaries(folder: Path) -> DPixels:
    """Return the d-pixels that an artifact is checked with."""
    return _pixels_of(load_arrays(folder / CANARIES_NAME))


def _check_canaries(artifact: ModelArtifact, folder: Path) -> None:
    try:
        arrays = load_arrays(folder / CANARIES_NAME)
        expected = Embedding(codes=arrays["codes"], scale=arrays["scale"])
        canaries = _pixels_of(arrays)
    except (OSError, SafetensorError, KeyError, RecordError) as error:
        raise ArtifactError(f"{folder}: cannot read the canaries: {error}") from error
    shape = (len(canaries), artifact.config.embedding_dim)
    if len(canaries) == 0 or expected.codes.shape != shape:
        raise ArtifactError(
            f"{folder} holds {len(canaries)} canaries and codes of shape {expected.codes.shape}, "
            f"expected codes of shape {shape} for at least one canary; fetch it again"
        )
    found = _embed_canaries(artifact, canaries)
    steps = np.abs(found.codes.astype(np.int16) - expected.codes)
    drift = np.abs(found.scale / expected.scale - 1).max()
    share = float((steps <= 1).mean())
    within = int(steps.max()) <= MAX_CODE_STEPS and share >= MIN_SHARE_WITHIN_ONE
    if not within or not drift <= MAX_SCALE_DRIFT:
        raise ArtifactError(
            f"{folder}: a canary misses: codes up to {int(steps.max())} steps apart "
            f"({share:.2%} within 1), scale off by {drift:.2%}; expected at most "
            f"{MAX_CODE_STEPS}, {MIN_SHARE_WITHIN_ONE:.2%}, {MAX_SCALE_DRIFT:.1%}. This machine "
            "does not compute what the model learnt: check torch version and device"
        )


def _embed_canaries(artifact: ModelArtifact, canaries: DPixels) -> Embedding:
    return quantise(embed_pixels(artifact, canaries, batch_size=CANARY_BATCH))


def _arrays_of(pixels: DPixels) -> dict[str, npt.NDArray[Any]]:
    return {
        f"{sensor}.{part}": np.ascontiguousarray(getattr(getattr(pixels, sensor), part))
        for sensor in ("optical", "ascending", "descending")
        for part in ("values", "day_of_year", "offsets", "valid")
    }


def _pixels_of(arrays: dict[str, npt.NDArray[Any]]) -> DPixels:
    return DPixels(
        **{
            sensor: Series(
                **{
                    part: arrays[f"{sensor}.{part}"]
                    for part in ("values", "day_of_year", "offsets", "valid")
                }
            )
            for sensor in ("optical", "ascending", "descending")
        }
    )
