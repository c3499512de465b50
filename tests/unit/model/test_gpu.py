"""The engine on a GPU against the reference's numbers; needs CUDA and ../shared."""

import numpy as np
import pytest
import torch

from tessera_core.model.embed import ModelArtifact, embed_pixels
from tessera_core.model.family import Family
from tests.unit.model.released import released_model, tile_pixels

pytestmark = pytest.mark.gpu
TOLERANCE = 2e-5

CASES = [
    ("v1_1", Family.V1_1_MPC, "mixed.mpc.embedding", 20),
    ("v2_student", Family.V2_STUDENT, "mixed.embedding", 128),
    ("v2_student_qknorm", Family.V2_STUDENT, "mixed.embedding", 128),
    ("v2_teacher", Family.V2_TEACHER, "mixed.embedding", 32),
]


@pytest.mark.parametrize("in_bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(("name", "family", "stored", "dim"), CASES)
def test_raw_tiles_give_the_reference_embeddings(
    shared_data, name, family, stored, dim, in_bfloat16
):
    parity = shared_data / "parity"
    model = released_model(parity, name, family)
    model = ModelArtifact(
        encoder=model.encoder.to("cuda"), config=model.config, norms=model.norms, digest=""
    )
    expected = np.load(parity / f"{name}.npz")[stored].reshape(-1, dim)
    torch.backends.cuda.matmul.allow_tf32 = False

    found = embed_pixels(
        model.in_bfloat16() if in_bfloat16 else model,
        tile_pixels(np.load(parity / "tiles.npz"), "mixed"),
        batch_size=8,
        dim=dim,
    )

    kept = np.isfinite(found).all(axis=1) & np.isfinite(expected).all(axis=1)
    if not in_bfloat16:
        assert np.abs(found - expected)[kept].max() < TOLERANCE
        return
    one, two = (values[kept] - values[kept].mean(axis=0) for values in (found, expected))
    cosine = (one * two).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    assert cosine.mean() >= 0.999
    assert cosine.min() >= 0.99
