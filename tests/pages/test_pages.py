"""What a person sees in the browser: MLflow's own pages over runs of the real cycle."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.settings import Settings
from tests.cycle.conftest import copy_checkout
from tests.pages.chromium import Page, browse, find_chromium
from tests.pages.mlflow_pages import (
    headline_metrics,
    log_in,
    open_comparison,
    open_figure,
    open_model,
    served,
    versions_of,
)

NAME = "tessera"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def address(two_versions: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow's pages of a checkout that has trained two versions."""
    checkout = copy_checkout(two_versions, tmp_path_factory.mktemp("pages") / "checkout")
    with pytest.MonkeyPatch.context() as patch:
        # Earlier tests of this process may have left an address of theirs.
        for name in Settings.model_fields:
            patch.setenv(name.upper(), "")
        with served(checkout) as where:
            yield where


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Page]:
    """A tab whose user has logged in."""
    program = find_chromium()
    assert program is not None
    with browse(program) as tab:
        log_in(tab, address)
        yield tab


def test_the_page_of_the_model_shows_versions_and_aliases(page: Page, address: str) -> None:
    open_model(page, address, NAME)

    shown = page.text
    assert "Version 1" in shown
    assert "Version 2" in shown
    assert "@ champion" in shown


def test_the_page_of_two_versions_shows_their_scores_side_by_side(page: Page, address: str) -> None:
    pair = versions_of(address, NAME)

    open_comparison(page, address, pair)

    for version in pair:
        scores = headline_metrics(address, version)
        assert scores
        for name, value in scores.items():
            assert name in page.text
            assert f"{value:.3f}".rstrip("0") in page.text, name


def test_a_figure_of_an_evaluation_loads(page: Page, address: str) -> None:
    open_figure(page, address)

    widest = page.evaluate("Math.max(...[...document.images].map(one => one.naturalWidth))")
    assert widest > 400
