"""The training loop, on one page."""

import copy
import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from tessera_core.domain.norms import NormStats
from tessera_core.feed.reader import Feed
from tessera_core.model.embed import ModelArtifact
from tessera_core.model.encoder import Encoder
from tessera_core.model.shape import EncoderConfig
from tessera_core.ports import Tracker
from tessera_core.pretrain.batches import draw_batch
from tessera_core.pretrain.checkpoint import (
    WHOLE,
    Best,
    CheckpointPolicy,
    History,
    load_checkpoint,
    save_checkpoint,
)
from tessera_core.pretrain.config import PretrainConfig
from tessera_core.pretrain.distributed import distribute
from tessera_core.pretrain.flops import measure_peak, training_flops
from tessera_core.pretrain.health import require_finite
from tessera_core.pretrain.loader import load
from tessera_core.pretrain.measure import measure
from tessera_core.pretrain.meter import Meter
from tessera_core.pretrain.ranks import Ranks, alone
from tessera_core.pretrain.schedule import learning_rate, set_learning_rate
from tessera_core.pretrain.selection import Probe, Selection
from tessera_core.pretrain.task import Task, build_task


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """What the loop returns, on rank 0; elsewhere ``encoder`` may be a part."""

    encoder: Encoder
    """The encoder to hand out: the probe's choice, else the last."""

    history: History
    """One record per logged or saved step: loss parts, RankMe, probe score."""

    selected: Best | None
    """What the probe chose, or None without a probe."""


def train(
    config: PretrainConfig,
    shape: EncoderConfig,
    feed: Feed,
    norms: NormStats,
    *,
    checkpoints: CheckpointPolicy,
    tracker: Tracker,
    probe: Probe | None,
    teacher: ModelArtifact | None = None,
    ranks: Ranks | None = None,
) -> Trained:
    """Train an encoder, going on from the newest checkpoint where there is one.

    Args:
        config: Settings.
        shape: The encoder.
        feed: Train split.
        norms: Its normalisation.
        checkpoints: Where they are, and which may be gone on from.
        tracker: Where numbers go while training.
        probe: Scores an encoder on selection labels; the best encoder is handed out.
        teacher: A frozen model to distil from, or None for self-supervision.
        ranks: This process among those that train together; None for one alone on the CPU.

    Raises:
        TrainingError: The loss is not finite, the embeddings collapse, or a loader stalls.
        ArtifactError: A checkpoint cannot be gone on from.
    """
    ranks = ranks or alone()
    torch.manual_seed(config.seed)
    task = build_task(config, shape, feed.pixels, teacher)
    encoder, scratch = task.network.encoder, copy.deepcopy(task.network.encoder).to(ranks.device)
    network = distribute(task.network, config, ranks)
    optimizer = build_optimizer(network, config)
    progress = load_checkpoint(checkpoints, network, optimizer)
    steps = range(progress.next_step, config.num_steps)
    loader = load(feed, steps, config, ranks)
    meter = build_meter(config, shape, task, ranks)
    bar = tqdm(loader, "pretrain", config.num_steps, initial=steps.start, disable=meter.is_quiet)

    with closing(loader), Selection(probe=probe, scratch=scratch) as selection:
        for step, loaded in zip(steps, meter.watch(bar), strict=True):
            batch = draw_batch(loaded.raw, loaded.plan, norms, config, ranks)
            rate = learning_rate(step, config)
            set_learning_rate(optimizer, rate)
            chance = seed_step(config.seed, step, ranks)
            network.train()
            with half_precision(config, ranks):
                answers = network(task.views(batch))
            loss = task.loss(answers, batch, chance)
            loss.total.backward()
            grad_norm = whole(clip_grad_norm_(network.parameters(), config.max_grad_norm))
            require_finite(step, loss=loss.total.item(), gradient=grad_norm.item())
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            progress.next_step = step + 1

            probe_due = due(step, config.probe_every, config.num_steps)
            save_due = due(step, config.save_every, config.num_steps)
            # What is saved has been measured: no run goes on from a broken update.
            if probe_due or save_due or due(step, config.log_every, config.num_steps):
                record = measure(step, loss, rate, encoder, batch, loaded, feed)
                progress.history.append(record)
                tracker.log_metrics(step, numbers(record) | meter.rates())
                bar.set_postfix(loss=f"{record['loss/total']:.1f}", refresh=False)
            if probe_due:
                selection.submit(step, weights_of(encoder))
            selection.settle(progress, tracker, wait=save_due)
            if save_due:
                save_checkpoint(checkpoints, network, optimizer, progress, ranks)
            if quote := meter.quote(step, datetime.now()):
                bar.write(quote, file=sys.stderr)
    if steps and ranks.is_first:
        bar.write(meter.outturn(), file=sys.stderr)
    # All ranks ask, because all hold a part; which one is chosen only the first may know.
    last = weights_of(encoder)
    if ranks.is_first:
        scratch.load_state_dict(last if progress.best is None else progress.best.encoder)
    return Trained(encoder=scratch.eval(), history=progress.history, selected=progress.best)


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


def build_meter(config: PretrainConfig, shape: EncoderConfig, task: Task, ranks: Ranks) -> Meter:
    """Return the clock of a run; measures for a moment what the device can reach."""
    num_views = task.num_views
    dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    return Meter(
        config=config,
        ranks=ranks,
        num_views=num_views,
        flops_per_pixel=training_flops(config, shape, num_views),
        peak_flops=measure_peak(ranks.device, dtype),
    )


def seed_step(seed: int, step: int, ranks: Ranks) -> torch.Generator:
    """Seed dropout, for each rank by itself, and return the objective's chance, the same on all.

    Seeding by step makes resuming exact: no state of any generator need be kept.
    """
    of_step = seed + 1_000_003 * (step + 1)
    torch.manual_seed(of_step + 999_983 * ranks.rank)
    return torch.Generator().manual_seed(of_step)


def half_precision(config: PretrainConfig, ranks: Ranks) -> torch.autocast:
    """Return autocast to bfloat16, switched off where the settings say float32."""
    enabled = config.precision == "bfloat16"
    return torch.autocast(ranks.device.type, torch.bfloat16, enabled=enabled)


def whole(value: Tensor) -> Tensor:
    """Return a value of which FSDP2 may have left each rank a part."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def weights_of(encoder: Encoder) -> dict[str, Tensor]:
    """Return a copy of the weights on the CPU: on rank 0 whole, whatever the ranks share."""
    state: dict[str, Any] = get_model_state_dict(encoder, options=WHOLE)
    return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}


def numbers(record: dict[str, Any]) -> dict[str, float]:
    """Return what can be drawn over the steps."""
    return {name: value for name, value in record.items() if name != "step"}


def due(step: int, every: int, num_steps: int) -> bool:
    """Return whether something happens at this step: every so often, and at the last one."""
    return every > 0 and ((step + 1) % every == 0 or step + 1 == num_steps)
