"""Every environment variable has one home, and the example file lists them all."""

from pathlib import Path

from flows.settings import Settings


def test_the_example_file_and_the_settings_name_the_same_variables(repo: Path) -> None:
    lines = (repo / "infra" / "env.example").read_text(encoding="utf-8").splitlines()
    documented = {line.split("=")[0] for line in lines if line and not line.startswith("#")}

    assert documented == {name.upper() for name in Settings.model_fields}
