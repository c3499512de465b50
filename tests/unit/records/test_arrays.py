"""NPY files: numpy's own bytes, but never a part of them in silence."""

import io

import numpy as np
import pytest

from tessera_core.records.arrays import write_array
from tessera_core.testing.disk import run_with_full_disk

WRITE = """
from pathlib import Path
import numpy as np
from tessera_core.records.arrays import write_array
try:
    write_array(Path(sys.argv[1]), np.zeros(int(sys.argv[2]), np.int8))
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.int8).reshape(2, 3, 4),
        np.array([[1.5, np.nan]], np.float32),
        np.zeros((0, 4, 2), np.int16),
        np.array([True, False]),
        np.arange(12, dtype=np.int64)[::2],
    ],
    ids=["int8", "float32", "empty", "bool", "strided"],
)
def test_an_array_is_written_with_numpys_bytes_and_reads_back(array, tmp_path):
    write_array(tmp_path / "x.npy", array)

    expected = io.BytesIO()
    np.save(expected, array)
    assert (tmp_path / "x.npy").read_bytes() == expected.getvalue()
    assert np.array_equal(np.load(tmp_path / "x.npy"), array, equal_nan=array.dtype.kind == "f")


def test_an_array_in_fortran_order_is_stored_in_c_order(tmp_path):
    array = np.arange(6).reshape(2, 3).T

    write_array(tmp_path / "x.npy", array)

    assert np.array_equal(np.load(tmp_path / "x.npy"), array)
    assert np.load(tmp_path / "x.npy").flags.c_contiguous


@pytest.mark.parametrize("size", [100, 20_000])
def test_a_full_disk_is_an_error_also_for_the_last_bytes(size, tmp_path):
    # np.save leaves a cut-off file in both cases, and returns.
    run = run_with_full_disk(
        WRITE, str(tmp_path / "x.npy"), str(size), max_file_size=128 + size - 10
    )

    assert run.stdout == "File too large\n", run.stderr
