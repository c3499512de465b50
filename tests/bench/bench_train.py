"""A training step: the field's way (tests/bench/faithful_training) against ours, equal weights.

Model, batches and mixes are the same; so is the share that dropout drops, though not its draws.
Ours is one pass of the encoder over all three views, the projector view by view, the loss by exact
algebra, products in bfloat16 and fused AdamW.

Gates, without dropout, whose draws would hide an error: equal losses in float32, and embeddings
that agree as ``bench_embed`` asks, from the path that training takes.

Shapes: B d-pixels, K observations per view, C channels, E embedding width, P projection width.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.utils.flop_counter import FlopCounterMode

from tessera_core.model.checkpoint import read_checkpoint
from tessera_core.model.family import Family
from tessera_core.model.layers import TransformerLayer
from tessera_core.model.objectives.barlow import BarlowTwins
from tessera_core.model.objectives.interface import Mixed, Projections
from tests.bench import faithful_training as faithful
from tests.bench.bench_embed import check_numerics
from tests.bench.faithful import models
from tests.bench.protocol import compare

NUM_THREADS = 2
NUM_PAIRS = 5
SEED = 1
NUM_OBSERVATIONS = 40
PROJECTION = 4096
HEADS = 4
BATCHES_PER_FILE, NUM_FILES = 2, 2
NUM_COUNTED = 8
"""Samples of the step whose operations are counted."""

LOSS_TOLERANCE = 1e-5

OBJECTIVE = BarlowTwins(
    redundancy_weight=faithful.REDUNDANCY_WEIGHT, mix_weight=faithful.MIX_WEIGHT
)

Views = tuple[faithful.View, faithful.View]


# --------------------------------------------------------------------------------------- ours


class Candidate:
    """Our encoder and projector with the weights of a reference, and our optimiser."""

    def __init__(self, reference: faithful.Trainer, family: Family) -> None:
        source, projector = reference.model["encoder"], reference.model["projector"]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.pt"
            torch.save(source.checkpoint(), path)
            encoder = read_checkpoint(path, family, {"num_heads": HEADS}).encoder
        self.encoder = encoder.requires_grad_(True).train()
        self.head = faithful.build_projector(source.representation_dim, PROJECTION)
        self.head.load_state_dict(projector.state_dict())
        self.parameters = [*encoder.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.AdamW(
            faithful.parameter_groups(self.parameters),
            weight_decay=faithful.WEIGHT_DECAY,
            fused=True,
        )

    def embed(self, *views: faithful.View) -> Tensor:
        """Return embeddings of all views, one behind the other."""
        s2, s1 = (torch.cat(parts) for parts in zip(*views, strict=True))
        return self.encoder(s2, s1)

    def loss(self, first: faithful.View, second: faithful.View, mix: faithful.Mix) -> Tensor:
        """Return the loss; batch norm sees each view alone."""
        embeddings = self.embed(first, second, mix.apply(first, second)).chunk(3)
        first_BP, second_BP, mixed_BP = (self.head(embedding_BE) for embedding_BE in embeddings)
        mixed = Mixed(projection_BP=mixed_BP, share=mix.share, partner_B=mix.partner_B)
        projections = Projections(first_BP=first_BP, second_BP=second_BP, mixed=mixed)
        return OBJECTIVE(projections, generator=torch.default_generator).total

    def step(self, first: faithful.View, second: faithful.View, mix: faithful.Mix) -> float:
        """Take one step and return the loss before it."""
        with torch.autocast("cpu", torch.bfloat16):
            loss = self.loss(first, second, mix)
        loss.backward()
        clip_grad_norm_(self.parameters, faithful.MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()


# -------------------------------------------------------------------------------------- gates


def without_dropout(model: nn.Module) -> list[tuple[nn.Module, str, float]]:
    """Switch dropout off wherever a module keeps it; return what to put back."""
    kept = []
    for module in model.modules():
        name = "p" if isinstance(module, nn.Dropout) else "dropout"
        if isinstance(module, nn.Dropout | nn.MultiheadAttention | TransformerLayer):
            kept.append((module, name, getattr(module, name)))
            setattr(module, name, 0.0)
    return kept


def check(
    name: str, reference: faithful.Trainer, ours: Candidate, views: Views, mix: faithful.Mix
) -> None:
    """Stop where losses or embeddings are too far apart for a speed to mean anything."""
    modules = nn.ModuleList([reference.model, ours.encoder])
    kept = without_dropout(modules)
    with torch.no_grad():
        expected, found = (side.loss(*views, mix).item() for side in (reference, ours))
        exact = torch.cat([reference.model["encoder"](*view) for view in views])
    error = abs(found - expected) / abs(expected)
    print(f"{name}: loss {expected:.4f}, ours in float32 off by {error:.1e}")
    assert error < LOSS_TOLERANCE, f"{found} is not {expected}"
    with torch.autocast("cpu", torch.bfloat16):
        narrow = ours.embed(*views).detach().float()
    check_numerics(f"{name}, embeddings", exact.numpy(), narrow.numpy())
    for module, attribute, value in kept:
        setattr(module, attribute, value)


# ---------------------------------------------------------------------------------------- run


def random_views(num: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return standardised noise with ascending days of year, under the loader's names."""
    arrays = {}
    for place, channels in faithful.PLACES.items():
        values = rng.standard_normal((num, NUM_OBSERVATIONS, channels), dtype=np.float32)
        values[..., -1] = np.sort(rng.integers(1, 366, values.shape[:2], endpoint=True))
        arrays[place] = values
    return arrays


def batches(folder: Path, batch_size: int) -> Iterator[tuple[Views, faithful.Mix]]:
    """Yield batches and their mixes for ever; two of these yield the same."""
    generator = torch.Generator().manual_seed(SEED)
    while True:
        for sample in faithful.build_loader(folder, batch_size, SEED):
            first, second = faithful.views_of(sample)
            yield (first, second), faithful.draw_mix(batch_size, generator)


def gigaflop_per_sample(reference: faithful.Trainer, views: Views) -> float:
    """Return what the reference computes per sample, forward and backward, in products alone."""
    first, second = (tuple(part[:NUM_COUNTED] for part in view) for view in views)
    mix = faithful.Mix(share=0.5, partner_B=torch.arange(NUM_COUNTED))
    with FlopCounterMode(display=False) as counter:
        reference.loss(first, second, mix).backward()
    reference.optimizer.zero_grad()
    return counter.get_total_flops() / NUM_COUNTED / 1e9


def run(name: str, family: Family, encoder: models.Encoder, batch_size: int) -> None:
    """Check the candidate against the reference and compare their steps."""
    projector = faithful.build_projector(encoder.representation_dim, PROJECTION)
    reference = faithful.Trainer(encoder.train(), projector)
    ours = Candidate(reference, family)
    rng = np.random.default_rng(SEED)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(NUM_FILES):
            arrays = random_views(BATCHES_PER_FILE * batch_size, rng)
            faithful.write_views(Path(folder), f"data_B0_F{number}.npy", arrays)
        views, mix = next(batches(Path(folder), batch_size))
        check(name, reference, ours, views, mix)
        work = gigaflop_per_sample(reference, views)

        def stepping(side: faithful.Trainer | Candidate) -> Callable[[], float]:
            supply = batches(Path(folder), batch_size)

            def step() -> float:
                (first, second), mix = next(supply)
                return side.step(first, second, mix)

            return step

        found = compare(name, stepping(reference), stepping(ours), NUM_PAIRS)
    print(found)
    for side, seconds in (("reference", found.reference_s), ("ours", found.candidate_s)):
        rate = batch_size / float(np.median(seconds))
        print(
            f"{name}: {side} {rate:.1f} samples/s, {rate * work:.0f} GFLOP/s "
            f"of the reference's {work:.1f} GFLOP per sample",
            flush=True,
        )


def main() -> None:
    """Print the lines of both models."""
    torch.set_num_threads(NUM_THREADS)
    torch.manual_seed(SEED)
    run(
        f"step, v1 training shape (d 512, 4 layers, ff 1024, nn.GRU), P {PROJECTION}, B 256",
        Family.V1_0_EARLY, models.EncoderV10Early(128, 4, HEADS, 1024), 256,
    )  # fmt: skip
    run(
        f"step, v2 small shape (d 256, 4 layers, ff 1024, attention), P {PROJECTION}, B 128",
        Family.V2_STUDENT, models.StudentV2(), 128,
    )  # fmt: skip


if __name__ == "__main__":
    main()
