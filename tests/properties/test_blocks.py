"""Blocks: equal ids mean the same block, in any zone and at any size."""

import math

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from tessera_core.domain.grid import block_ids

ZONES = st.one_of(st.integers(32601, 32660), st.integers(32701, 32760))
EASTINGS = st.floats(-1e6, 2e6)
NORTHINGS = st.floats(-1e7, 2e7)
SIZES = st.integers(10, 100_000)
POSITIONS = st.tuples(ZONES, EASTINGS, NORTHINGS)


def ids(positions: list[tuple[int, float, float]], block_size_m: int) -> list[int]:
    epsg, x, y = zip(*positions, strict=True)
    return block_ids(np.array(epsg, np.int32), np.array(x), np.array(y), block_size_m).tolist()


@given(positions=st.lists(POSITIONS, min_size=1, max_size=8), block_size_m=SIZES)
@example(positions=[(32631, -5.0, 5.0), (32631, 5.0, 5.0), (32631, 5.0, -5.0)], block_size_m=10)
def test_ids_are_equal_exactly_where_the_block_is_the_same(positions, block_size_m):
    blocks = [
        (epsg, math.floor(x / block_size_m), math.floor(y / block_size_m))
        for epsg, x, y in positions
    ]

    found = ids(positions, block_size_m)

    for first in range(len(positions)):
        for second in range(first):
            same_block = blocks[first] == blocks[second]
            assert (found[first] == found[second]) == same_block


@given(
    zone=ZONES,
    column=st.integers(0, 90_000),
    row=st.integers(-900_000, 1_900_000),
    inside=st.tuples(st.floats(0, 9.99), st.floats(0, 9.99)),
)
def test_all_positions_inside_a_block_share_its_id(zone, column, row, inside):
    corner = (zone, column * 10.0, row * 10.0)
    within = (zone, corner[1] + inside[0], corner[2] + inside[1])

    assert len(set(ids([corner, within], 10))) == 1


def test_blocks_that_a_packed_integer_might_confuse_differ():
    steps = [0, *(2**k for k in range(22))]
    positions = [
        (zone, side * 10.0 * column, hemisphere * 10.0 * row)
        for zone in (32601, 32602, 32660, 32701, 32760)
        for column in steps[:19]
        for row in steps
        for side, hemisphere in ((1, 1), (1, -1), (-1, 1), (-1, -1))
    ]

    found = ids(positions, 10)

    assert len(set(found)) == len({(zone, x, y) for zone, x, y in positions}) > 7000


@given(first=ZONES, second=ZONES, x=EASTINGS, y=NORTHINGS, block_size_m=SIZES)
def test_zones_never_share_a_block(first, second, x, y, block_size_m):
    found = ids([(first, x, y), (second, x, y)], block_size_m)

    assert (found[0] == found[1]) == (first == second)
