"""Simulated scenes are marked where they enter, so that every later page can say so."""

from pathlib import Path

from tessera_core.ingest.stage import is_simulated


def test_scenes_of_the_simulator_are_recognised_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "scenes").mkdir()
    catalogue = tmp_path / "scenes" / "catalog.json"

    assert not is_simulated(tmp_path, "scenes")
    assert not is_simulated(tmp_path, "https://example.org/stac")
    catalogue.write_text('{"type": "Catalog"}')
    assert not is_simulated(tmp_path, "scenes")
    catalogue.write_text('{"type": "Catalog", "tessera:simulation": {"seed": 7}}')
    assert is_simulated(tmp_path, "scenes")
    assert is_simulated(tmp_path, "scenes/catalog.json")
