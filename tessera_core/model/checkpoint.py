"""Released checkpoints: read without unpickling, named as their authors named them, taken strictly.

The layouts are those that the public inference code reads (method.md 4; names by release below).
Shapes come from the tensors, then from what the file says of itself, then from the published
preset; what none of them tells, the number of attention heads above all, the caller may state.
"""

import re
import struct
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final

import torch
from torch import Tensor

from tessera_core.errors import ArtifactError
from tessera_core.model.config import ModelConfig
from tessera_core.model.encoder import Encoder
from tessera_core.model.family import Family
from tessera_core.model.infer_shape import FileFacts, infer_config
from tessera_core.model.shape import EncoderConfig, Reducer

CONTAINERS: Final[Mapping[Family, tuple[str, ...]]] = {
    Family.V1_0_EARLY: ("model_state", "model_state_dict"),
    Family.V1_0_QAT: ("model_state", "model_state_dict"),
    Family.V1_1_MPC: ("model_state", "model_state_dict"),
    Family.V1_1_AWS: ("model_state", "model_state_dict"),
    Family.V2_STUDENT: ("model",),
    Family.V2_TEACHER: ("encoder_state_dict",),
}
"""Key of the state dict in the file, in the order in which it is looked for."""

NOTES: Final = ("config", "args", "arch")
"""Keys under which a file describes itself."""

WRAPPERS: Final = ("_orig_mod.", "module.")
"""What ``torch.compile`` and data parallelism put before a name."""

TRAINING_ONLY: Final = ("projector.", "segmented_matryoshka_projector.")
"""Tensors that inference does not need, by prefix."""

GATES: Final = ("r", "z", "h")
"""Reset, update and new, in the order in which our GRU stacks them."""

MAX_LISTED: Final = 12

WEIGHT_TYPES: Final = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

UNREADABLE: Final = (
    RuntimeError, ValueError, EOFError, OSError, LookupError, TypeError, AttributeError,
    AssertionError, struct.error,
)  # fmt: skip
"""What torch's reader was seen to raise, in some five hundred files with a few bytes changed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """A released checkpoint as a model of ours."""

    encoder: Encoder
    """Its network, in evaluation mode, float32."""

    config: ModelConfig
    """Family, shape, sampling and output rule."""

    notes: Mapping[str, Any]
    """What the file says of itself, plain values."""


def read_checkpoint(
    path: Path, family: Family, stated: Mapping[str, int] | None = None
) -> Checkpoint:
    """Read a released checkpoint.

    Args:
        path: A ``.pt`` file.
        family: The release that it is.
        stated: Shapes that neither the tensors nor the file tell, as ``num_heads``; one that
            contradicts them is refused.

    Raises:
        ArtifactError: The file is unreadable, holds more than tensors and plain values, is of
            another family, or a tensor is missing, extra, misshaped or not finite.
    """
    content = _load(path)
    tensors = _state_of(content, path, family)
    notes = next((dict(content[key]) for key in NOTES if isinstance(content.get(key), dict)), {})
    facts = FileFacts(path=path, tensors=tensors, notes=notes, stated=dict(stated or {}))
    _require_family(facts, family)
    config = infer_config(facts, family)
    with torch.device("meta"):
        encoder = Encoder(config.encoder)
    encoder.load_state_dict(_renamed(encoder, facts, config), strict=True, assign=True)
    return Checkpoint(encoder=encoder.eval().requires_grad_(False), config=config, notes=notes)


def doubts_of(found: Checkpoint, stated: Mapping[str, int]) -> list[str]:
    """Return what the file of a checkpoint does not prove, for a person to check.

    Args:
        found: From ``read_checkpoint``.
        stated: The shapes that it was read with.
    """
    doubts = []
    family, notes = found.config.family, found.notes
    source = notes.get("data_source")
    if source is not None and not family.endswith(str(source)):
        doubts.append(
            f"WARNING: the file's own config names data source {source!r}, but its norms are now "
            f"those of {family}. Were the weights trained on that source?"
        )
    for sensor in () if found.config.encoder.qk_norm else ("s2", "s1"):
        own = f"{sensor}_num_heads"
        told = notes.get(own) is not None or notes.get("nhead") is not None
        if not told and own not in stated and "num_heads" not in stated:
            doubts.append(
                f"WARNING: neither tensors nor file tell the number of {sensor.upper()} heads; it "
                f"is taken from the full-size release. State --shape {own}=N if this checkpoint "
                "has another: nothing else would show it"
            )
    return doubts


def source_names(name: str, config: EncoderConfig, family: Family) -> tuple[str, ...]:
    """Return the released names behind one of our parameters; several are stacked in order."""
    sensor, _, rest = name.partition(".")
    if sensor == "reducer":
        # Ours has no index where the reducer is one linear layer.
        return (f"dim_reducer.{rest if config.reducer is Reducer.MLP else f'0.{rest}'}",)
    if name == "fusion.modality":
        return ("fusion_modality_embed",)
    if sensor == "fusion":
        return _layer_names(f"fusion_transformer.{rest}", config)
    prefix = f"{sensor}_backbone."
    if rest.startswith("embedding."):
        return (prefix + rest,)
    if rest.startswith("layers."):
        # The QK-norm students number their layers without the word.
        bare = family is Family.V2_STUDENT and config.qk_norm
        place = rest.removeprefix("layers.") if bare else rest
        return _layer_names(f"{prefix}transformer_encoder.{place}", config)
    return tuple(f"{prefix}attn_pool.{part}" for part in _pool_names(rest.removeprefix("pool.")))


def _layer_names(name: str, config: EncoderConfig) -> tuple[str, ...]:
    layer, part = re.split(r"(?<=\d)\.", name, maxsplit=1)
    if part.startswith("in_proj_") and config.qk_norm:
        kind = part.removeprefix("in_proj_")
        return tuple(f"{layer}.{letter}_proj.{kind}" for letter in "qkv")
    if part.startswith(("in_proj_", "out_proj.")) and not config.qk_norm:
        return (f"{layer}.self_attn.{part}",)
    return (name,)


def _pool_names(name: str) -> tuple[str, ...]:
    cell = "temporal_context.gru_cell."
    return {
        "input.weight": tuple(f"{cell}W_i{gate}.weight" for gate in GATES),
        "input.bias": tuple(f"{cell}b_{gate}" for gate in GATES),
        "recurrent_gates.weight": (f"{cell}W_hr.weight", f"{cell}W_hz.weight"),
        "recurrent_new.weight": (f"{cell}W_hh.weight",),
        "norm.weight": ("layer_norm.weight",),
        "norm.bias": ("layer_norm.bias",),
    }.get(name, (name.replace("gru.", "temporal_context."),))


def _load(path: Path) -> dict[str, Any]:
    _require_sound_archive(path)
    try:
        with warnings.catch_warnings():
            # It warns of pickles that it then refuses, or reads.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        # Torch's own message recommends to unpickle the file anyway.
        raise ArtifactError(
            f"{path} is refused: it holds more than tensors and plain values, as a pickled module "
            "does, or it is cut off. Ask for a state dict, saved with torch.save"
        ) from error
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} is not there; name a checkpoint file") from error
    except UNREADABLE as error:
        first_line = str(error).partition("\n")[0]
        # A number or nothing at all, in some of them: the type says more.
        reason = f"{type(error).__name__} {first_line}".rstrip()
        raise ArtifactError(
            f"cannot read {path}: {reason}; is the file cut off, or no checkpoint? Compare its "
            "size with the source and fetch it again"
        ) from error
    if not isinstance(content, dict):
        raise ArtifactError(
            f"{path} holds a {type(content).__name__}, expected a dict with a state dict in it"
        )
    return content


def _require_sound_archive(path: Path) -> None:
    """Refuse an archive of which a part is not what it was written as; torch does not look."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (OSError, zipfile.BadZipFile, RuntimeError, ValueError, EOFError, struct.error):
        return  # torch says what is wrong with it
    if damaged is not None:
        raise ArtifactError(
            f"{path} is damaged: the checksum of its part {damaged} is wrong. Fetch it again"
        )


def _state_of(content: Mapping[str, Any], path: Path, family: Family) -> dict[str, Tensor]:
    """Return the state dict without wrappers in its names."""
    found = next((key for key in CONTAINERS[family] if key in content), None)
    if found is None or not isinstance(content[found], dict):
        listed = ", ".join(sorted(str(key) for key in content)[:MAX_LISTED])
        raise ArtifactError(
            f"{path} is no {family} checkpoint: expected its weights under "
            f"{' or '.join(CONTAINERS[family])}, found {listed}. Is it of another family?"
        )
    tensors: dict[str, Tensor] = {}
    for name, value in content[found].items():
        plain = str(name)
        for wrapper in WRAPPERS:
            plain = re.sub(rf"(^|\.){re.escape(wrapper)}", r"\1", plain)
        if plain.startswith(TRAINING_ONLY):
            continue
        if not isinstance(value, Tensor) or plain in tensors:
            raise ArtifactError(f"{path}: {name} is no tensor, or there twice")
        tensors[plain] = value
    return tensors


def _require_family(facts: FileFacts, family: Family) -> None:
    """Refuse weights whose names say that they are of another release."""
    names = facts.tensors.keys()
    if any(name.startswith("fusion_transformer.") for name in names):
        found = {Family.V2_TEACHER}
    elif any(".temporal_context.gru_cell." in name for name in names):
        mlp = "dim_reducer.4.weight" in names
        found = {Family.V1_1_MPC, Family.V1_1_AWS} if mlp else {Family.V1_0_QAT}
    elif any(".temporal_context.weight_ih_l0" in name for name in names):
        found = {Family.V1_0_EARLY}
    elif "dim_reducer.4.weight" in names:
        found = {Family.V2_STUDENT}
    else:
        return
    if family not in found:
        raise ArtifactError(
            f"{facts.path} is no {family} checkpoint: its tensors are those of "
            f"{' or '.join(sorted(found))}. Import it under that family"
        )


def _renamed(encoder: Encoder, facts: FileFacts, config: ModelConfig) -> dict[str, Tensor]:
    """Return the weights under our names; every tensor of the file is used, once."""
    weights: dict[str, Tensor] = {}
    faults: list[str] = []
    used: set[str] = set()
    for name, target in encoder.state_dict().items():
        sources = source_names(name, config.encoder, Family(config.family))
        used.update(sources)
        shape = (target.shape[0] // len(sources), *target.shape[1:])
        found = [f"missing {source}" for source in sources if source not in facts.tensors]
        found += _misfits(sources, facts.tensors, shape)
        if not found:
            parts = [facts.tensors[source] for source in sources]
            weights[name] = (parts[0] if len(parts) == 1 else torch.cat(parts)).float()
        faults += found
    faults += [f"extra {name}" for name in sorted(facts.tensors.keys() - used)]
    if faults:
        raise ArtifactError(
            f"{facts.path} does not fit {config.family}: {_listed(faults)}. Is it of another "
            "family, or does --shape contradict it?"
        )
    return weights


def _misfits(
    sources: Iterable[str], tensors: Mapping[str, Tensor], shape: tuple[int, ...]
) -> list[str]:
    faults = []
    for name in sources:
        value = tensors.get(name)
        if value is None:
            continue
        if tuple(value.shape) != shape:
            faults.append(f"{name} has shape {tuple(value.shape)}, expected {shape}")
        elif value.dtype not in WEIGHT_TYPES or value.layout != torch.strided or value.is_meta:
            kind = f"{value.layout} {value.dtype} on {value.device}"
            faults.append(f"{name} is {kind}, expected dense floating point of 16 bits or more")
        elif not torch.isfinite(value.float()).all():
            faults.append(f"{name} holds NaN or infinity")
    return faults


def _listed(faults: list[str]) -> str:
    more = len(faults) - MAX_LISTED
    return "; ".join(faults[:MAX_LISTED]) + (f"; and {more} more" if more > 0 else "")
