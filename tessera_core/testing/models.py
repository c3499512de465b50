"""The smallest model that is still the real one."""

from dataclasses import replace
from typing import Any, Final

import torch

from tessera_core.domain.norms import NormStats
from tessera_core.model.config import own_config
from tessera_core.model.embed import ModelArtifact
from tessera_core.model.encoder import Encoder
from tessera_core.model.releases import student_shape
from tessera_core.model.shape import EncoderConfig
from tessera_core.pretrain.config import PretrainConfig
from tessera_core.testing.pixels import NORMS

TINY_SHAPE: Final = student_shape(
    model_dim=16,
    num_layers=2,
    num_heads=2,
    feedforward_dim=24,
    embedding_dim=12,
    dropout=0.1,
)
"""No two widths are equal, so none can stand in for another."""

TINY_CONFIG: Final = own_config(TINY_SHAPE)
"""The same as a model trained here."""

TINY_SETTINGS: Final = PretrainConfig(
    seed=3,
    num_steps=6,
    batch_size=16,
    micro_batch_size=None,
    reshuffle=True,
    views="independent",
    view_lengths=(5,),
    modality_dropout=0.0,
    model_dim=TINY_SHAPE.model_dim,
    num_layers=TINY_SHAPE.s2.num_layers,
    num_heads=TINY_SHAPE.s2.num_heads,
    feedforward_dim=TINY_SHAPE.s2.feedforward_dim,
    embedding_dim=TINY_SHAPE.embedding_dim,
    dropout=TINY_SHAPE.dropout,
    projector_dim=20,
    projector_layers=3,
    objective="barlow_twins",
    fake_quantise=False,
    teacher=None,
    imported=None,
    redundancy_weight=0.005,
    mix_weight=1.0,
    peak_lr=0.01,
    matrix_lr_scale=0.2,
    vector_lr_scale=0.0048,
    warmup_share=0.0,
    plateau_share=0.0,
    weight_decay=1e-6,
    max_grad_norm=2.0,
    precision="float32",
    compile=False,
    num_ranks=1,
    shard=False,
    num_threads=1,
    num_loaders=0,
    log_every=1,
    probe_every=0,
    save_every=1,
    continue_from=None,
    accept_changes=(),
)
"""Settings of a run that takes a fraction of a second; its shape is ``TINY_SHAPE``."""


def tiny_settings(**changes: Any) -> PretrainConfig:
    """Return ``TINY_SETTINGS`` with some values changed."""
    return replace(TINY_SETTINGS, **changes)


def tiny_encoder(seed: int, shape: EncoderConfig = TINY_SHAPE) -> Encoder:
    """Return an untrained encoder in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Encoder(shape).eval()


def tiny_model(
    seed: int, shape: EncoderConfig = TINY_SHAPE, norms: NormStats = NORMS
) -> ModelArtifact:
    """Return an untrained model that was never written."""
    return ModelArtifact(
        encoder=tiny_encoder(seed, shape), config=own_config(shape), norms=norms, digest=""
    )
