"""What training asks of an encoder: to agree with itself, or with a teacher.

A task owns the part of the network that training throws away and turns a batch into a loss.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

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
from tessera_core.pretrain.batches import Batch
from tessera_core.pretrain.config import PretrainConfig


class Task(Protocol):
    """How a batch becomes a loss."""

    @property
    def head(self) -> nn.Module:
        """Trained with the encoder, then thrown away."""

    def loss(self, encoder: Encoder, batch: Batch, generator: torch.Generator) -> Loss:
        """Return the loss of a batch."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SelfSupervised:
    """Two views of one d-pixel should project alike."""

    head: nn.Sequential
    """The projector."""

    objective: Objective
    """What alike means."""

    fake_quantise: bool
    """Whether the projector sees embeddings as int8 would give them back (method.md 5)."""

    def loss(self, encoder: Encoder, batch: Batch, generator: torch.Generator) -> Loss:
        """Return the loss of a batch; a mix is made only for an objective that uses it."""

        def project(tokens: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            # Batch norm must see each view alone: one pass per view.
            embedding_BE = encoder(*tokens)
            if self.fake_quantise:
                embedding_BE = fake_quantise(embedding_BE)
            projection_BP: torch.Tensor = self.head(embedding_BE)
            return projection_BP

        first_BP, second_BP = project(batch.first), project(batch.second)
        mixed = None
        if self.objective.uses_mix:
            mixed = Mixed(
                projection_BP=project(batch.mixed()),
                share=batch.mix_share,
                partner_B=batch.partner_B,
            )
        projections = Projections(first_BP=first_BP, second_BP=second_BP, mixed=mixed)
        return self.objective(projections, generator=generator)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Distillation:
    """A sparse view should tell what a frozen teacher saw in all observations."""

    head: MatryoshkaHeads
    """One linear map per prefix."""

    teacher: ModelArtifact
    """Frozen."""

    pixels: DPixels
    """The train split, in which batches name their rows."""

    def loss(self, encoder: Encoder, batch: Batch, generator: torch.Generator) -> Loss:
        """Return the loss of a batch; nothing is left to chance but the view."""
        known = self.pixels.take(batch.rows)
        target = embed_pixels(self.teacher, known, batch_size=len(batch.rows))
        return distillation_loss(encoder(*batch.first), torch.from_numpy(target), self.head)


def build_task(
    config: PretrainConfig, shape: EncoderConfig, pixels: DPixels, teacher: ModelArtifact | None
) -> Task:
    """Return what the settings ask for; a teacher makes it distillation."""
    if teacher is not None:
        dims = own_config(shape, is_matryoshka=True).output.dims
        heads = MatryoshkaHeads(dims, teacher.config.output.dim)
        return Distillation(head=heads, teacher=teacher, pixels=pixels)
    projector = build_projector(config.embedding_dim, config.projector_dim, config.projector_layers)
    return SelfSupervised(
        head=projector, objective=build_objective(config), fake_quantise=config.fake_quantise
    )


def build_objective(config: PretrainConfig) -> Objective:
    """Return the loss to train with; only Barlow Twins has weights of its own in the settings."""
    if config.objective == "vicreg":
        return VICReg()
    if config.objective == "sigreg":
        return SIGReg()
    return BarlowTwins(redundancy_weight=config.redundancy_weight, mix_weight=config.mix_weight)
