"""The certificate in its three forms."""

import json
import re
from dataclasses import replace
from itertools import pairwise

import pytest

from tessera_core.lineage.audit.certificate import (
    MAX_SHOWN,
    render_html,
    render_text,
    write_certificate,
)
from tessera_core.lineage.audit.chain import UPSTREAM, verify_chain
from tessera_core.lineage.audit.report import AuditReport, Finding, Grade
from tests.unit.lineage.audit.built import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Run(root=tmp_path_factory.mktemp("chain")).cycle()


@pytest.fixture(scope="module")
def report(run):
    return verify_chain(run.receipts["export"], run.paths, require_sources=True)


def finding(grade, artefact="data/x.npy"):
    return Finding(grade=grade, artefact=artefact, problem="differs", next_step="restore it")


def with_findings(report, *findings):
    return AuditReport(
        start=report.start,
        subject=report.subject,
        findings=findings,
        steps=report.steps,
        num_files=report.num_files,
        num_bytes=report.num_bytes,
    )


def test_the_text_draws_the_chain_from_ingest_to_export(run, report):
    text = render_text(report)

    places = [text.index(f"  {stage:<9} {run.receipts[stage][:12]}") for stage in UPSTREAM]
    assert places == sorted(places)
    assert f"stands on ingest {run.receipts['ingest'][:12]}, quality" in text
    assert ", verdict passed" in text
    assert f"champion is evaluate {run.receipts['evaluate'][:12]}, pretrain" in text
    assert "PASSED (0 BLOCK, 0 WARN, 0 NOTE)" in text
    assert "tessera version 1" in text
    assert text.endswith("PASSED: every byte is what its receipt says. Nothing to do.\n")


def test_the_text_fits_a_terminal(report):
    assert max(map(len, render_text(report).splitlines())) <= 110


def test_a_failed_audit_says_so_first_and_last_and_names_each_next_step(report):
    text = render_text(with_findings(report, finding(Grade.BLOCK), finding(Grade.WARN, "code")))

    assert "FAILED (1 BLOCK, 1 WARN, 0 NOTE)" in text
    assert text.splitlines()[-1].startswith("FAILED: the chain of evidence is broken")
    assert "  data/x.npy\n    differs\n    next: restore it" in text
    assert text.index("BLOCK (1)") < text.index("WARN (1)")


def test_what_failed_stands_above_the_drawing_and_the_chain_with_its_next_step(report):
    failed = with_findings(
        report, finding(Grade.BLOCK), finding(Grade.WARN, "code"), finding(Grade.NOTE, "scenes")
    )

    text, page = render_text(failed), render_html(failed)

    assert text.index("FAILED") < text.index("next: restore it") < text.index("The chain, from")
    assert text.index("The chain, from") < text.index("WARN (1)") < text.index("NOTE (1)")
    order = ["FAILED", "data/x.npy", "Next: restore it", "<svg", "<ol>", "WARN</span> 1"]
    places = [page.index(each) for each in order]
    assert places == sorted(places)


def test_the_chain_says_in_words_what_is_broken_and_what_stands_on_it(run, report):
    broken = replace(finding(Grade.BLOCK), concerns=(run.receipts["register"],))
    failed = with_findings(report, broken)

    lines = render_text(failed).splitlines()
    page = render_html(failed)

    loud = ("BROKEN", "STANDS ON BROKEN")
    said = [before.split()[1] for before, line in pairwise(lines) if line.strip(" |") in loud]
    assert said == [run.receipts[stage][:12] for stage in ("register", "export")]
    assert page.count('<span class="sign small">stands on broken</span>') == 1
    assert page.count('<span class="chip BLOCK">broken</span>') == 2  # the step, and the legend


def test_warnings_alone_pass_with_a_reservation(report):
    text = render_text(with_findings(report, finding(Grade.WARN)))

    assert "see what the warnings say" in text


def test_a_long_list_is_cut_in_the_text_and_whole_in_the_json(report, tmp_path):
    many = [finding(Grade.BLOCK, f"data/{number:03}.npy") for number in range(MAX_SHOWN + 7)]

    write_certificate(with_findings(report, *many), tmp_path)

    assert "and 7 more in certificate.json" in (tmp_path / "certificate.txt").read_text()
    assert "and 7 more in certificate.json" in (tmp_path / "certificate.html").read_text()
    stored = json.loads((tmp_path / "certificate.json").read_text())
    assert len(stored["findings"]) == MAX_SHOWN + 7
    assert stored["num_findings"] == {"BLOCK": MAX_SHOWN + 7, "WARN": 0, "NOTE": 0}


def test_the_json_has_whole_digests_and_counts(run, report, tmp_path):
    write_certificate(report, tmp_path)

    stored = json.loads((tmp_path / "certificate.json").read_text())

    assert stored["passed"] is True
    assert stored["start"] == run.receipts["export"]
    assert [step["digest"] for step in stored["steps"]] == [run.receipts[s] for s in UPSTREAM]
    assert stored["steps"][0]["counts"] == {"num_pixels": 12}
    assert stored["steps"][0]["num_sources"] == 2


def test_the_page_needs_nothing_from_anywhere_else(report):
    page = render_html(report)

    assert "<script" not in page
    assert re.findall(r"(?:src|href)=|url\((?!#)|https?://|@import", page) == []
    assert page.count('<li class="sheet">') == len(UPSTREAM)


def test_the_page_escapes_what_files_are_called(report):
    page = render_html(with_findings(report, finding(Grade.BLOCK, "<b>x</b>.npy")))

    assert "&lt;b&gt;x&lt;/b&gt;.npy" in page
    assert 'class="chip FAILED"' in page


def test_no_form_names_the_machine_and_equal_audits_are_equal_bytes(run, report, tmp_path):
    write_certificate(report, tmp_path / "first")
    again = verify_chain(run.receipts["export"], run.paths, require_sources=True)
    write_certificate(again, tmp_path / "second")

    for path in (tmp_path / "first").iterdir():
        content = path.read_text()
        assert content == (tmp_path / "second" / path.name).read_text()
        assert str(run.root) not in content
