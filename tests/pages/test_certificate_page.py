"""What a reader sees of a failed certificate: in a browser, on a desk and on a phone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tessera_core.lineage.audit.chain import verify_chain
from tessera_core.lineage.audit.stage import write_report
from tests.pages.chromium import Page, browse, find_chromium
from tests.unit.lineage.audit.built import Run

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed"),
]

TOP = "one => one.getBoundingClientRect().top"
STROKES = "[...document.querySelectorAll('%s rect')].map(one => getComputedStyle(one).stroke)"
SPILLED = """[...document.querySelectorAll('.graph .box')].filter(box => {
  const edge = box.querySelector('rect').getBoundingClientRect().right
  return [...box.querySelectorAll('text')].some(one => one.getBoundingClientRect().right > edge)
}).map(box => box.textContent.trim())"""


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of a chain whose shuffle receipt is gone."""
    run = Run(root=tmp_path_factory.mktemp("failed")).cycle()
    (run.paths.lineage / f"{run.receipts['shuffle']}.json").unlink()
    run.paths.receipt("shuffle").unlink()
    target = run.root / "certificate"
    write_report(verify_chain(run.receipts["export"], run.paths, require_sources=True), target)
    return target / "certificate.html"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A tab."""
    program = find_chromium()
    assert program is not None
    with browse(program) as tab:
        yield tab


@pytest.mark.parametrize(("width", "height"), [(1280, 1000), (390, 844)])
def test_what_failed_is_read_before_the_drawing_and_red_in_it(
    page: Page, failed: Path, width: int, height: int
) -> None:
    page.resize(width, height)
    page.open(failed.as_uri())
    page.wait_for_text("FAILED", "the shuffle receipt is missing", "Lineage")

    places = [
        page.evaluate(f"({TOP})({where})")
        for where in (
            "document.querySelector('h1 .FAILED')", "document.querySelector('.finding')",
            "document.querySelector('svg')", "document.querySelector('ol')",
        )
    ]  # fmt: skip
    assert places == sorted(places)
    red = set(page.evaluate(STROKES % ".box.BLOCK"))
    assert red == set(page.evaluate(STROKES % ".box.on-broken"))
    assert not red & set(page.evaluate(STROKES % ".box.sound:not(.on-broken)"))
    words = page.evaluate("[...document.querySelectorAll('svg .word')].map(one => one.textContent)")
    assert {"gone or changed", "stands on broken"} <= set(words)
    assert page.evaluate(SPILLED) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
