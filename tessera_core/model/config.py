"""What a model is besides its weights: family, shape, sampling rule and output rule."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from tessera_core.domain.embedding import Coding
from tessera_core.domain.sampling import V2_SAMPLING, Sampling
from tessera_core.errors import ArtifactError, RecordError, did_you_mean
from tessera_core.model.family import Family
from tessera_core.model.shape import EncoderConfig

OWN: Final = "own"
"""Family of a model trained here: any shape, norms of its own train split."""

MATRYOSHKA_DIMS: Final = (16, 32, 64, 128)
"""Prefixes that distillation makes usable on their own (method.md 6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What of the network's answer is an embedding, and how it becomes int8."""

    dims: tuple[int, ...]
    """Widths that stand on their own, ascending; others would cut a vector that is none
    without its tail."""

    dim: int
    """The width that is published unless another is asked for."""

    coding: Coding
    """Rule of the int8 codes."""

    def __post_init__(self) -> None:
        """Refuse widths that do not fit together."""
        rising = all(low < high for low, high in zip((0, *self.dims), self.dims, strict=False))
        if not self.dims or not rising or self.dim not in self.dims:
            raise ArtifactError(f"output width {self.dim} and usable widths {self.dims} do not fit")

    def require(self, dim: int | None) -> int:
        """Return a usable width, the published one for None; raises ArtifactError for another."""
        if dim is not None and dim not in self.dims:
            listed = ", ".join(str(usable) for usable in self.dims)
            raise ArtifactError(
                f"the first {dim} values are no embedding of this model, expected one of {listed}: "
                "only Matryoshka models order their values, others must not be cut"
            )
        return self.dim if dim is None else dim

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote; raises ArtifactError when it is something else."""
        try:
            return cls(
                dims=tuple(int(value) for value in stored["dims"]),
                dim=int(stored["dim"]),
                coding=Coding(stored["coding"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"output {stored!r} is no output rule: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Everything that decides a model's answer but its weights and norms."""

    family: str
    """A ``Family`` or ``own``."""

    encoder: EncoderConfig
    """The network's shape."""

    sampling: Sampling
    """Which observations it sees."""

    output: Output
    """What of its answer is an embedding."""

    def __post_init__(self) -> None:
        """Refuse parts that contradict each other."""
        known = (OWN, *Family)
        if self.family not in known:
            raise ArtifactError(
                f"model family {self.family!r} is unknown. {did_you_mean(self.family, known)}"
            )
        if self.output.dims[-1] > self.encoder.embedding_dim:
            raise ArtifactError(
                f"output widths {self.output.dims} exceed the {self.encoder.embedding_dim} values "
                "that the network gives"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "family": self.family,
            "encoder": self.encoder.to_dict(),
            "sampling": self.sampling.to_dict(),
            "output": self.output.to_dict(),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote; raises ArtifactError when a part is missing or senseless."""
        if missing := sorted({"family", "encoder", "sampling", "output"} - stored.keys()):
            raise ArtifactError(f"the model's config lacks {', '.join(missing)}")
        try:
            return cls(
                family=str(stored["family"]),
                encoder=EncoderConfig.from_dict(stored["encoder"]),
                sampling=Sampling.from_dict(stored["sampling"]),
                output=Output.from_dict(stored["output"]),
            )
        except RecordError as error:
            raise ArtifactError(f"the model's config: {error}") from error


def whole(dim: int, coding: Coding) -> Output:
    """Return the output rule of a model whose vectors must not be cut."""
    return Output(dims=(dim,), dim=dim, coding=coding)


def own_config(shape: EncoderConfig, *, is_matryoshka: bool = False) -> ModelConfig:
    """Return the config of a model trained here: v2 sampling and coding.

    Args:
        shape: Its network.
        is_matryoshka: Whether training ordered the values, so that prefixes may be used.
    """
    dims = tuple(dim for dim in MATRYOSHKA_DIMS if dim < shape.embedding_dim)
    prefixes = (*dims, shape.embedding_dim) if is_matryoshka else (shape.embedding_dim,)
    return ModelConfig(
        family=OWN,
        encoder=shape,
        sampling=V2_SAMPLING,
        output=Output(dims=prefixes, dim=shape.embedding_dim, coding=Coding.V2),
    )
