"""A full disk and a database that cannot be used are told alike, whichever library meets them."""

import sqlite3

import pytest

from tessera_core.errors import BusyError, StorageError
from tessera_core.records.faults import machine_fault
from tessera_core.testing.disk import run_with_full_disk

LIMIT = 20_000
SCRIPT = """
import sys
from pathlib import Path
folder, what = Path(sys.argv[1]), sys.argv[2]
from tessera_core.records.faults import machine_fault
try:
    exec(what)
except Exception as error:
    told = machine_fault(error, folder)
    print(type(error).__name__, "|", type(told).__name__, "|", told)
else:
    print("nothing failed")
"""
WRITES = {
    "sqlite": """
import sqlite3
with sqlite3.connect(folder / "a.db") as db:
    db.execute("create table t (x)")
    db.execute("insert into t values (zeroblob(200000))")
""",
    "sqlalchemy": """
import sqlalchemy
with sqlalchemy.create_engine(f"sqlite:///{folder / 'a.db'}").begin() as db:
    db.execute(sqlalchemy.text("create table t (x)"))
    db.execute(sqlalchemy.text("insert into t values (zeroblob(200000))"))
""",
    "a plain file": """
(folder / "a").write_bytes(bytes(200000))
""",
    "parquet": """
import numpy, pyarrow, pyarrow.parquet
numbers = numpy.random.default_rng(1).random(50000)
pyarrow.parquet.write_table(pyarrow.table({"x": numbers}), folder / "a.parquet")
""",
    "safetensors": """
import numpy, safetensors.numpy
safetensors.numpy.save_file({"x": numpy.zeros(50000)}, folder / "a.safetensors")
""",
    "torch": """
import torch
torch.save({"x": torch.zeros(50000)}, folder / "a.pt")
""",
    "zarr": """
import numpy, zarr
numbers = numpy.random.default_rng(1).random(50000)
zarr.open_array(str(folder / "a.zarr"), mode="w", shape=numbers.shape, dtype="f8")[:] = numbers
""",
    "numpy": """
import numpy
numpy.save(folder / "a.npy", numpy.zeros(50000))
""",
    "a copied tree": """
import shutil
(folder / "tree").mkdir()
(folder / "tree" / "a").write_bytes(bytes(2000))
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
shutil.copytree(folder / "tree", folder / "copy")
""",
    "mlflow": """
from mlflow import MlflowClient
MlflowClient(f"sqlite:///{folder / 'a.db'}").create_experiment("x")
""",
}


@pytest.mark.parametrize("library", list(WRITES))
def test_a_full_disk_is_one_sentence_whoever_writes(library, tmp_path):
    result = run_with_full_disk(SCRIPT, str(tmp_path), WRITES[library], max_file_size=LIMIT)

    (told,) = [line for line in result.stdout.splitlines() if " | " in line] or [result.stderr]
    assert told.split(" | ")[1] == "StorageError", told
    assert "Make room and run again" in told


def test_a_locked_database_is_one_sentence_that_says_what_to_do(tmp_path):
    import sqlalchemy

    path = tmp_path / "a.db"
    with sqlite3.connect(path) as holder:
        holder.execute("create table t (x)")
        holder.execute("begin exclusive")
        engine = sqlalchemy.create_engine(f"sqlite:///{path}", connect_args={"timeout": 0})
        with pytest.raises(sqlalchemy.exc.OperationalError) as met, engine.begin() as other:
            other.execute(sqlalchemy.text("insert into t values (1)"))
        engine.dispose()
    holder.close()

    told = machine_fault(met.value, tmp_path)
    assert isinstance(told, BusyError)
    assert told.exit_code == 1
    assert "locked" in str(told)
    assert "run again" in str(told)


def test_a_damaged_or_unwritable_database_says_so(tmp_path):
    broken = tmp_path / "a.db"
    broken.write_bytes(b"not a database" * 1000)
    connection = sqlite3.connect(broken)
    with pytest.raises(sqlite3.DatabaseError) as met:
        connection.execute("select * from t")
    connection.close()
    with pytest.raises(sqlite3.OperationalError) as absent:
        sqlite3.connect(tmp_path / "no" / "folder" / "a.db")

    damaged, unwritable = (machine_fault(one.value, tmp_path) for one in (met, absent))
    assert isinstance(damaged, StorageError)
    assert "rebuild-tracking" in str(damaged)
    assert isinstance(unwritable, StorageError)
    assert "Make the folder and its files writable" in str(unwritable)


def test_the_fault_behind_another_error_is_found_and_any_other_error_is_none():
    def wrapped() -> None:
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise RuntimeError("a library failed") from error

    with pytest.raises(RuntimeError) as met:
        wrapped()

    assert isinstance(machine_fault(met.value, "."), StorageError)
    assert machine_fault(RuntimeError("a library failed"), ".") is None
