"""``python -m tessera_core``: what DVC sees of a stage is its exit code."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import yaml

from tessera_core.__main__ import main
from tests.unit.chain import TINY_OVERRIDES, ingest_by_hand

DONE, FAILED, BAD_INPUT, GATE_SAID_NO = 0, 1, 2, 3


@pytest.fixture
def checkout(repo, tmp_path) -> Callable[..., list[str]]:
    """A function that writes tiny settings into a folder and returns ``--root`` for it."""

    def make(*overrides: str) -> list[str]:
        values = yaml.safe_load((repo / "params.yaml").read_text("utf-8"))
        for override in (*TINY_OVERRIDES, *overrides):
            name, _, text = override.partition("=")
            section, _, key = name.partition(".")
            values[section][key] = yaml.safe_load(text)
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
        return ["--root", str(tmp_path)]

    return make


def test_a_stage_that_ran_says_done_and_a_second_run_reused(checkout, tmp_path, capsys):
    ingest_by_hand(tmp_path)

    codes = [main(["shuffle", *checkout()]) for _ in range(2)]

    first, second = capsys.readouterr().out.splitlines()
    assert codes == [DONE, DONE]
    assert first.startswith("shuffle done [")
    assert second == first.replace("done", "reused")


def test_a_missing_upstream_is_bad_input(checkout, capsys):
    code = main(["shuffle", *checkout()])

    captured = capsys.readouterr()
    assert code == BAD_INPUT
    assert captured.out == ""
    assert captured.err.startswith("tessera: shuffle needs the receipt of ingest")


def test_a_folder_without_settings_is_bad_input(tmp_path, capsys):
    code = main(["ingest", "--root", str(tmp_path)])

    assert code == BAD_INPUT
    assert "cannot read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("shuffle.sed=3", "shuffle.sed is not a setting. Did you mean 'seed'?"),
        ("pretrain.num_steps=many", "pretrain.num_steps is 'many' (str), expected int"),
        ("pretrain.num_steps=0", "pretrain.num_steps is 0, expected 1 or more"),
    ],
)
def test_bad_settings_are_bad_input_whichever_stage_is_asked_for(
    checkout, capsys, override, message
):
    code = main(["shuffle", *checkout(override)])

    assert code == BAD_INPUT
    assert message in capsys.readouterr().err


def test_scenes_that_are_not_there_are_bad_input(checkout, tmp_path, capsys):
    code = main(["ingest", *checkout("ingest.source=tiles", "ingest.path=nowhere")])

    assert code == BAD_INPUT
    assert str(tmp_path / "nowhere") in capsys.readouterr().err


def test_training_that_breaks_is_a_failure_of_the_tool(checkout, tmp_path, capsys):
    ingest_by_hand(tmp_path)
    root = checkout("pretrain.peak_lr=1.0e+30", "pretrain.warmup_share=0.0")
    main(["shuffle", *root])

    code = main(["pretrain", *root])

    assert code == FAILED
    assert "at step" in capsys.readouterr().err
    assert not (tmp_path / "data" / "receipts" / "pretrain.json").exists()


def test_a_gate_that_says_no_has_its_own_exit_code(checkout, tmp_path, capsys):
    ingest_by_hand(tmp_path)

    code = main(["quality", *checkout("quality.min_clear_median=300")])

    assert code == GATE_SAID_NO
    assert capsys.readouterr().err.startswith("tessera: ")
    assert (tmp_path / "data" / "quality").is_dir(), "the report says why"


@pytest.mark.parametrize("stage", ["shuffled", "register", "retrain", ""])
def test_other_words_than_stages_are_bad_usage(stage, capsys):
    with pytest.raises(SystemExit, match=str(BAD_INPUT)):
        main([stage])

    assert "invalid choice" in capsys.readouterr().err


def test_no_word_at_all_is_bad_usage(capsys):
    with pytest.raises(SystemExit, match=str(BAD_INPUT)):
        main([])

    assert "required: stage" in capsys.readouterr().err


def test_the_module_hands_its_exit_code_to_the_shell(repo, tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "tessera_core", "shuffle", "--root", str(tmp_path)],
        cwd=repo, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert result.returncode == BAD_INPUT
    assert result.stderr.startswith("tessera: cannot read")
    assert "Traceback" not in result.stderr


def test_help_loads_no_library_of_numbers(repo):
    script = (
        "import sys; sys.argv = ['tessera_core', '--help']\n"
        "import runpy\n"
        "try: runpy.run_module('tessera_core', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(sorted({'torch', 'numpy', 'pandas', 'pyarrow', 'yaml'} & sys.modules.keys()))\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=repo, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip

    assert "Run one stage" in result.stdout
    assert result.stdout.endswith("[]\n")
