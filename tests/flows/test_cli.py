"""The command line: help, exit codes, messages."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli.cycle import STAGE_HELP
from flows.cli.main import GROUPS, _plain_numbers, build_parser, main
from tessera_core.config import PlatformConfig
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


def test_every_command_is_listed_once_in_its_group_on_100_columns() -> None:
    shown = build_parser().format_help()

    listed = [line.split()[0] for line in shown.splitlines() if re.match(r"  [a-z]", line)]
    commands = {name for name in listed if name != "tessera"}
    (action,) = (each for each in build_parser()._actions if each.choices)
    assert commands == set(action.choices or ())
    assert all(listed.count(name) == 1 for name in commands)
    assert max(map(len, shown.splitlines())) <= 100
    for title in GROUPS:
        assert f"\n{title}:\n" in shown


@pytest.mark.parametrize(
    ("word", "plain"),
    [
        ("-1e-5", "-0.00001"),
        ("-2.5E+1", "-25"),
        ("-.5e1", "-5"),
        ("-1.5", "-1.5"),
        ("-1ex", "-1ex"),
    ],
)
def test_a_negative_number_with_an_exponent_is_no_option(word: str, plain: str) -> None:
    assert _plain_numbers(["audit", "--pixel", word, "48.6"]) == ["audit", "--pixel", plain, "48.6"]


def test_a_pixel_just_west_of_greenwich_is_a_pixel(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["audit", "--root", str(root), "--export", "x", "--pixel", "-1e-5", "48.6"])

    assert code == 2
    assert "expected 2 arguments" not in capsys.readouterr().err


def test_settings_have_a_value_and_a_meaning_each(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sections = PlatformConfig.read(root / "params.yaml").to_dict()

    assert main(["settings", "--root", str(root)]) == 0
    overview = capsys.readouterr().out
    for section, settings in sections.items():
        assert f"{section:<10} " in overview
        assert main(["settings", section, "--root", str(root)]) == 0
        lines = capsys.readouterr().out.splitlines()
        for name in settings:
            (place,) = (i for i, x in enumerate(lines) if x.startswith(f"{section}.{name} = "))
            assert lines[place + 1].startswith("    "), name
        assert max(map(len, lines)) <= 200


def test_a_changed_setting_stands_beside_that_of_the_file(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["settings", "pretrain", "--root", str(root), "--set", "pretrain.num_steps=800"]

    assert main(words) == 0

    assert "pretrain.num_steps = 800  (params.yaml: 300)" in capsys.readouterr().out


def test_a_reader_who_has_seen_enough_ends_a_command_silently(root: Path) -> None:
    words = [sys.executable, "-m", "flows.cli.main", "settings", "pretrain", "--root", str(root)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        complaint = process.stderr.read()

    assert (process.wait(timeout=60), complaint) == (0, b"")


def test_declared_tasks_say_which_data_they_ask_for(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = root / "data" / "elsewhere"
    words = [
        "benchmark",
        "--list",
        "--root",
        str(root),
        "--set",
        f"evaluate.benchmark_data={folder}",
    ]

    assert main(words) == 0
    before = capsys.readouterr().out
    (folder / "biomassters").mkdir(parents=True)
    assert main(words) == 0
    after = capsys.readouterr().out

    assert "data: the run's own samples" in before
    assert before.count(", not here") == after.count(", not here") + 1


def test_an_unknown_section_names_its_neighbour(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["settings", "pretrian", "--root", str(root)]) == 2

    assert "Did you mean 'pretrain'?" in capsys.readouterr().err


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
