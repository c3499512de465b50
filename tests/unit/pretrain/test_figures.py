"""Pictures of a training: three files, the same bytes for the same run, whatever the batch."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from tessera_core.pages.training import draw_correlation, draw_curves, draw_spectrum
from tessera_core.pretrain.figures import (
    draw_training,
)
from tessera_core.pretrain.loop import Trained
from tessera_core.pretrain.selection import METRIC
from tessera_core.testing.models import TINY_SHAPE, tiny_encoder, tiny_settings
from tessera_core.testing.pixels import NORMS, as_feed, make_pixels, random_pixels

FEED = as_feed(random_pixels(60, seed=46))
HISTORY = [
    {"step": step, "loss/total": 9.0 / (step + 1), "rank/embedding": 0.5 + step / 100}
    | ({METRIC: 0.4 + step / 50} if step % 2 else {})
    for step in range(6)
]


def drawn(folder, encoder, *, feed=FEED, history=HISTORY, **changes):
    folder.mkdir()
    trained = Trained(encoder=encoder, history=history, selected=None)
    draw_training(folder, trained, feed, NORMS, tiny_settings(batch_size=32, **changes))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The pictures of one run by name, as bytes."""
    return drawn(tmp_path_factory.mktemp("figures") / "run", tiny_encoder(1))


def test_three_pictures_are_drawn_with_the_same_bytes_twice_and_leave_no_trace(tmp_path, first):
    encoder = tiny_encoder(1)
    torch.manual_seed(4)
    before = torch.random.get_rng_state()

    again = drawn(tmp_path / "again", encoder)

    assert again.keys() == {"curves.png", "correlation.png", "spectrum.png"}
    assert all(content.startswith(b"\x89PNG") for content in again.values())
    assert again == first
    assert torch.equal(torch.random.get_rng_state(), before)
    pairs = zip(encoder.parameters(), tiny_encoder(1).parameters(), strict=True)
    assert all(torch.equal(one, other) and one.grad is None for one, other in pairs)


def test_another_encoder_gives_other_pictures_of_its_batch_and_the_same_curves(tmp_path, first):
    other = drawn(tmp_path / "other", tiny_encoder(2))

    assert other["curves.png"] == first["curves.png"]
    assert other["correlation.png"] != first["correlation.png"]
    assert other["spectrum.png"] != first["spectrum.png"]


def dead(num_alive):
    """An encoder of which only the first dimensions vary."""

    class Dead(type(tiny_encoder(1))):
        def forward(self, *views):
            embedding = super().forward(*views)
            embedding[:, num_alive:] = 0.5
            return embedding

    encoder = Dead(TINY_SHAPE).eval()
    encoder.load_state_dict(tiny_encoder(1).state_dict())
    return encoder


@pytest.mark.parametrize("num_alive", [7, 1])
def test_a_batch_with_dead_dimensions_is_drawn(tmp_path, num_alive):
    assert len(drawn(tmp_path / "run", dead(num_alive))) == 3


def test_a_set_of_fewer_dpixels_than_dimensions_is_drawn(tmp_path):
    few = as_feed(make_pixels([3] * 4, [2] * 4, [2] * 4, seed=47))

    assert len(drawn(tmp_path / "run", tiny_encoder(1), feed=few)) == 3


def titles(figure: Figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_the_curves_show_what_was_recorded_and_the_probe_only_where_there_was_one():
    with_probe = draw_curves(HISTORY, METRIC)
    without = draw_curves(
        [{k: v for k, v in one.items() if k != METRIC} for one in HISTORY], METRIC
    )

    assert len(with_probe.axes) == 3
    assert titles(without) == titles(with_probe)[:2]
    line = with_probe.axes[2].lines[0]
    assert list(line.get_xdata()) == [1, 3, 5]
    np.testing.assert_allclose(line.get_ydata(), [0.42, 0.46, 0.5])


def test_curves_of_a_single_record_are_drawn():
    assert draw_curves(HISTORY[:1], METRIC).axes[0].lines[0].get_xdata() == [0]


def test_the_correlation_tells_its_diagonal_from_the_rest():
    correlation = np.full((4, 4), -0.25) + 1.05 * np.eye(4)

    (axes, _) = draw_correlation(correlation).axes

    assert axes.get_title() == "mean 0.80 on the diagonal, |0.25| off it"


def test_the_spectrum_says_how_many_directions_hold_most_of_the_variance():
    (axes,) = draw_spectrum(np.array([3.0, 2.0, 1.0, 0.1])).axes

    # 9 + 4 of 14.01 is 92.8 %.
    assert axes.get_title() == "2 of 4 directions hold 90 % of the variance"
