"""No byte of the evidence can change unseen, wherever it is."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tessera_core.lineage.audit.chain import verify_chain
from tessera_core.lineage.audit.report import Grade
from tests.unit.lineage.audit.built import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Run(root=tmp_path_factory.mktemp("chain")).cycle()


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_a_change_to_any_byte_of_any_file_is_found_and_the_file_named(run, draw):
    path = draw.draw(st.sampled_from(run.evidence()))
    whole = path.read_bytes()
    position = draw.draw(st.integers(0, len(whole) - 1))
    change = draw.draw(st.integers(1, 255))
    changed = bytearray(whole)
    changed[position] ^= change
    path.write_bytes(bytes(changed))

    try:
        report = verify_chain(run.receipts["export"], run.paths, require_sources=True)
    finally:
        path.write_bytes(whole)

    named = {finding.artefact for finding in report.of(Grade.BLOCK)}
    assert named == {path.relative_to(run.root).as_posix()}
