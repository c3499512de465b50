"""The shape of a released checkpoint: from its tensors, its own notes, or as the caller states."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from tessera_core.domain.sampling import Sampling
from tessera_core.errors import ArtifactError, did_you_mean
from tessera_core.model.config import ModelConfig, Output, whole
from tessera_core.model.family import Family
from tessera_core.model.releases import RELEASES
from tessera_core.model.shape import EncoderConfig, SensorShape

STATABLE: Final = (
    "model_dim", "embedding_dim", "output_dim", "sampling_length",
    "num_layers", "num_heads", "feedforward_dim",
    "s2_num_layers", "s2_num_heads", "s2_feedforward_dim",
    "s1_num_layers", "s1_num_heads", "s1_feedforward_dim",
)  # fmt: skip
"""Names that a caller may state; without a sensor they hold for both."""

UNSUPPORTED: Final[Mapping[str, object]] = {
    "fusion_method": "concat",
    "use_s2": True,
    "use_s1": True,
    "split_s1_modalities": False,
    "disable_s1_ascending": False,
}
"""Switches of v1.1 configs, with the one value whose function is known (parity README)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileFacts:
    """What is known of a checkpoint before its shape is."""

    path: Path
    """The file, for messages."""

    tensors: Mapping[str, Tensor]
    """Its weights by released name, wrappers and training-only tensors taken off."""

    notes: Mapping[str, Any]
    """Its own description; may be empty."""

    stated: Mapping[str, int]
    """What the caller says."""

    def size(self, name: str, axis: int) -> int:
        """Return one axis of a tensor; raises ArtifactError when it is missing."""
        if name not in self.tensors or self.tensors[name].ndim <= axis:
            raise ArtifactError(
                f"{self.path} has no tensor {name}, which every release has; is it a checkpoint "
                "of an encoder at all?"
            )
        return self.tensors[name].shape[axis]


def infer_config(facts: FileFacts, family: Family) -> ModelConfig:
    """Return the config of a checkpoint.

    Raises:
        ArtifactError: A stated value is unknown or contradicts the tensors, or the file says that
            it is of a kind whose function is not known.
    """
    for name in facts.stated:
        if name not in STATABLE:
            raise ArtifactError(f"--shape {name} is no shape. {did_you_mean(name, STATABLE)}")
    for name, expected in UNSUPPORTED.items():
        if facts.notes.get(name, expected) != expected:
            raise ArtifactError(
                f"{facts.path} says {name} = {facts.notes[name]!r}; only {expected!r} is known"
            )
    release = RELEASES[family]
    encoder = _encoder(facts, release.shape)
    return ModelConfig(
        family=family,
        encoder=encoder,
        sampling=_sampling(facts, release.sampling),
        output=_output(facts, release.output, encoder.embedding_dim),
    )


def _encoder(facts: FileFacts, preset: EncoderConfig) -> EncoderConfig:
    last = max(
        (name for name in facts.tensors if name.startswith("dim_reducer.")), default="dim_reducer.0"
    )
    reducer = last.rpartition(".")[0]
    return replace(
        preset,
        model_dim=_agreed(facts, "model_dim", facts.size("s2_backbone.embedding.0.weight", 0)),
        s2=_sensor(facts, "s2", preset.s2),
        s1=_sensor(facts, "s1", preset.s1),
        embedding_dim=_agreed(facts, "embedding_dim", facts.size(f"{reducer}.weight", 0)),
        qk_norm=any(name.endswith(".q_norm.weight") for name in facts.tensors),
        final_norm=bool(facts.notes.get("final_layernorm", preset.final_norm)),
    )


def _sensor(facts: FileFacts, sensor: str, preset: SensorShape) -> SensorShape:
    prefix = f"{sensor}_backbone.transformer_encoder."
    layers = {
        place[0]: name
        for name in facts.tensors
        if name.startswith(prefix) and name.endswith(".linear1.weight")
        for place in [name.removeprefix(prefix).removeprefix("layers.").split(".")]
    }
    if not layers:
        raise ArtifactError(f"{facts.path} has no transformer layer under {prefix}")
    return SensorShape(
        num_layers=_agreed(facts, "num_layers", len(layers), sensor),
        num_heads=_heads(facts, sensor, prefix, preset),
        feedforward_dim=_agreed(
            facts, "feedforward_dim", facts.size(next(iter(layers.values())), 0), sensor
        ),
    )


def _heads(facts: FileFacts, sensor: str, prefix: str, preset: SensorShape) -> int:
    """Return the attention heads: only QK-norm leaves a trace of them in the tensors."""
    norm = next(
        (n for n in facts.tensors if n.startswith(prefix) and n.endswith("q_norm.weight")), None
    )
    if norm is not None:
        width = facts.size(f"{sensor}_backbone.embedding.0.weight", 0)
        return _agreed(facts, "num_heads", width // facts.size(norm, 0), sensor)
    noted = facts.notes.get(f"{sensor}_num_heads", facts.notes.get("nhead"))
    if noted is not None:
        return _agreed(facts, "num_heads", int(noted), sensor)
    stated = _stated(facts, "num_heads", sensor)
    return preset.num_heads if stated is None else stated


def _sampling(facts: FileFacts, preset: Sampling) -> Sampling:
    if preset.is_random:
        return replace(preset, lengths=(facts.stated.get("sampling_length", preset.lengths[0]),))
    if "sampling_length" in facts.stated:
        raise ArtifactError(f"--shape sampling_length: {preset.rule} takes all observations")
    buckets = facts.notes.get("num_obs_checkpoints", preset.lengths)
    return replace(preset, lengths=tuple(int(length) for length in buckets))


def _output(facts: FileFacts, preset: Output, embedding_dim: int) -> Output:
    """Return the output rule at this checkpoint's width."""
    if "matryoshka_dims" in facts.notes:
        listed = [int(part) for part in str(facts.notes["matryoshka_dims"]).split(",")]
        dims = {dim for dim in listed if dim <= embedding_dim}
    else:
        dims = {dim for dim in preset.dims if dim < embedding_dim}
    published = facts.notes.get("save_embedding_dim", min(preset.dim, embedding_dim))
    published = facts.stated.get("output_dim", int(published))
    if len(preset.dims) == 1:
        if published != embedding_dim:
            raise ArtifactError(
                f"output_dim {published} would cut embeddings of {embedding_dim} values, which "
                "this release does not order by importance"
            )
        return whole(embedding_dim, preset.coding)
    if not 0 < published <= embedding_dim:
        raise ArtifactError(f"output_dim {published} is outside 1..{embedding_dim}")
    return replace(preset, dims=tuple(sorted({*dims, published, embedding_dim})), dim=published)


def _stated(facts: FileFacts, name: str, sensor: str = "") -> int | None:
    own = facts.stated.get(f"{sensor}_{name}") if sensor else None
    return facts.stated.get(name) if own is None else own


def _agreed(facts: FileFacts, name: str, found: int, sensor: str = "") -> int:
    """Return what the file has, after checking that nothing else was stated."""
    stated = _stated(facts, name, sensor)
    if stated is not None and stated != found:
        where = f"{sensor} " if sensor else ""
        raise ArtifactError(
            f"--shape {name}={stated} contradicts {facts.path}, whose {where}{name} is {found}"
        )
    return found
