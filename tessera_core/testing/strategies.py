"""Hypothesis strategies for d-pixels; ragged, with empty series and empty sets among them."""

from hypothesis import strategies as st

from tessera_core.domain.dpixel import DPixels
from tessera_core.testing.pixels import make_pixels

SEEDS = st.integers(0, 2**32 - 1)
MAX_PIXELS = 6
MAX_OBSERVATIONS = 7


@st.composite
def dpixels(draw: st.DrawFn, *, min_pixels: int = 0) -> DPixels:
    """Draw d-pixels; hypothesis chooses how ragged they are, a seed chooses the values."""
    num_pixels = draw(st.integers(min_pixels, MAX_PIXELS))
    counts = st.lists(st.integers(0, MAX_OBSERVATIONS), min_size=num_pixels, max_size=num_pixels)
    return make_pixels(
        draw(counts),
        draw(counts),
        draw(counts),
        seed=draw(SEEDS),
        num_unusable=draw(st.integers(0, 2)),
    )
