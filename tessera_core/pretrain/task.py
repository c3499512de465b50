"""What training asks of an encoder: to agree with itself, or with a teacher.

A task owns the part of the network that training throws away, says which views it wants encoded
and turns the answers into a loss.

Shapes: b d-pixels of this rank, B of all ranks, E embedding width, P projection width, R teacher's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tessera_core.domain.dpixel import DPixels
from tessera_core.model.config import own_config
from tessera_core.model.embed import ModelArtifact, embed_pixels
from tessera_core.model.encoder import Encoder
from tessera_core.model.objectives.barlow import BarlowTwins
from tessera_core.model.objectives.distillation import MatryoshkaHeads, distillation_loss
from tessera_core.model.objectives.interface import Loss, Mixed, Objective, Projections
from tessera_core.model.objectives.sigreg import SIGReg
from tessera_core.model.objectives.vicreg import VICReg
from tessera_core.model.projector import build_projector
from tessera_core.model.quantisation import fake_quantise
from tessera_core.model.shape import EncoderConfig
from tessera_core.pretrain.batches import Batch, Tokens
from tessera_core.pretrain.collective import gather_batch, largest_of_all
from tessera_core.pretrain.config import PretrainConfig


class Network(nn.Module):
    """Encoder and head, as one forward pass: that is what DDP and FSDP2 wrap."""

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        *,
        behind_int8: bool = False,
        micro_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.behind_int8 = behind_int8
        self.micro_batch_size = micro_batch_size

    def forward(self, views: Sequence[Tokens]) -> list[Any]:
        """Return the head's answer to each view of the same b d-pixels."""
        s2, s1 = (torch.cat(sensor) for sensor in zip(*views, strict=True))
        embeddings = self._encode(s2, s1).chunk(len(views))
        # Batch norm must see each view alone: one pass of the head per view.
        return [self.head(self._stored(embedding_bE)) for embedding_bE in embeddings]

    def _encode(self, s2: Tensor, s1: Tensor) -> Tensor:
        """Return embeddings; in micro-batches, each of which is computed again in the backward.

        Only the head and the loss look across d-pixels, and both get all embeddings at once: the
        gradient is that of the whole batch, whatever the size of a micro-batch.
        """
        size = self.micro_batch_size
        if size is None:
            embedding_bE: Tensor = self.encoder(s2, s1)
            return embedding_bE
        parts = [
            checkpoint(self.encoder, *part, use_reentrant=False)
            for part in zip(s2.split(size), s1.split(size), strict=True)
        ]
        return torch.cat(parts)

    def _stored(self, embedding_bE: Tensor) -> Tensor:
        """Return embeddings as int8 codes would give them back, where asked (method.md 5)."""
        if not self.behind_int8:
            return embedding_bE
        return fake_quantise(embedding_bE, largest_of_all(embedding_bE.abs().max()))


class Task(Protocol):
    """How a batch becomes a loss."""

    @property
    def network(self) -> Network:
        """What is trained."""

    @property
    def num_views(self) -> int:
        """How many views of a d-pixel the network sees."""

    def views(self, batch: Batch) -> list[Tokens]:
        """Return the views that the network is to see."""

    def loss(self, answers: list[Any], batch: Batch, generator: torch.Generator) -> Loss:
        """Return the loss of the whole batch, the same on every rank."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SelfSupervised:
    """Two views of one d-pixel should project alike."""

    network: Network
    """Encoder and projector."""

    objective: Objective
    """What alike means."""

    @property
    def num_views(self) -> int:
        """Two, or three with a mix."""
        return 3 if self.objective.uses_mix else 2

    def views(self, batch: Batch) -> list[Tokens]:
        """Return two views, and a mix for an objective that uses it."""
        views = [batch.first, batch.second]
        return [*views, batch.mixed] if self.objective.uses_mix else views

    def loss(self, answers: list[Any], batch: Batch, generator: torch.Generator) -> Loss:
        """Return the loss of all ranks' projections."""
        first_BP, second_BP, *rest = (gather_batch(own_bP) for own_bP in answers)
        mixed = None
        if self.objective.uses_mix:
            mixed = Mixed(projection_BP=rest[0], share=batch.mix_share, partner_B=batch.partner_B)
        projections = Projections(first_BP=first_BP, second_BP=second_BP, mixed=mixed)
        return self.objective(projections, generator=generator)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Distillation:
    """A sparse view should tell what a frozen teacher saw in all observations."""

    network: Network
    """Encoder, and one linear map per prefix."""

    dims: tuple[int, ...]
    """The prefixes."""

    teacher: ModelArtifact
    """Frozen."""

    pixels: DPixels
    """The train split, in which batches name their rows."""

    @property
    def num_views(self) -> int:
        """One."""
        return 1

    def views(self, batch: Batch) -> list[Tokens]:
        """Return the first view alone."""
        return [batch.first]

    def loss(self, answers: list[Any], batch: Batch, generator: torch.Generator) -> Loss:
        """Return the loss of a batch; nothing is left to chance but the view."""
        known = self.pixels.take(batch.rows)
        target = embed_pixels(self.teacher, known, batch_size=len(batch.rows))
        rebuilt = [gather_batch(own_bR) for own_bR in answers[0]]
        target_BR = gather_batch(torch.from_numpy(target).to(rebuilt[0].device))
        return distillation_loss(rebuilt, target_BR, self.dims)


def build_task(
    config: PretrainConfig, shape: EncoderConfig, pixels: DPixels, teacher: ModelArtifact | None
) -> Task:
    """Return what the settings ask for, freshly initialised; a teacher makes it distillation."""
    encoder = Encoder(shape)
    size = config.micro_batch_size
    if teacher is not None:
        dims = own_config(shape, is_matryoshka=True).output.dims
        heads = MatryoshkaHeads(dims, teacher.config.output.dim)
        network = Network(encoder, heads, micro_batch_size=size)
        return Distillation(network=network, dims=dims, teacher=teacher, pixels=pixels)
    projector = build_projector(config.embedding_dim, config.projector_dim, config.projector_layers)
    network = Network(encoder, projector, behind_int8=config.fake_quantise, micro_batch_size=size)
    return SelfSupervised(network=network, objective=build_objective(config))


def build_objective(config: PretrainConfig) -> Objective:
    """Return the loss to train with; only Barlow Twins has weights of its own in the settings."""
    if config.objective == "vicreg":
        return VICReg()
    if config.objective == "sigreg":
        return SIGReg()
    return BarlowTwins(redundancy_weight=config.redundancy_weight, mix_weight=config.mix_weight)
