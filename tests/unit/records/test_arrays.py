"""NPY files: numpy's own bytes, but never a part of them in silence; grown, mapped, checked."""

import io

import numpy as np
import pytest
from numpy.lib import format as npy

from tessera_core.errors import RecordError
from tessera_core.records.arrays import GrowingArray, inspect_array, map_array, write_array
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


@pytest.mark.parametrize("sizes", [[], [0], [3], [2, 0, 5], [1] * 12])
@pytest.mark.parametrize(("dtype", "row_shape"), [(np.uint16, (10,)), (np.bool_, ()), ("<f8", ())])
def test_a_file_that_grew_has_the_bytes_of_one_written_at_once(sizes, dtype, row_shape, tmp_path):
    rng = np.random.default_rng(1)
    parts = [rng.integers(0, 9, (size, *row_shape)).astype(dtype) for size in sizes]

    with GrowingArray(tmp_path / "grown.npy", dtype, row_shape) as growing:
        for part in parts:
            growing.append(part)

    write_array(tmp_path / "whole.npy", np.concatenate([np.zeros((0, *row_shape), dtype), *parts]))
    assert (tmp_path / "grown.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_a_header_has_room_for_any_number_of_rows():
    lengths = set()
    for num_rows in (0, 7, 10**6, 10**18):
        header = {"descr": "<u2", "fortran_order": False, "shape": (num_rows, 10)}
        file = io.BytesIO()
        npy.write_array_header_1_0(file, header)
        lengths.add(len(file.getvalue()))

    assert lengths == {128}


@pytest.mark.parametrize("rows", [np.zeros((2, 3), np.int16), np.zeros((2, 2), np.int32)])
def test_rows_of_another_kind_are_not_appended(rows, tmp_path):
    with (
        pytest.raises(RecordError, match=r"x\.npy holds rows of int16 \(2,\), not of int"),
        GrowingArray(tmp_path / "x.npy", np.int16, (2,)) as growing,
    ):
        growing.append(rows)


GROW = """
from pathlib import Path
import numpy as np
from tessera_core.records.arrays import GrowingArray
try:
    with GrowingArray(Path(sys.argv[1]), np.int8, ()) as growing:
        for _ in range(10):
            growing.append(np.zeros(int(sys.argv[2]) // 10, np.int8))
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.parametrize("size", [100, 100_000])
def test_a_disk_that_fills_up_while_a_file_grows_is_an_error(size, tmp_path):
    run = run_with_full_disk(
        GROW, str(tmp_path / "x.npy"), str(size), max_file_size=128 + size - 10
    )

    assert run.stdout == "File too large\n", run.stderr


@pytest.mark.parametrize("shape", [(3, 2), (0, 2), (5,), (0,)])
def test_a_mapped_array_is_the_stored_one_and_read_only(shape, tmp_path):
    array = np.random.default_rng(2).integers(0, 99, shape).astype(np.int16)
    write_array(tmp_path / "x.npy", array)

    file = inspect_array(tmp_path / "x.npy")
    mapped, _ = map_array(file)

    assert (file.shape, file.dtype, file.size) == (shape, np.int16, array.nbytes)
    assert np.array_equal(mapped, array)
    assert not mapped.flags.writeable


def test_a_mapped_array_outlives_its_file(tmp_path):
    write_array(tmp_path / "x.npy", np.arange(5))
    mapped, _ = map_array(inspect_array(tmp_path / "x.npy"))

    (tmp_path / "x.npy").unlink()

    assert mapped.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("octets", "complaint"),
    [
        (lambda whole: whole[:-1], "has 167 bytes, expected 168 for int64"),
        (lambda whole: whole + b" ", "has 169 bytes, expected 168 for int64"),
        (lambda whole: whole[:40], "is not an NPY file"),
        (lambda whole: b"", "is not an NPY file"),
        (lambda whole: whole[:6] + b"\x02" + whole[7:], r"version \(2, 0\), expected \(1, 0\)"),
    ],
    ids=["cut off", "too long", "half a header", "empty", "version 2"],
)
def test_a_damaged_file_is_named(octets, complaint, tmp_path):
    path = tmp_path / "x.npy"
    write_array(path, np.arange(5))
    path.write_bytes(octets(path.read_bytes()))

    with pytest.raises(RecordError, match=rf"{path} .*{complaint}"):
        inspect_array(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecordError, match=rf"cannot read {tmp_path}/x\.npy: No such file"):
        inspect_array(tmp_path / "x.npy")


def test_fortran_order_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.asfortranarray(np.ones((2, 3))))

    with pytest.raises(RecordError, match="in C order"):
        inspect_array(tmp_path / "x.npy")
