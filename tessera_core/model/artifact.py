"""The model artifact: encoder, norms, band contract and canaries in one folder, one digest.

Files: ``encoder.safetensors``, ``config.json``, ``norms.json``, ``bands.json``,
``canaries.safetensors`` and ``manifest.json``. Nothing is ever unpickled.
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
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
from tessera_core.model.config import ModelConfig
from tessera_core.model.embed import ModelArtifact, embed_pixels
from tessera_core.model.encoder import Encoder
from tessera_core.model.releases import require_pairing
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far canaries may be off."""

    max_steps: int
    """Largest distance of two codes."""

    min_share_within_one: float
    """Share of codes that are at most one step off, 0..1; one code always may be further."""

    max_changed: float
    """Share of codes that may change at all, 0..1; one code always may."""

    max_scale_drift: float
    """Largest relative difference of two scales."""


SAME_DEVICE: Final = Tolerance(
    max_steps=1, min_share_within_one=1.0, max_changed=0.005, max_scale_drift=0.001
)
"""For the device class that the codes were computed on (method.md 10)."""

OTHER_DEVICE: Final = Tolerance(
    max_steps=3, min_share_within_one=0.9999, max_changed=1.0, max_scale_drift=0.016
)
"""For any other (method.md 10)."""

DEVICE_FACT: Final = "canary_device"
CANARY_BATCH: Final = 16
READABLE: Final = 0o644


def write_artifact(
    folder: Path,
    encoder: Encoder,
    config: ModelConfig,
    norms: NormStats,
    canaries: DPixels,
    *,
    facts: Mapping[str, Any] | None = None,
) -> Manifest:
    """Write an artifact, atomically.

    Args:
        folder: Target; an older artifact there is replaced as a whole.
        encoder: The trained network.
        config: Its family, shape, sampling and output rule.
        norms: Its normalisation.
        canaries: A few d-pixels whose codes are stored and checked at every load.
        facts: More for the manifest, as where imported weights come from; plain JSON values.

    Raises:
        ArtifactError: The norms or rules are not those of the family, there is no canary, or one
            has no embedding.
    """
    require_pairing(config, norms)
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
        write_json(building / "config.json", config.to_dict())
        write_json(building / "norms.json", norms.to_dict())
        write_json(building / "bands.json", BAND_CONTRACT)
        save_arrays(
            {**_arrays_of(canaries), "codes": expected.codes, "scale": expected.scale},
            building / CANARIES_NAME,
        )
        for name in (WEIGHTS_NAME, CANARIES_NAME):
            # safetensors writes for the owner alone; a service may run as someone else.
            (building / name).chmod(READABLE)
        about = {
            "family": config.family,
            "embedding_dim": config.output.dim,
            DEVICE_FACT: device_class(artifact.device),
        }
        return write_manifest(building, "model", {**about, **(facts or {})})


def load_artifact(folder: Path, device: torch.device | None = None) -> ModelArtifact:
    """Read an artifact strictly and check its canaries on the device that will compute.

    Args:
        folder: The artifact.
        device: Where to put the network; None for the CPU.

    Raises:
        ArtifactError: A file is missing or changed, a tensor is missing, extra, misshaped or not
            finite, the band contract differs, the norms or rules are not those of the family, or
            a canary misses its code.
    """
    try:
        manifest = Manifest.read(folder)
        config = ModelConfig.from_dict(read_json(folder / "config.json"))
        norms = NormStats.from_dict(read_json(folder / "norms.json"))
        bands = read_json(folder / "bands.json")
    except (RecordError, ArtifactError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{folder} is not a model artifact: {error}") from error
    if differences := find_differences(folder, manifest):
        raise ArtifactError(f"model artifact refused: {differences[0]}; fetch it again")
    if bands != BAND_CONTRACT:
        raise ArtifactError(
            f"{folder} was trained on another band contract: {bands}, expected {BAND_CONTRACT}"
        )
    require_pairing(config, norms)
    # Weights come from the file: random ones would take longer to draw than these to read. They
    # are copied into memory of torch's own, whose alignment decides the last digits.
    with torch.device("meta"):
        encoder = Encoder(config.encoder)
    encoder.to_empty(device="cpu")
    load_weights(encoder, folder / WEIGHTS_NAME)
    encoder = encoder.eval().to(device or torch.device("cpu"))
    artifact = ModelArtifact(encoder=encoder, config=config, norms=norms, digest=manifest.digest)
    recorded = manifest.facts.get(DEVICE_FACT)
    is_same = recorded == device_class(artifact.device)
    _check_canaries(artifact, folder, SAME_DEVICE if is_same else OTHER_DEVICE)
    return artifact


def device_class(device: torch.device) -> str:
    """Return the kind of device that decides the last digits, as ``cpu-x86_64``."""
    if device.type == "cpu":
        return f"cpu-{platform.machine()}"
    return f"{device.type}-{torch.cuda.get_device_name(device)}"


def best_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def random_artifact(like: ModelArtifact, seed: int) -> ModelArtifact:
    """Return an untrained model of the same shape and norms: the baseline to beat."""
    return untrained_artifact(like.config, like.norms, seed, like.device)


def untrained_artifact(
    config: ModelConfig, norms: NormStats, seed: int, device: torch.device
) -> ModelArtifact:
    """Return a model with random weights, which no folder holds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(config.encoder).eval().to(device)
    return ModelArtifact(encoder=encoder, config=config, norms=norms, digest="")


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


def _check_canaries(artifact: ModelArtifact, folder: Path, tolerance: Tolerance) -> None:
    try:
        arrays = load_arrays(folder / CANARIES_NAME)
        expected = Embedding(codes=arrays["codes"], scale=arrays["scale"])
        canaries = _pixels_of(arrays)
    except (OSError, SafetensorError, KeyError, RecordError) as error:
        raise ArtifactError(f"{folder}: cannot read the canaries: {error}") from error
    shape = (len(canaries), artifact.config.output.dim)
    if len(canaries) == 0 or expected.codes.shape != shape:
        raise ArtifactError(
            f"{folder} holds {len(canaries)} canaries and codes of shape {expected.codes.shape}, "
            f"expected codes of shape {shape} for at least one canary; fetch it again"
        )
    found = _embed_canaries(artifact, canaries)
    steps = np.abs(found.codes.astype(np.int16) - expected.codes)
    drift = np.abs(found.scale / expected.scale - 1).max()
    num_far, num_changed = int((steps > 1).sum()), int((steps > 0).sum())
    within = 1 - num_far / steps.size
    # Canaries have a thousand codes or fewer, so any share of them may be less than one code.
    is_close = (
        int(steps.max()) <= tolerance.max_steps
        and num_far <= max(1, (1 - tolerance.min_share_within_one) * steps.size)
        and num_changed <= max(1, tolerance.max_changed * steps.size)
    )
    if not is_close or not drift <= tolerance.max_scale_drift:
        raise ArtifactError(
            f"{folder}: a canary misses: codes up to {int(steps.max())} steps apart "
            f"({within:.2%} within 1, {num_changed} of {steps.size} changed), scale off by "
            f"{drift:.2%}; expected at most {tolerance.max_steps}, "
            f"{tolerance.min_share_within_one:.2%}, {tolerance.max_changed:.1%}, "
            f"{tolerance.max_scale_drift:.1%}. This machine does not compute what the model "
            "learnt: check torch version and device"
        )


def _embed_canaries(artifact: ModelArtifact, canaries: DPixels) -> Embedding:
    values = embed_pixels(artifact, canaries, batch_size=CANARY_BATCH)
    return quantise(values, artifact.config.output.coding)


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
