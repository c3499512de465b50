"""The command line: help, exit codes, messages."""

from pathlib import Path

import pytest

from flows.cli.cycle import STAGE_HELP
from flows.cli.main import main
from tessera_core.records.cycle import STAGES


def test_every_stage_has_a_command() -> None:
    assert [*STAGE_HELP, "audit"] == list(STAGES)


def test_help_shows_commands_examples_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])

    printed = capsys.readouterr().out
    assert end.value.code == 0
    for word in ("retrain", "simulate", "audit", "ui", "examples:", "exit codes:"):
        assert word in printed


@pytest.mark.parametrize("command", ["ingest", "audit", "retrain", "simulate"])
def test_a_folder_without_settings_ends_with_exit_code_2(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--root", str(tmp_path)]) == 2

    assert "holds no params.yaml" in capsys.readouterr().err


def test_a_misspelt_setting_ends_with_exit_code_2_and_names_its_neighbour(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ingest", "--root", str(root), "--set", "pretrain.peek_lr=1"]) == 2

    assert "Did you mean 'peak_lr'?" in capsys.readouterr().err


def test_an_unknown_command_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["fly"])

    assert end.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


def test_a_stage_without_its_upstream_says_which_command_comes_first(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quality", "--root", str(root)]) == 2

    assert "run `tessera ingest` first" in capsys.readouterr().err
