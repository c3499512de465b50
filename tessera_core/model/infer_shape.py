"""The shape of a released checkpoint: from its tensors, its own notes, or as the caller states."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from tessera_core.domain.sampling import Sampling
from tessera_core.errors import ArtifactError, RecordError, did_you_mean
from tessera_core.model.config import ModelConfig, Output, whole
from tessera_core.model.family import Family
from tessera_core.model.releases import RELEASES
from tessera_core.model.shape import EncoderConfig, Reducer, SensorShape

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

    def noted(self, name: str) -> int | None:
        """Return a number that the file says of itself, or None where it says nothing."""
        value = self.notes.get(name)
        return None if value is None else self._whole(name, value)

    def noted_list(self, name: str) -> tuple[int, ...] | None:
        """Return several such numbers, from a list or from text as ``16,32``."""
        value = self.notes.get(name)
        if value is None:
            return None
        if isinstance(value, str) and re.fullmatch(r"\d+(,\d+)*", value):
            value = [int(part) for part in value.split(",")]
        if not isinstance(value, list | tuple):
            raise ArtifactError(f"{self.path} says {name} = {value!r}, expected whole numbers")
        return tuple(self._whole(name, part) for part in value)

    def _whole(self, name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ArtifactError(f"{self.path} says {name} = {value!r}, expected a whole number")
        return value


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
    last = "dim_reducer.4.weight" if preset.reducer is Reducer.MLP else "dim_reducer.0.weight"
    return replace(
        preset,
        model_dim=_agreed(facts, "model_dim", facts.size("s2_backbone.embedding.0.weight", 0)),
        s2=_sensor(facts, "s2", preset.s2),
        s1=_sensor(facts, "s1", preset.s1),
        embedding_dim=_agreed(facts, "embedding_dim", facts.size(last, 0)),
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
        return _agreed(facts, "num_heads", width // max(facts.size(norm, 0), 1), sensor)
    for note in (f"{sensor}_num_heads", "nhead"):
        if (noted := facts.noted(note)) is not None:
            return _agreed(facts, "num_heads", noted, sensor)
    stated = _stated(facts, "num_heads", sensor)
    return preset.num_heads if stated is None else stated


def _sampling(facts: FileFacts, preset: Sampling) -> Sampling:
    lengths: tuple[int, ...] | None
    if preset.is_random:
        lengths = (facts.stated.get("sampling_length", preset.lengths[0]),)
    elif "sampling_length" in facts.stated:
        raise ArtifactError(f"--shape sampling_length: {preset.rule} takes all observations")
    else:
        lengths = facts.noted_list("num_obs_checkpoints")
    try:
        return replace(preset, lengths=preset.lengths if lengths is None else lengths)
    except RecordError as error:
        raise ArtifactError(f"{facts.path}: {error}") from error


def _output(facts: FileFacts, preset: Output, embedding_dim: int) -> Output:
    """Return the output rule at this checkpoint's width."""
    listed = facts.noted_list("matryoshka_dims") or preset.dims
    dims = {dim for dim in listed if dim <= embedding_dim}
    noted, stated = facts.noted("save_embedding_dim"), facts.stated.get("output_dim")
    published = min(preset.dim, embedding_dim) if noted is None else noted
    if stated is not None:
        if dims and stated not in {*dims, published, embedding_dim}:
            known = ", ".join(str(dim) for dim in sorted({*dims, published, embedding_dim}))
            raise ArtifactError(
                f"--shape output_dim={stated} would cut embeddings where this release does not "
                f"order them, expected one of {known}"
            )
        published = stated
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
