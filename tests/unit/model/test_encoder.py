"""The encoder: what it must tell apart, what it must not notice, how large it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tessera_core.model.encoder import Encoder, count_parameters
from tessera_core.model.family import Family
from tessera_core.model.layers import encode_days
from tessera_core.model.projector import build_projector
from tessera_core.model.releases import RELEASES, STUDENT_SHAPES, student_shape
from tessera_core.testing.models import TINY_SHAPE, tiny_encoder

LOOKALIKE_DAYS = [256, 257, 258, 259, 364, 365, 366]
"""Above 256 bfloat16 steps by 2, so it holds 257 as 256 and 365 as 364."""


def random_tokens(num, seed, *, num_optical=6, num_radar=4):
    """S2 (num, 6, 11) and S1 (num, 4, 3) tokens with whole days."""
    rng = np.random.default_rng(seed)
    s2, s1 = rng.normal(size=(num, num_optical, 11)), rng.normal(size=(num, num_radar, 3))
    s2[..., -1] = rng.integers(1, 366, s2.shape[:2], endpoint=True)
    s1[..., -1] = rng.integers(1, 366, s1.shape[:2], endpoint=True)
    return torch.from_numpy(s2).float(), torch.from_numpy(s1).float()


def parameters_by_formula(config):
    """Weights and biases of every layer, written down by hand from method.md 4.4."""
    width, hidden, forward = config.model_dim, 4 * config.model_dim, config.s2.feedforward_dim

    def linear(num_in, num_out):
        return num_in * num_out + num_out

    norm = 2 * width
    layer = linear(width, 3 * width) + linear(width, width)
    layer += linear(width, forward) + linear(forward, width) + 2 * norm
    shared = linear(width, width) + config.s2.num_layers * layer + linear(width, 1)
    reducer = linear(2 * width, hidden) + 2 * hidden + linear(hidden, config.embedding_dim)
    return linear(10, width) + linear(2, width) + 2 * shared + reducer


def largest_difference(first, second):
    return (first - second).abs().max().item()


def test_days_are_encoded_as_interleaved_sine_and_cosine_of_the_raw_day():
    days = np.array([1.0, 59.0, 257.0, 365.0, 366.0])
    width = TINY_SHAPE.model_dim

    encoded = encode_days(torch.from_numpy(days).float()[None], width)[0].numpy()

    angle = days[:, None] / 10_000 ** (np.arange(0, width, 2) / width)
    # float32 knows an angle of 366 to 3e-5.
    np.testing.assert_allclose(encoded[:, 0::2], np.sin(angle), atol=4e-5)
    np.testing.assert_allclose(encoded[:, 1::2], np.cos(angle), atol=4e-5)


def test_day_encoding_stays_exact_under_bfloat16_autocast():
    days = torch.tensor([LOOKALIKE_DAYS], dtype=torch.float32)

    plain = encode_days(days, TINY_SHAPE.model_dim)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        autocast = encode_days(days, TINY_SHAPE.model_dim)

    assert torch.tensor(257).bfloat16() == 256, "the trap is real"
    assert autocast.dtype == torch.float32
    assert torch.equal(autocast, plain)
    distances = torch.cdist(autocast[0], autocast[0]) + 10 * torch.eye(len(LOOKALIKE_DAYS))
    assert distances.min() > 0.1


@pytest.mark.parametrize(("day", "other"), [(256, 257), (257, 258), (364, 365), (365, 366)])
def test_neighbouring_days_give_other_embeddings_under_bfloat16_autocast(day, other):
    encoder = tiny_encoder(1)
    s2, s1 = random_tokens(1, seed=2, num_optical=1)

    embeddings = []
    for value in (day, other):
        s2[..., -1] = value
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            embeddings.append(encoder(s2, s1))

    assert largest_difference(*embeddings) > 0.02


@pytest.mark.parametrize(
    "change",
    [{}, {"num_layers": 3}, {"feedforward_dim": 40}, {"embedding_dim": 128}, {"num_heads": 4}],
)
def test_the_number_of_parameters_follows_the_formula(change):
    sizes = {"model_dim": 16, "num_layers": 2, "num_heads": 2, "feedforward_dim": 24}
    config = student_shape(**{**sizes, "embedding_dim": 12, **change})

    found = count_parameters(Encoder(config))

    assert found == parameters_by_formula(config)


@pytest.mark.parametrize(
    ("size", "published"), [("nano", 1_071_874), ("small", 7_112_322), ("large", 43_831_170)]
)
def test_released_students_have_their_published_size(size, published):
    with torch.device("meta"):
        found = count_parameters(Encoder(STUDENT_SHAPES[size]))

    assert found == published


@pytest.mark.parametrize(
    ("family", "published"),
    [
        (Family.V1_0_EARLY, 87_841_922),
        (Family.V1_0_QAT, 45_828_226),
        (Family.V1_1_MPC, 57_708_738),
        (Family.V1_1_AWS, 57_708_738),
        (Family.V2_STUDENT, 7_112_322),
        (Family.V2_TEACHER, 2_064_266_242),
    ],
)
def test_releases_at_full_size_have_their_published_number_of_parameters(family, published):
    with torch.device("meta"):
        found = count_parameters(Encoder(RELEASES[family].shape))

    assert found == published


def test_a_student_with_qk_norm_has_two_vectors_more_per_layer():
    small = STUDENT_SHAPES["small"]
    with torch.device("meta"):
        plain = count_parameters(Encoder(small))
        normed = count_parameters(Encoder(replace(small, qk_norm=True)))

    assert normed == 7_113_346
    assert normed - plain == 2 * 2 * 4 * (256 // 4)


def test_permuting_bands_changes_the_embedding():
    encoder = tiny_encoder(3)
    s2, s1 = random_tokens(4, seed=3)
    by_wavelength = [1, 2, 0, 5, 6, 7, 3, 4, 8, 9, 10]

    with torch.no_grad():
        difference = largest_difference(encoder(s2, s1), encoder(s2[..., by_wavelength], s1))

    assert difference > 0.05


def test_swapping_polarisations_changes_the_embedding():
    encoder = tiny_encoder(3)
    s2, s1 = random_tokens(4, seed=3)

    with torch.no_grad():
        difference = largest_difference(encoder(s2, s1), encoder(s2, s1[..., [1, 0, 2]]))

    assert difference > 0.05


def test_the_order_of_observations_does_not_matter():
    encoder = tiny_encoder(4)
    s2, s1 = random_tokens(5, seed=4)

    with torch.no_grad():
        expected = encoder(s2, s1)
        reordered = encoder(s2[:, [3, 0, 5, 1, 4, 2]], s1[:, [2, 3, 0, 1]])

    assert largest_difference(expected, reordered) < 5e-6


@pytest.mark.parametrize("sensor", [0, 1], ids=["s2", "s1"])
def test_the_multiplicity_of_observations_matters(sensor):
    encoder = tiny_encoder(4)
    tokens = list(random_tokens(5, seed=4))

    with torch.no_grad():
        expected = encoder(*tokens)
        tokens[sensor] = torch.cat([tokens[sensor], tokens[sensor][:, :1]], dim=1)
        repeated = encoder(*tokens)

    assert largest_difference(expected, repeated) > 0.01


def test_dropout_acts_in_training_and_is_off_at_inference():
    encoder = tiny_encoder(5)
    tokens = random_tokens(4, seed=5)

    with torch.no_grad():
        inference = [encoder.eval()(*tokens) for _ in range(2)]
        training = [encoder.train()(*tokens) for _ in range(2)]

    assert torch.equal(*inference)
    assert largest_difference(*training) > 0.01


def test_an_embedding_is_as_wide_as_configured_and_not_as_the_projector():
    config = replace(TINY_SHAPE, embedding_dim=32)
    projector_dim = 96
    encoder = tiny_encoder(6, config)

    with torch.no_grad():
        embedding = encoder(*random_tokens(4, seed=6))
        projection = build_projector(32, projector_dim, 2)(embedding)

    assert embedding.shape == (4, 32)
    assert projection.shape == (4, 96)


def test_every_embedding_has_mean_0_and_deviation_1():
    config = replace(TINY_SHAPE, embedding_dim=128)
    encoder = tiny_encoder(7, config)

    with torch.no_grad():
        embedding = encoder(*random_tokens(9, seed=7)).double()

    assert embedding.mean(dim=1).abs().max() < 1e-6
    # The norm adds 1e-5 to the variance before the root.
    assert (embedding.std(dim=1, correction=0) - 1).abs().max() < 2e-3
