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
