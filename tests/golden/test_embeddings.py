"""Did an embedding move? Eight of them, as stored codes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tessera_core.domain.embedding import quantise
from tessera_core.model.embed import embed_pixels
from tessera_core.testing.models import TINY_SHAPE, tiny_model
from tessera_core.testing.pixels import random_pixels
from tests.golden.recorded import recall

GOLDEN = Path(__file__).with_name("embeddings.json")
MAX_STEPS = 1
MAX_SCALE_DRIFT = 1e-4


def test_eight_embeddings_have_the_recorded_codes(bless):
    torch.set_num_threads(1)
    model = tiny_model(seed=61, shape=replace(TINY_SHAPE, embedding_dim=32))

    found = quantise(embed_pixels(model, random_pixels(8, seed=62), batch_size=4))

    recorded = recall(GOLDEN, {"codes": found.codes.tolist(), "scale": found.scale.tolist()}, bless)
    steps = np.abs(found.codes.astype(np.int64) - np.array(recorded["codes"]))
    assert steps.shape == (8, 32)
    assert steps.max() <= MAX_STEPS
    np.testing.assert_allclose(found.scale, recorded["scale"], rtol=MAX_SCALE_DRIFT)
