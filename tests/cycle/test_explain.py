"""Two versions that differ in two groups of settings: which one moved the score?"""

import re
from pathlib import Path

import pytest

from tests.cycle.conftest import tessera

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1200)]

CHANGES = ("--set", "pretrain.num_steps=12", "--set", "shuffle.seed=99")


def test_the_gain_is_split_over_the_groups_of_changes(checkout: Path) -> None:
    tessera(checkout, "retrain", *CHANGES)

    printed = tessera(checkout, "compare", "tessera/1", "tessera/2", "--explain").stdout

    rows = [
        re.search(r"crop_type +(\+ config \w+|together|tessera v2).* ([+-]\d\.\d{3})$", line)
        for line in printed.splitlines()
    ]
    gains = {row[1]: float(row[2]) for row in rows if row}
    assert set(gains) == {"+ config pretrain", "+ config shuffle", "together", "tessera v2"}
    parts = sum(gain for name, gain in gains.items() if name != "tessera v2")
    assert parts == pytest.approx(gains["tessera v2"], abs=0.002)
    (page,) = (checkout / "data" / "comparisons").glob("*.html")
    assert "Which change did it" in page.read_text("utf-8")
    assert not list(checkout.glob("data/replays/.*"))
