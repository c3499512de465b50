"""Attestations of a real cycle: what was trained and published here verifies, byte for byte."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.cycle.conftest import tessera

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_model_and_export_of_a_real_cycle_verify_against_the_signed_digests(
    copied: Path, tmp_path: Path
) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    key, public = tmp_path / "key.pem", tmp_path / "public.pem"
    for command in (
        ["genpkey", "-algorithm", "ed25519", "-out", str(key)],
        ["pkey", "-in", str(key), "-pubout", "-out", str(public)],
    ):
        subprocess.run(["openssl", *command], check=True, timeout=60, capture_output=True)
    published = json.loads((copied / "data" / "receipts" / "export.json").read_bytes())["facts"]
    export = copied / "data" / "exports" / published["export"]
    model = copied / "data" / "registration" / "champion"

    for name, artifact in ((f"tessera/{published['version']}", model), (export.name, export)):
        printed = tessera(copied, "attest", name, "--key", str(key)).stdout
        folder = Path(printed.split()[-1])
        check = ("verify", str(folder), "--public-key", str(public), "--artifact")
        assert "those that were signed" in tessera(copied, *check, str(artifact)).stdout
        bill = (folder / "ml-bom.cdx.json").read_text(encoding="utf-8")
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
        libraries = {each["name"] for each in json.loads(bill)["components"]}
        assert {"samples", "shards", "torch", "numpy"} <= libraries
        assert (folder / "ro-crate.zip").is_file()

    (export / "preview.png").write_bytes(b"another picture")
    refused = tessera(copied, *check, str(export), expect=3)
    assert "preview.png: is not the file that was signed" in refused.stderr
