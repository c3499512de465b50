"""What an objective takes and gives.

Shapes: B d-pixels, P projection width.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Protocol

import torch
from torch import Tensor

from tessera_core.errors import TrainingError

HALF: Final = frozenset({torch.float16, torch.bfloat16})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mixed:
    """Projections of ``share * first view + (1 - share) * second view of the partner``."""

    projection_BP: Tensor
    """Any floating type."""

    share: float
    """Alpha, 0..1; one for the whole batch."""

    partner_B: Tensor
    """Pi, int64: which d-pixel's second view was mixed in; a permutation of the batch."""

    def __post_init__(self) -> None:
        """Refuse a mix that no batch can have been mixed by."""
        if not 0 <= self.share <= 1:
            raise TrainingError(f"the share of a mix is {self.share}, expected 0..1")
        if self.partner_B.shape != self.projection_BP.shape[:1]:
            raise TrainingError(
                f"{tuple(self.partner_B.shape)} partners for mixed projections of shape "
                f"{tuple(self.projection_BP.shape)}; expected one per row"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Projections:
    """The projector's outputs for one batch; row b is the same d-pixel in all of them."""

    first_BP: Tensor
    """First views, any floating type."""

    second_BP: Tensor
    """Second views."""

    mixed: Mixed | None = None
    """The mix, for an objective that uses one."""

    def __post_init__(self) -> None:
        """Refuse projections that do not belong together."""
        shapes = {tuple(self.first_BP.shape), tuple(self.second_BP.shape)}
        if self.mixed is not None:
            shapes.add(tuple(self.mixed.projection_BP.shape))
        if len(shapes) > 1 or self.first_BP.ndim != 2:
            raise TrainingError(f"projections have shapes {sorted(shapes)}, expected one (B, P)")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loss:
    """The loss and what it is made of, all scalars."""

    total: Tensor
    """What is minimised."""

    parts: Mapping[str, Tensor]
    """By the name under which they are logged; how they add up is the objective's matter."""


class Objective(Protocol):
    """A loss of projections. It keeps no state: chance comes from the generator alone."""

    @property
    def uses_mix(self) -> bool:
        """Whether it needs ``Projections.mixed``, hence a third forward pass."""

    def __call__(self, projections: Projections, *, generator: torch.Generator) -> Loss:
        """Return the loss of a batch, computed in float32 or wider."""


@contextmanager
def full_precision(projections: Projections) -> Iterator[Projections]:
    """Yield the projections in float32 or wider, and switch autocast off meanwhile.

    Autocast would turn every product into bfloat16, whose 8 bits do not hold a sum over a
    batch; a projection that comes in half precision is widened before anything is summed.
    """
    mixed = projections.mixed
    if mixed is not None:
        mixed = replace(mixed, projection_BP=_widened(mixed.projection_BP))
    with torch.autocast(projections.first_BP.device.type, enabled=False):
        yield Projections(
            first_BP=_widened(projections.first_BP),
            second_BP=_widened(projections.second_BP),
            mixed=mixed,
        )


def _widened(values: Tensor) -> Tensor:
    return values.float() if values.dtype in HALF else values
