"""Every relative link and picture of the pages at the root leads somewhere."""

import re
from pathlib import Path

import pytest

LINK = re.compile(r"\]\(([^)#]+)")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_relative_link_exists(page: str, repo: Path) -> None:
    links = LINK.findall((repo / page).read_text(encoding="utf-8"))
    relative = [link for link in links if "://" not in link]

    assert [link for link in relative if not (repo / link).exists()] == []
    assert relative or page != "README.md"


CITATION = re.compile(r"\b(method|performance|interop|peers|stack|design)\.md\s+(\d+(?:\.\d+)?)")
HEADING = re.compile(r"^#{2,3} (\d+(?:\.\d+)?) ", re.MULTILINE)
CITED_FROM = ("tessera_core/**/*.py", "flows/**/*.py", "tests/**/*.py", "data/benchmarks/*.yaml")


def test_every_cited_section_is_a_heading_of_our_own_documents(repo: Path) -> None:
    sections = {
        page.stem: set(HEADING.findall(page.read_text(encoding="utf-8")))
        for page in (repo / "docs").glob("*.md")
    }
    cited = {
        (path.relative_to(repo).as_posix(), document, section)
        for pattern in CITED_FROM
        for path in repo.glob(pattern)
        for document, section in CITATION.findall(path.read_text(encoding="utf-8"))
    }

    assert [each for each in sorted(cited) if each[2] not in sections.get(each[1], ())] == []
    assert len(cited) > 50


def test_every_test_that_the_method_names_exists(repo: Path) -> None:
    pages = [repo / "docs" / name for name in ("method.md", "performance.md", "interop.md")]
    named = {
        name
        for page in pages
        for name in re.findall(r"`(tests/[\w/]+\.py)`", page.read_text(encoding="utf-8"))
    }

    assert [name for name in sorted(named) if not (repo / name).is_file()] == []
    assert len(named) > 10


def test_every_place_in_the_architecture_exists(repo: Path) -> None:
    text = (repo / "docs" / "architecture.md").read_text(encoding="utf-8")
    places = re.findall(r"\| `([^`]+)` \|", text)

    assert [place for place in places if not (repo / place).exists()] == []
    assert len(places) > 10
