"""The drawing of the lineage."""

import re
from dataclasses import replace

import pytest

from tessera_core.lineage.audit.certificate import render_html
from tessera_core.lineage.audit.chain import UPSTREAM, verify_chain
from tessera_core.lineage.audit.graph import BOX_HEIGHT, BOX_WIDTH, draw
from tessera_core.lineage.audit.report import Finding, Grade
from tests.unit.lineage.audit.built import Run, code


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


DAMAGES = {
    "scene": ("data/scenes/a.tif", "scenes"),
    "label raster": ("data/labels/crop_type.tif", "pretrain"),
    "weights": ("data/model/encoder.safetensors", "pretrain"),
    "export": ("data/exports/tessera-v1-first/preview.png", "export"),
    "attestation": ("data/attestations/tessera-1-first/bundle.intoto.jsonl", "pretrain"),
    **{f"receipt of {stage}": (stage, stage) for stage in UPSTREAM},
}
"""What is damaged -> its path or stage, and the box that must say so."""

BEHIND = {
    "scenes": set(UPSTREAM),
    "ingest": set(UPSTREAM) - {"ingest"},
    "quality": {"shuffle", "pretrain", "evaluate", "register", "export"},
    "shuffle": {"pretrain", "evaluate", "register", "export"},
    "pretrain": {"evaluate", "register", "export"},
    "evaluate": {"register", "export"},
    "register": {"export"},
    "export": set(),
}
"""Box -> all that stands on it."""


def damage(run, where, fate):
    paths = [run.root / where]
    if where in UPSTREAM:
        paths = [run.paths.lineage / f"{run.receipts[where]}.json", run.paths.receipt(where)]
    for path in paths:
        path.unlink()
        if fate == "changed":
            path.write_bytes(b"{}")


@pytest.mark.parametrize("fate", ["gone", "changed"])
@pytest.mark.parametrize("what", DAMAGES)
def test_what_is_broken_is_red_in_words_too_and_all_that_stands_on_it_says_so(run, what, fate):
    where, title = DAMAGES[what]
    damage(run, where, fate)

    graph = draw(audit(run))

    red = {box.title for box in graph.boxes if box.grade == "BLOCK"}
    assert title in red
    assert all(box.word in ("broken", "gone or changed") for box in graph.boxes
               if box.grade == "BLOCK")  # fmt: skip
    # A receipt that is gone names nothing any more, so its own past is not reached from there.
    said = {box.title for box in graph.boxes if box.word == "stands on broken"}
    assert said >= BEHIND[title] - red - {title}
    assert all(line.is_broken for line in graph.lines) or title != "scenes"


def test_what_blocks_and_is_no_receipt_of_the_chain_has_a_red_box_beside_it(run):
    report = audit(run)
    many = [
        Finding(grade=Grade.BLOCK, artefact=f"registry tessera/{n}", problem="edited", next_step="")
        for n in range(6)
    ]

    graph = draw(replace(report, findings=tuple(many)))

    apart = [box for box in graph.boxes if box.title == "beside the chain"]
    assert [box.lines[0] for box in apart] == [
        "registry tessera/0", "registry tessera/1", "registry tessera/2", "and 3 more",
    ]  # fmt: skip
    assert {(box.grade, box.word) for box in apart} == {("BLOCK", "broken")}
    assert all(box.x + box.width <= graph.width for box in apart)
    assert all(box.y + BOX_HEIGHT <= graph.height for box in apart)


def test_a_chain_of_which_nothing_is_left_is_still_drawn_as_broken(run):
    report = replace(audit(run), steps=())

    assert [(box.title, box.word) for box in draw(report).boxes] == [("export", "gone or changed")]


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
