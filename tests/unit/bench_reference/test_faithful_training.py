"""The reference trainer of the benchmarks does what its description says."""

import numpy as np
import pytest
import torch

from tests.bench import faithful_training as faithful
from tests.bench.faithful.models import EncoderV10Early


def make_trainer(projection=24):
    torch.manual_seed(1)
    encoder = EncoderV10Early(4, 1, 2, 16)
    return faithful.Trainer(encoder, faithful.build_projector(4, projection))


def random_views(num, seed):
    rng = np.random.default_rng(seed)
    return {
        place: rng.standard_normal((num, 5, channels), dtype=np.float32)
        for place, channels in faithful.PLACES.items()
    }


def test_the_training_script_has_the_size_it_is_known_by():
    with torch.device("meta"):
        encoder = EncoderV10Early(128, 4, 4, 1024)
        projector = faithful.build_projector(128, 4096)

    assert sum(value.numel() for value in encoder.parameters()) == 20_638_850
    assert sum(value.numel() for value in projector.parameters()) == pytest.approx(84.5e6, rel=1e-3)


def test_matrices_and_vectors_learn_at_their_own_rates():
    trainer = make_trainer()

    matrices, vectors = trainer.optimizer.param_groups

    assert {value.ndim for value in vectors["params"]} == {1}
    assert min(value.ndim for value in matrices["params"]) == 2
    assert matrices["lr"] == pytest.approx(4e-4)
    assert vectors["lr"] == pytest.approx(9.6e-6)
    assert matrices["weight_decay"] == vectors["weight_decay"] == 1e-6


def test_the_loader_gives_every_sample_of_whole_batches_with_its_views_together(tmp_path):
    files = [random_views(6, seed) for seed in (1, 2)]
    for number, views in enumerate(files):
        faithful.write_views(tmp_path, f"data_B0_F{number}.npy", views)

    found = list(faithful.build_loader(tmp_path, batch_size=4, seed=3))

    assert len(found) == 3
    order = [0, 1] if torch.equal(found[0]["aug1/s2"][0], _row(files, 0)) else [1, 0]
    for place in faithful.PLACES:
        expected = np.concatenate([files[number][place] for number in order])
        np.testing.assert_array_equal(torch.cat([batch[place] for batch in found]), expected)


def _row(files, number):
    return torch.from_numpy(files[number]["aug1/s2"][0])


def test_a_mix_is_one_share_and_one_permutation_for_everything_days_included():
    first, second = ((torch.randn(6, 5, 11), torch.randn(6, 5, 3)) for _ in range(2))
    mix = faithful.draw_mix(6, torch.Generator().manual_seed(4))

    mixed = mix.apply(first, second)

    assert sorted(mix.partner_B.tolist()) == list(range(6))
    for found, one, two in zip(mixed, first, second, strict=True):
        for row, partner in enumerate(mix.partner_B.tolist()):
            expected = mix.share * one[row] + (1 - mix.share) * two[partner]
            torch.testing.assert_close(found[row], expected)


def test_steps_on_one_batch_lower_the_loss(tmp_path):
    trainer = make_trainer()
    faithful.write_views(tmp_path, "data_B0_F0.npy", random_views(16, seed=5))
    first, second = faithful.views_of(next(iter(faithful.build_loader(tmp_path, 16, seed=1))))
    mix = faithful.draw_mix(16, torch.Generator().manual_seed(6))

    losses = [trainer.step(first, second, mix) for _ in range(40)]

    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
