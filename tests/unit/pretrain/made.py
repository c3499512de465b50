"""Batches as the loop draws them, from d-pixels that were never written."""

from tessera_core.domain.dpixel import DPixels
from tessera_core.pretrain.batches import Batch, draw_batch, rows_to_gather
from tessera_core.pretrain.config import PretrainConfig
from tessera_core.pretrain.loader import Loaded
from tessera_core.pretrain.ranks import Ranks, alone
from tessera_core.pretrain.raw_pixels import RawPixels
from tessera_core.pretrain.step_order import plan_step
from tessera_core.testing.pixels import NORMS, as_feed

ALONE = alone()


def loaded_at(step: int, pixels: DPixels, settings: PretrainConfig, ranks: Ranks = ALONE) -> Loaded:
    """Return the plan of a step and the observations that a rank needs for it."""
    plan = plan_step(step, len(pixels), settings)
    raw = RawPixels.from_padded(as_feed(pixels).gather(rows_to_gather(plan, ranks)))
    return Loaded(plan=plan, raw=raw)


def batch_at(step: int, pixels: DPixels, settings: PretrainConfig, ranks: Ranks = ALONE) -> Batch:
    """Return a rank's part of the batch that a step sees."""
    loaded = loaded_at(step, pixels, settings, ranks)
    return draw_batch(loaded.raw, loaded.plan, NORMS, settings, ranks)
