"""One record of a run's history: what a logged step looked like.

Shapes: b d-pixels of this rank, B of all ranks, E embedding width.
"""

from typing import Any

import torch
from torch import Tensor

from tessera_core.domain.mixing import expected_distinct, num_distinct
from tessera_core.feed.reader import Feed
from tessera_core.model.encoder import Encoder
from tessera_core.model.objectives.interface import Loss
from tessera_core.model.spectrum import rank_me
from tessera_core.pretrain.batches import Batch, Tokens
from tessera_core.pretrain.collective import gather_batch
from tessera_core.pretrain.health import (
    dead_share,
    require_alive,
    require_mixed_tiles,
    require_two_views,
)
from tessera_core.pretrain.loader import Loaded


def measure(
    step: int, loss: Loss, rate: float, encoder: Encoder, batch: Batch, loaded: Loaded, feed: Feed
) -> dict[str, Any]:
    """Return a record of a step, the same on every rank; all ranks must call it.

    Raises:
        TrainingError: The embeddings have collapsed, both views are one, or the set is not
            shuffled.
    """
    embedding_BE = gather_batch(embed(encoder, batch.first))
    tile_B = feed.tile[loaded.plan.rows_B]
    expected = expected_distinct(feed.tile_counts, len(tile_B))
    able = int((loaded.raw.optical.valid.sum(1) > 1).sum())
    num_tiles = num_distinct(tile_B)
    record = {
        "step": step,
        "loss/total": loss.total.item(),
        **{f"loss/{name}": part.item() for name, part in loss.parts.items()},
        "rank/embedding": rank_me(embedding_BE),
        "rank/dead_share": dead_share(embedding_BE),
        "views/overlap": float(gather_batch(batch.overlap[None]).mean()),
        "batch/distinct_tiles": num_tiles,
        "lr": rate,
    }
    require_alive(step, record["rank/embedding"], record["rank/dead_share"])
    require_two_views(step, record["views/overlap"], able)
    require_mixed_tiles(step, num_tiles, expected)
    return record


@torch.no_grad()
def embed(encoder: Encoder, tokens: Tokens) -> Tensor:
    """Return embeddings (b, E) as inference would give them; the encoder is left in evaluation.

    Dropout noise spans every direction: with it, a collapsed encoder still scores 0.8 in RankMe.
    """
    embedding_bE: Tensor = encoder.eval()(*tokens)
    return embedding_bE
