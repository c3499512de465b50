"""Embedding a tile: the field's way (tests/bench/faithful) against ours, equal weights and tile.

Weights are random but seeded. The gate is the centred cosine: with the mean embedding of the
tile taken off both, because what all pixels share would hide an error. v1.0 draws its dates at
random, so its gate runs on a tile with just as many observations as are drawn.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tessera_core.domain.scl import scl_from_mask
from tessera_core.domain.tile import OpticalSeries, RadarSeries, take_pixels
from tessera_core.model.checkpoint import read_checkpoint
from tessera_core.model.embed import ModelArtifact, embed_pixels
from tessera_core.model.family import Family
from tessera_core.model.releases import RELEASES
from tests.bench.faithful import v1_0, v2
from tests.bench.faithful.models import Encoder, EncoderV10Early, StudentV2
from tests.bench.faithful.tiles import Tile, synthetic_tile
from tests.bench.protocol import compare

NUM_THREADS = 2
SEED = 1
SIDE_V2, SIDE_V1_0 = 32, 16
MIN_MEAN_COSINE, MIN_WORST_COSINE = 0.999, 0.99

Array = npt.NDArray[np.float32]
Encode = Callable[[nn.Module, Tile], Array]


# ----------------------------------------------------------------------------- our engine


def candidate(model: Encoder, tile: Tile, family: Family) -> Callable[[], Array]:
    """Return an action that embeds the tile with our engine, (H, W, D) float32.

    The model is imported from its checkpoint once, outside the action; everything that happens
    once per tile is inside it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pt"
        torch.save(model.checkpoint(), path)
        found = read_checkpoint(path, family)
    exact = ModelArtifact(
        encoder=found.encoder, config=found.config, norms=RELEASES[family].norms, digest=""
    )
    artifact = exact.in_bfloat16()
    height, width = tile.shape
    rows, columns = np.divmod(np.arange(height * width), width)

    def radar(cube: npt.NDArray[np.int16], days: npt.NDArray[np.int16]) -> RadarSeries:
        return RadarSeries(backscatter_scaled_db=cube, day_of_year=days.astype(np.uint16))

    def embed() -> Array:
        scl = scl_from_mask(tile.masks)
        pixels = take_pixels(
            OpticalSeries(reflectance=tile.bands, scl=scl, day_of_year=tile.doys),
            radar(tile.sar_ascending, tile.sar_ascending_doy),
            radar(tile.sar_descending, tile.sar_descending_doy),
            rows,
            columns,
        )
        found = embed_pixels(artifact, pixels, batch_size=1024)
        return found.reshape(height, width, -1)

    return embed


# ----------------------------------------------------------------------------------- the gate


def centred_cosine(reference: Array, found: Array) -> npt.NDArray[np.float64]:
    """Return the cosine of every pixel, (N,), less the tile's mean; (H, W, D) each."""
    width = reference.shape[-1]
    one, two = (value.reshape(-1, width).astype(np.float64) for value in (reference, found))
    kept = ~np.isnan(one).any(axis=1)
    one, two = one[kept] - one[kept].mean(axis=0), two[kept] - two[kept].mean(axis=0)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return (one * two).sum(axis=1) / lengths


def check_numerics(name: str, reference: Array, found: Array) -> None:
    """Print the agreement and stop where it is too low for a speed to mean anything."""
    cosine = centred_cosine(reference, found)
    print(f"{name}: centred cosine mean {cosine.mean():.6f}, worst {cosine.min():.6f}")
    assert cosine.mean() >= MIN_MEAN_COSINE, f"mean {cosine.mean():.6f} < {MIN_MEAN_COSINE}"
    assert cosine.min() >= MIN_WORST_COSINE, f"worst {cosine.min():.6f} < {MIN_WORST_COSINE}"


# ------------------------------------------------------------------------------------ the run


class NoModel(nn.Module):
    """Returns zeros at once: what is left of a run is its data preparation."""

    def __init__(self, representation_dim: int) -> None:
        super().__init__()
        self.representation_dim = representation_dim

    def forward(self, s2: Tensor, s1: Tensor) -> Tensor:
        """Map (B, T, 11) and (B, T', 3) to (B, D)."""
        return torch.zeros(len(s2), self.representation_dim)


def describe(name: str, encode: Encode, model: Encoder, tile: Tile) -> None:
    """Print the rate of the reference and the share of its data preparation."""
    num_pixels = tile.shape[0] * tile.shape[1]
    seconds = []
    for network in (model, NoModel(model.representation_dim)):
        encode(network, tile)
        began = time.perf_counter()
        encode(network, tile)
        seconds.append(time.perf_counter() - began)
    total, preparation = seconds
    print(
        f"{name}: reference {num_pixels / total:.1f} px/s ({total / num_pixels * 1e3:.2f} ms/px), "
        f"data preparation {preparation / total:.1%} of it",
        flush=True,
    )


def run(
    name: str, family: Family, encode: Encode, model: Encoder, tile: Tile, gate_tile: Tile
) -> None:
    """Describe the reference, check the candidate against it, and compare."""
    model.eval()
    describe(name, encode, model, tile)
    gate, timed = candidate(model, gate_tile, family), candidate(model, tile, family)
    check_numerics(name, encode(model, gate_tile), gate())
    print(compare(name, lambda: encode(model, tile), timed), flush=True)


def main() -> None:
    """Print the lines of both models."""
    torch.set_num_threads(NUM_THREADS)
    torch.manual_seed(SEED)
    student_tile = synthetic_tile(SIDE_V2, SIDE_V2, seed=SEED)
    run(
        f"v2 small, {SIDE_V2} x {SIDE_V2} px, bfloat16 against fp32",
        Family.V2_STUDENT, v2.encode_tile, StudentV2(), student_tile, student_tile,
    )  # fmt: skip
    half = v1_0.NUM_DRAWN // 2
    run(
        f"v1.0 early, {SIDE_V1_0} x {SIDE_V1_0} px, bfloat16 against fp32",
        Family.V1_0_EARLY,
        v1_0.encode_tile,
        EncoderV10Early(),
        synthetic_tile(SIDE_V1_0, SIDE_V1_0, seed=SEED),
        synthetic_tile(
            SIDE_V1_0, SIDE_V1_0, seed=SEED,
            num_s2=v1_0.NUM_DRAWN, clear_share=1, num_asc=half, num_desc=half, edge_share=0,
        ),
    )  # fmt: skip


if __name__ == "__main__":
    main()
