"""The training loop, on one page."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_
from tqdm import trange

from tessera_core.domain.dpixel import DPixels
from tessera_core.domain.norms import NormStats
from tessera_core.model.embed import ModelArtifact
from tessera_core.model.encoder import Encoder
from tessera_core.model.objectives.interface import Loss
from tessera_core.model.shape import EncoderConfig
from tessera_core.model.spectrum import rank_me
from tessera_core.ports import Tracker
from tessera_core.pretrain.batches import Batch, draw_batch
from tessera_core.pretrain.checkpoint import load_checkpoint, save_checkpoint
from tessera_core.pretrain.config import PretrainConfig
from tessera_core.pretrain.health import require_finite, require_rank
from tessera_core.pretrain.schedule import learning_rate, set_learning_rate
from tessera_core.pretrain.task import build_task

History = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """What the loop returns."""

    encoder: Encoder
    """Trained weights."""

    history: History
    """One record per logged step: loss parts, RankMe, probe score."""


def train(
    config: PretrainConfig,
    shape: EncoderConfig,
    pixels: DPixels,
    norms: NormStats,
    *,
    checkpoints: Path,
    tracker: Tracker,
    probe: Callable[[Encoder], float] | None,
    teacher: ModelArtifact | None = None,
) -> Trained:
    """Train an encoder, going on from the newest checkpoint where there is one.

    Args:
        config: Settings.
        shape: The encoder.
        pixels: Train split.
        norms: Its normalisation.
        checkpoints: Folder that belongs to this run's identity alone.
        tracker: Where numbers go while training.
        probe: Scores the encoder on labels, to watch; nothing is selected by it.
        teacher: A frozen model to distil from, or None for self-supervision.

    Raises:
        TrainingError: The loss is not finite or the embeddings collapse.
    """
    torch.manual_seed(config.seed)
    encoder = Encoder(shape)
    task = build_task(config, shape, pixels, teacher)
    model = nn.ModuleDict({"encoder": encoder, "head": task.head})
    optimizer = build_optimizer(model, config)
    start, history = load_checkpoint(checkpoints, model, optimizer)
    began = time.perf_counter()

    for step in (bar := trange(start, config.num_steps, desc="pretrain", disable=None)):
        batch = draw_batch(
            pixels, norms, step,
            batch_size=config.batch_size, view_length=config.view_length, seed=config.seed,
        )  # fmt: skip
        set_learning_rate(optimizer, learning_rate(step, config))
        # All other randomness, dropout's and the objective's: seeding by step makes resuming exact.
        torch.manual_seed(config.seed + 1_000_003 * (step + 1))
        model.train()
        loss = task.loss(encoder, batch, torch.default_generator)
        loss.total.backward()
        grad_norm = clip_grad_norm_(model.parameters(), config.max_grad_norm)
        require_finite(step, loss=loss.total.item(), gradient=grad_norm.item())
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

        if due(step, config.log_every, config.num_steps):
            record = measure(step, loss, encoder, batch, learning_rate(step, config))
            require_rank(step, record["rank/embedding"])
            if probe is not None and due(step, config.probe_every, config.num_steps):
                record["probe/accuracy"] = probe(encoder)
            history.append(record)
            rate = (step + 1 - start) * config.batch_size / (time.perf_counter() - began)
            numbers = {name: value for name, value in record.items() if name != "step"}
            tracker.log_metrics(step, {**numbers, "speed/samples_per_second": rate})
            bar.set_postfix(loss=f"{record['loss/total']:.1f}", refresh=False)
        if due(step, config.save_every, config.num_steps):
            save_checkpoint(checkpoints, step + 1, model, optimizer, history)
    return Trained(encoder=encoder.eval(), history=history)


def measure(step: int, loss: Loss, encoder: Encoder, batch: Batch, rate: float) -> dict[str, Any]:
    """Return one record of the history."""
    return {
        "step": step,
        "loss/total": loss.total.item(),
        **{f"loss/{name}": part.item() for name, part in loss.parts.items()},
        "rank/embedding": embedding_rank(encoder, batch),
        "views/overlap": batch.overlap,
        "lr": rate,
    }


def embedding_rank(encoder: Encoder, batch: Batch) -> float:
    """Return RankMe of the first view's embeddings, as inference would give them.

    Dropout noise spans every direction: with it, a collapsed encoder still scores 0.8.
    """
    with torch.inference_mode():
        return rank_me(encoder.eval()(*batch.first))


def build_optimizer(model: nn.Module, config: PretrainConfig) -> torch.optim.AdamW:
    """Return AdamW with matrices and vectors in two groups (method.md 4.8)."""
    parameters = list(model.parameters())
    return torch.optim.AdamW(
        [
            {
                "params": [p for p in parameters if p.ndim > 1],
                "lr_scale": config.matrix_lr_scale,
            },
            {
                "params": [p for p in parameters if p.ndim <= 1],
                "lr_scale": config.vector_lr_scale,
            },
        ],
        lr=config.peak_lr,
        weight_decay=config.weight_decay,
        fused=True,
    )


def due(step: int, every: int, num_steps: int) -> bool:
    """Return whether something happens at this step: every so often, and at the last one."""
    return every > 0 and ((step + 1) % every == 0 or step + 1 == num_steps)
