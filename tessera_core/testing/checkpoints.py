"""Released checkpoints in miniature: our own encoders under the names that their authors use."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from torch import Tensor

from tessera_core.model.checkpoint import CONTAINERS, source_names
from tessera_core.model.config import ModelConfig, whole
from tessera_core.model.encoder import Encoder
from tessera_core.model.family import Family
from tessera_core.model.releases import RELEASES
from tessera_core.model.shape import EncoderConfig, SensorShape
from tessera_core.testing.models import tiny_encoder

S2_SENSOR: Final = SensorShape(num_layers=2, num_heads=2, feedforward_dim=24)
S1_SENSOR: Final = SensorShape(num_layers=1, num_heads=4, feedforward_dim=20)


def tiny_release(family: Family, *, qk_norm: bool | None = None) -> ModelConfig:
    """Return a release's config at the smallest size, its two sensors unlike each other.

    Students and v1.1 keep their full embedding width, since their usable prefixes hang on it.

    Args:
        family: The release.
        qk_norm: Whether queries and keys are normalised; None for what the release does.
    """
    release = RELEASES[family]
    keeps_width = len(release.output.dims) > 1
    shape = replace(
        release.shape,
        model_dim=16,
        s2=S2_SENSOR,
        s1=S1_SENSOR,
        embedding_dim=release.shape.embedding_dim if keeps_width else 12,
        qk_norm=release.shape.qk_norm if qk_norm is None else qk_norm,
    )
    return ModelConfig(
        family=family,
        encoder=shape,
        sampling=release.sampling,
        output=release.output if keeps_width else whole(12, release.output.coding),
    )


def released_state(encoder: Encoder, config: ModelConfig) -> dict[str, Tensor]:
    """Return an encoder's weights under the names of its release."""
    state: dict[str, Tensor] = {}
    for name, value in encoder.state_dict().items():
        sources = source_names(name, config.encoder, Family(config.family))
        parts = value.chunk(len(sources)) if len(sources) > 1 else (value,)
        state |= {source: part.clone() for source, part in zip(sources, parts, strict=True)}
    return state


def released_notes(config: ModelConfig) -> dict[str, Any]:
    """Return what a file of this release says of itself: v1.0 says nothing."""
    shape, family = config.encoder, config.family
    if family in (Family.V1_0_EARLY, Family.V1_0_QAT):
        return {}
    if family in (Family.V1_1_MPC, Family.V1_1_AWS):
        return {"config": _per_sensor(shape) | {"save_embedding_dim": config.output.dim}}
    # One number of heads for both sensors; with QK-norm the tensors tell it anyway.
    about = {"repr_dim": shape.embedding_dim, "latent_dim": shape.model_dim // 4}
    if family == Family.V2_TEACHER:
        return {"arch": about | {"final_layernorm": shape.final_norm}}
    dims = ",".join(str(dim) for dim in config.output.dims)
    return {"args": about | {"matryoshka_dims": dims, "enable_qk_norm": shape.qk_norm}}


def released_content(
    config: ModelConfig, seed: int, *, prefix: str = "", extra: Mapping[str, Tensor] | None = None
) -> dict[str, Any]:
    """Return what a checkpoint file of a release holds, with weights of our own.

    Args:
        config: From ``tiny_release``.
        seed: Decides the weights.
        prefix: What a wrapper put before every name.
        extra: More tensors under their released names.
    """
    state = released_state(tiny_encoder(seed, config.encoder), config) | dict(extra or {})
    container = CONTAINERS[Family(config.family)][0]
    weights = {f"{prefix}{name}": value for name, value in state.items()}
    return {container: weights, **released_notes(config)}


def stated_heads(config: ModelConfig) -> dict[str, int]:
    """Return what a caller must state of a miniature: the releases have other numbers of heads."""
    told = config.encoder.qk_norm or config.family in (Family.V1_1_MPC, Family.V1_1_AWS)
    if told:
        return {}
    return {
        "s2_num_heads": config.encoder.s2.num_heads,
        "s1_num_heads": config.encoder.s1.num_heads,
    }


def _per_sensor(shape: EncoderConfig) -> dict[str, int]:
    return {
        f"{name}_{part}": getattr(sensor, part)
        for name, sensor in (("s2", shape.s2), ("s1", shape.s1))
        for part in ("num_layers", "num_heads")
    }
