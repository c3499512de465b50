"""What a sweep tries, and what it refuses before anything runs."""

from pathlib import Path

import pytest

from flows.services.sweep_grid import Trial, parse_grid, plan_sweep, split_values
from flows.settings import Settings
from tessera_core.errors import ConfigError, InputError


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what activating settings writes."""
    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), "")


def test_the_trials_are_the_product_of_the_grid_in_its_order(root: Path) -> None:
    plan = plan_sweep(root, ["pretrain.peak_lr=0.005,0.02", "pretrain.seed=1,2"])

    assert [trial.label for trial in plan.trials] == [
        "peak_lr=0.005 seed=1", "peak_lr=0.005 seed=2", "peak_lr=0.02 seed=1", "peak_lr=0.02 seed=2"
    ]  # fmt: skip
    assert plan.trials[0].overrides == ["pretrain.peak_lr=0.005", "pretrain.seed=1"]
    assert plan.base.paths.workspace == root


def test_the_key_knows_base_and_grid_but_no_order(root: Path) -> None:
    grid = ["pretrain.peak_lr=0.005,0.02", "pretrain.seed=1,2"]
    turned = ["pretrain.seed=2,1", "pretrain.peak_lr=0.02,0.005"]

    key = plan_sweep(root, grid).key

    assert key == plan_sweep(root, turned).key
    assert key != plan_sweep(root, grid[:1]).key
    assert key != plan_sweep(root, grid, ["pretrain.num_steps=7"]).key


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2", ("1", "2")),
        ("1.0e-3, 5.0e-3", ("1.0e-3", "5.0e-3")),
        ("null,data/imported/a", ("null", "data/imported/a")),
        ("[1, 2],[3]", ("[1, 2]", "[3]")),
        ("'a,b',c", ("'a,b'", "c")),
        ("7", ("7",)),
        ("", ()),
    ],
)
def test_values_stand_between_commas_and_stay_as_written(text: str, values: tuple) -> None:
    assert split_values(text) == values


@pytest.mark.parametrize("section", ["ingest", "shuffle", "evaluate", "simulate"])
def test_another_section_cannot_be_swept_and_the_reason_is_said(section: str) -> None:
    with pytest.raises(InputError, match=r"only pretrain\.\* can be swept.*share their data"):
        parse_grid([f"{section}.seed=1,2"])


@pytest.mark.parametrize("axis", ["pretrain.seed", "pretrain.seed=", "seed=1,2", "pretrain.=1"])
def test_what_is_no_grid_is_refused(axis: str) -> None:
    with pytest.raises(InputError, match="not of the form"):
        parse_grid([axis])


def test_a_bracket_that_stays_open_is_refused() -> None:
    with pytest.raises(InputError, match="not a list of values"):
        parse_grid(["pretrain.seed=[1,2"])


def test_no_grid_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="a sweep needs a grid"):
        parse_grid([])


def test_a_setting_stands_in_one_place_only(root: Path) -> None:
    with pytest.raises(InputError, match=r"names pretrain\.seed twice"):
        plan_sweep(root, ["pretrain.seed=1", "pretrain.seed=2"])
    with pytest.raises(InputError, match=r"pretrain\.seed stands in --grid and in --set"):
        plan_sweep(root, ["pretrain.seed=1,2"], ["pretrain.seed=3"])


def test_one_trial_under_two_spellings_is_refused(root: Path) -> None:
    with pytest.raises(InputError, match=r"one trial twice: peak_lr=0\.02, peak_lr=0\.020"):
        plan_sweep(root, ["pretrain.peak_lr=0.02,0.020"])


def test_a_misspelt_setting_is_refused_with_its_neighbour(root: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'peak_lr'"):
        plan_sweep(root, ["pretrain.peek_lr=1,2"])


def test_one_bad_value_refuses_its_trials_and_not_the_sweep(root: Path) -> None:
    plan = plan_sweep(root, ["pretrain.peak_lr=0.02,-1", "pretrain.seed=1,2"])

    assert [bool(trial.refusal) for trial in plan.trials] == [False, False, True, True]
    assert "expected above 0" in plan.trials[-1].refusal


def test_without_probe_trials_cannot_be_compared(root: Path) -> None:
    with pytest.raises(InputError, match=r"pretrain\.probe_every is 0 for seed=1"):
        plan_sweep(root, ["pretrain.seed=1,2"], ["pretrain.probe_every=0"])


def test_a_trial_shares_the_data_of_its_base_first_and_of_the_checkout_next(root: Path) -> None:
    from flows.context import load_context

    base = load_context(root, ["shuffle.seed=1"])
    trial = load_context(root, ["shuffle.seed=1", "pretrain.seed=5"], ["shuffle.seed=1"])

    assert [lender.workspace for lender in trial.lenders] == [base.paths.workspace, root]
    assert [lender.workspace for lender in base.lenders] == [root]
    assert load_context(root).lenders == ()


def test_a_label_leaves_out_the_section() -> None:
    values = {"pretrain.seed": "1", "pretrain.objective": "vicreg"}

    assert Trial(values=values, refusal="").label == "seed=1 objective=vicreg"
