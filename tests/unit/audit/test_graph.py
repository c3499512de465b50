"""The drawing of the lineage."""

import re

import pytest

from tessera_core.audit.certificate import render_html
from tessera_core.audit.chain import UPSTREAM, verify_chain
from tessera_core.audit.graph import BOX_HEIGHT, BOX_WIDTH, draw
from tests.unit.audit.built import Run, code


def audit(run):
    return verify_chain(run.receipts["export"], run.paths, require_sources=True)


def grades(report):
    return {(box.title, box.grade) for box in draw(report).boxes}


@pytest.fixture
def run(tmp_path):
    return Run(root=tmp_path, codes={"shuffle": code(dirty=True)}).cycle()


def test_every_receipt_and_the_scenes_have_a_box_with_digest_commit_and_verdict(run):
    boxes = {box.title: box for box in draw(audit(run)).boxes}

    assert set(boxes) == {"scenes", *UPSTREAM}
    assert boxes["quality"].lines == (
        run.receipts["quality"][:12], "@ 0123456789ab", "passed",
    )  # fmt: skip
    assert boxes["register"].lines[-1] == "champion"
    assert boxes["shuffle"].lines[1] == "@ 0123456789ab+"
    assert boxes["scenes"].lines[0] == "2 files"


def test_a_box_has_the_colour_of_the_worst_finding_about_it(run):
    (run.paths.model / "encoder.safetensors").write_bytes(b"other weights")
    (run.root / "data/scenes/a.tif").write_bytes(b"another scene")

    found = grades(audit(run))

    assert {("pretrain", "BLOCK"), ("scenes", "BLOCK"), ("shuffle", "WARN")} <= found
    assert ("ingest", "sound") in found


def test_a_damaged_receipt_still_leaves_a_drawing(run):
    (run.paths.lineage / f"{run.receipts['shuffle']}.json").unlink()
    run.paths.receipt("shuffle").unlink()

    assert {title for title, _ in grades(audit(run))} >= {"export", "register", "pretrain"}


def test_two_runs_lie_in_two_bands_and_no_box_covers_another(run):
    later = Run(root=run.root, mark="second", version="2")
    later.prepare()
    later.train()
    later.release(champion=run)

    graph = draw(audit(later))

    corners = [(box.x, box.y) for box in graph.boxes]
    assert len(graph.boxes) == 14
    assert len(set(corners)) == len(corners)
    for x, y in corners:
        assert 0 <= x <= graph.width - BOX_WIDTH
        assert 0 <= y <= graph.height - BOX_HEIGHT


def test_the_page_holds_the_drawing_itself(run):
    page = render_html(audit(run))

    assert page.count('<g class="box') == len(UPSTREAM) + 1
    assert re.search(r"<svg[^>]*>.*</svg>", page, re.DOTALL)
