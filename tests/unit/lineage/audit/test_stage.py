"""The audit stage: certificate first, gate second, and never from memory."""

import pytest

from tessera_core.config import PlatformConfig
from tessera_core.errors import GateError, RecordError
from tessera_core.lineage.audit.stage import audit_workspace, run, sources
from tessera_core.ports import OFFLINE
from tessera_core.records.manifest import Manifest, find_differences
from tests.unit.lineage.audit.built import Run


@pytest.fixture(scope="module")
def config(repo):
    return PlatformConfig.read(repo / "params.yaml")


@pytest.fixture
def chain(tmp_path):
    return Run(root=tmp_path).cycle()


def test_a_whole_chain_gets_a_certificate(config, chain):
    outcome = run(config, chain.paths, OFFLINE)

    folder = chain.paths.audit
    assert outcome.outputs == (folder / "manifest.json",)
    assert outcome.facts["passed"] is True
    assert outcome.facts["export_receipt"] == chain.receipts["export"]
    assert (outcome.facts["num_receipts"], outcome.facts["num_block"]) == (7, 0)
    assert sorted(path.name for path in folder.iterdir()) == [
        "certificate.html", "certificate.json", "certificate.txt", "manifest.json",
    ]  # fmt: skip
    assert find_differences(folder, Manifest.read(folder)) == []
    assert sources(config, chain.paths) == ()


def test_a_broken_chain_stops_with_the_artefact_named_and_the_certificate_written(config, chain):
    tile = chain.paths.exports / "tessera-v1-first" / "npy" / "a" / "2022" / "a.npy"
    tile.write_bytes(b"another map")

    with pytest.raises(GateError, match=r"(?s)1 thing.*exports/tessera-v1-first/npy/a/2022/a\.npy"):
        run(config, chain.paths, OFFLINE)

    certificate = (chain.paths.audit / "certificate.txt").read_text()
    assert "FAILED (1 BLOCK" in certificate
    assert "npy/a/2022/a.npy" in certificate


def test_the_error_lists_only_the_first_of_many(config, chain):
    for path in (*chain.paths.data.glob("*/*.parquet"), *chain.paths.data.glob("*/*.json")):
        if path.parent != chain.paths.lineage and path.parent.name != "receipts":
            path.unlink()
    for path in chain.paths.lineage.iterdir():
        path.write_bytes(b"{}")

    with pytest.raises(GateError, match=r"and \d+ more\nCertificate: "):
        run(config, chain.paths, OFFLINE)


def test_an_audit_sees_a_change_made_after_the_last_audit(config, chain):
    before = audit_workspace(config, chain.paths)
    (chain.paths.model / "encoder.safetensors").write_bytes(b"other weights")

    after = audit_workspace(config, chain.paths)

    assert before.passed
    assert not after.passed


def test_without_an_export_there_is_nothing_to_audit(config, tmp_path):
    with pytest.raises(RecordError, match=r"no export to audit.*run `tessera export` first"):
        audit_workspace(config, Run(root=tmp_path).paths)


def test_the_audit_alone_writes_nothing(config, chain):
    before = {path: path.stat().st_mtime_ns for path in chain.root.rglob("*")}

    audit_workspace(config, chain.paths)

    assert {path: path.stat().st_mtime_ns for path in chain.root.rglob("*")} == before
