"""``params.yaml`` to settings: strict, complete, and never silent about a misspelling."""

import copy
import dataclasses
import math
import subprocess
import sys

import pytest
import yaml

from tessera_core.config import PARAMS_NAME, PlatformConfig
from tessera_core.errors import ConfigError

OTHER_VALUES = {
    "evaluate.methods": "full",
    "evaluate.tasks": ["crop_type"],
    "evaluate.references": ["data/imported/one"],
    "evaluate.label_shares": [0.5, 1.0],
    "simulate.year": 2020,
    "ingest.source": "tiles", "ingest.year": 2020, "ingest.bbox": [4.0, 50.0, 5.0, 51.0],
    "ingest.offset_policy": "removed_upstream", "ingest.resampling": "nearest",
    "ingest.exclude": ["04.00"],
    "pretrain.objective": "vicreg", "pretrain.fake_quantise": True,
    "pretrain.teacher": "data/model", "pretrain.imported": "data/imported/a",
    "pretrain.micro_batch_size": 64, "pretrain.views": "disjoint", "pretrain.view_lengths": [8, 16],
    "pretrain.precision": "bfloat16", "pretrain.continue_from": "data/checkpoints/a",
    "pretrain.accept_changes": ["code"],
    "evaluate.labels": "data/labels", "evaluate.labels_per_class": [1, 5],
    "export.bfloat16": True, "audit.require_sources": False,
}  # fmt: skip
"""Where adding to the shipped value would leave its range."""


@pytest.fixture(scope="module")
def values(repo):
    return yaml.safe_load((repo / PARAMS_NAME).read_text("utf-8"))


@pytest.fixture
def changed(values):
    """A function that returns the shipped values with some changed, by dotted name."""

    def change(**updates):
        copied = copy.deepcopy(values)
        for name, value in updates.items():
            section, _, key = name.partition("__")
            copied[section][key] = value
        return copied

    return change


def build(values):
    return PlatformConfig.from_dict(values, "params.yaml")


def another(section, name, value):
    """A value of the same type that the setting accepts."""
    if (dotted := f"{section}.{name}") in OTHER_VALUES:
        return OTHER_VALUES[dotted]
    if isinstance(value, str):
        return f"{value}-2"
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return 2 * value if value else 1
    return value / 2 if value else 0.25


def test_the_shipped_params_load(repo):
    config = PlatformConfig.read(repo / PARAMS_NAME)

    assert config.pretrain.num_steps > 0
    assert config.ingest.bbox is None
    assert isinstance(config.evaluate.labels_per_class, tuple)


def test_what_was_read_is_what_stands_in_the_file(repo, values):
    config = PlatformConfig.read(repo / PARAMS_NAME)

    assert config.to_dict() == values
    assert config.section("audit") == values["audit"]


def test_settings_cannot_be_changed_after_reading(repo):
    config = PlatformConfig.read(repo / PARAMS_NAME)

    with pytest.raises(dataclasses.FrozenInstanceError):
        config.pretrain.num_steps = 3


def test_a_misspelt_setting_names_its_neighbour(changed):
    wrong = changed()
    wrong["pretrain"]["peek_lr"] = wrong["pretrain"].pop("peak_lr")

    with pytest.raises(
        ConfigError, match=r"params\.yaml: pretrain\.peek_lr is not a setting. Did you mean 'peak_"
    ):
        build(wrong)


def test_a_misspelt_section_names_its_neighbour(changed):
    wrong = changed()
    wrong["pretrian"] = wrong.pop("pretrain")

    with pytest.raises(ConfigError, match=r"pretrian is not a setting. Did you mean 'pretrain'"):
        build(wrong)


def test_a_setting_like_no_other_lists_the_known_ones(changed):
    with pytest.raises(ConfigError, match=r"audit\.zzz is not a setting\. Known: require_sources"):
        build(changed(audit__zzz=1))


def test_a_missing_setting_is_named(changed):
    wrong = changed()
    del wrong["shuffle"]["seed"]

    with pytest.raises(ConfigError, match=r"shuffle\.seed is missing; every setting has a value"):
        build(wrong)


def test_a_missing_section_is_named(changed):
    wrong = changed()
    del wrong["export"]

    with pytest.raises(ConfigError, match="export is missing"):
        build(wrong)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pretrain__num_steps", "400", r"pretrain\.num_steps is '400' \(str\), expected int"),
        ("pretrain__num_steps", 4.5, r"num_steps is 4\.5 \(float\), expected int"),
        ("pretrain__num_steps", True, r"num_steps is True \(bool\), expected int"),
        ("pretrain__num_steps", None, r"num_steps is None \(NoneType\), expected int"),
        ("pretrain__peak_lr", "fast", r"peak_lr is 'fast' \(str\), expected float"),
        ("pretrain__peak_lr", True, r"peak_lr is True \(bool\), expected float"),
        ("pretrain__peak_lr", "1e-3", r"'1e-3' \(str\), expected float; YAML wants .*1\.0e-3"),
        ("audit__require_sources", 1, r"require_sources is 1 \(int\), expected bool"),
        ("ingest__path", 5, r"ingest\.path is 5 \(int\), expected str"),
        ("ingest__year", "2022", r"ingest\.year is '2022' \(str\), expected int"),
        ("ingest__bbox", 3, r"ingest\.bbox is 3, expected a list"),
        ("ingest__bbox", [1, 2, 3], r"ingest\.bbox has 3 items, expected 4"),
        ("ingest__bbox", [1, 2, "x", 4], r"ingest\.bbox is 'x' \(str\), expected float"),
        ("evaluate__labels_per_class", [1, "five"], "labels_per_class is 'five'"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(changed, name, value, message):
    with pytest.raises(ConfigError, match=message):
        build(changed(**{name: value}))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["pretrain__peak_lr", "register__max_int8_loss"])
def test_a_number_that_is_not_finite_is_refused(changed, name, value):
    with pytest.raises(ConfigError, match=f"is {value}, expected a finite number"):
        build(changed(**{name: value}))


def test_a_whole_number_passes_as_a_float(changed):
    config = build(changed(pretrain__peak_lr=1))

    assert config.pretrain.peak_lr == 1.0
    assert isinstance(config.pretrain.peak_lr, float)
    assert config.digest == build(changed(pretrain__peak_lr=1.0)).digest


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pretrain__batch_size", 1, r"batch_size is 1; a correlation needs 2 or more"),
        ("pretrain__num_steps", 0, r"num_steps is 0, expected 1 or more"),
        ("pretrain__model_dim", 7, r"model_dim 7 must be even and divisible by num_heads"),
        ("pretrain__dropout", 1.0, r"dropout is 1\.0, expected 0\.\.1"),
        ("pretrain__peak_lr", 0.0, r"peak_lr is 0\.0, expected above 0"),
        ("pretrain__mix_weight", -1.0, r"mix_weight is -1\.0, expected 0 or more"),
        ("pretrain__objective", "vicrag", r"objective is 'vicrag'\. Did you mean 'vicreg'\?"),
        ("shuffle__val_share", 1.0, r"val_share 1\.0 and test_share .* must be"),
        ("evaluate__methods", "ful", r"evaluate\.methods is 'ful'\. Did you mean 'full'\?"),
        ("register__model_name", "a/b", r"model_name is 'a/b', expected letters"),
        ("register__model_name", "modèle", r"model_name is 'modèle', expected letters"),
        ("register__model_name", "m" * 129, r"expected letters .* 1 to 128 of them"),
        ("export__shard_size", 0, r"shard_size 0 must be a multiple"),
        ("register__max_int8_loss", -0.1, r"max_int8_loss is -0\.1, expected 0 or more"),
        ("ingest__exclude", ["a/b"], r"ingest\.exclude holds 'a/b', expected each scene id"),
        ("ingest__exclude", ["a", "a"], r"ingest\.exclude holds 'a', expected each .* once"),
        ("ingest__source", "stack", r"ingest\.source is 'stack'\. Did you mean 'stac'\?"),
    ],
)
def test_a_value_out_of_range_is_refused(changed, name, value, message):
    with pytest.raises(ConfigError, match=message):
        build(changed(**{name: value}))


def test_the_digest_changes_with_every_single_value(values, changed):
    digests = {"as shipped": build(values).digest}

    for section, settings in values.items():
        for name, value in settings.items():
            config = build(changed(**{f"{section}__{name}": another(section, name, value)}))
            digests[f"{section}.{name}"] = config.digest

    assert len(set(digests.values())) == len(digests) > 60


def test_the_digest_ignores_the_order_of_the_file(values):
    backwards = {
        section: dict(reversed(settings.items())) for section, settings in reversed(values.items())
    }

    assert build(backwards).digest == build(values).digest


def test_overrides_change_their_value_and_the_digest(repo):
    overrides = ("pretrain.num_steps=7", "ingest.bbox=[4, 50, 5, 51]", "evaluate.labels=labels")
    config = PlatformConfig.read(repo / PARAMS_NAME, overrides)

    assert config.pretrain.num_steps == 7
    assert config.ingest.bbox == (4.0, 50.0, 5.0, 51.0)
    assert config.evaluate.labels == "labels"
    assert config.digest != PlatformConfig.read(repo / PARAMS_NAME).digest


def test_an_override_with_the_shipped_value_changes_nothing(repo, values):
    shipped = values["pretrain"]["num_steps"]

    config = PlatformConfig.read(repo / PARAMS_NAME, [f"pretrain.num_steps={shipped}"])

    assert config.digest == PlatformConfig.read(repo / PARAMS_NAME).digest


def test_the_last_of_several_overrides_counts(repo):
    overrides = ["pretrain.num_steps=7", "pretrain.num_steps=8"]

    assert PlatformConfig.read(repo / PARAMS_NAME, overrides).pretrain.num_steps == 8


def test_an_override_may_hold_an_equals_sign_and_spaces(repo):
    config = PlatformConfig.read(repo / PARAMS_NAME, [" ingest.path = a=b "])

    assert config.ingest.path == "a=b"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pretrain.num_steps", r"--set 'pretrain\.num_steps' is not of the form section"),
        ("num_steps=3", r"is not of the form section\.name=value"),
        ("pretrian.num_steps=3", "pretrian is not a section. Did you mean 'pretrain'"),
        ("pretrain.num_step=3", r"pretrain\.num_step is not a setting. Did you mean 'num_steps'"),
        ("pretrain.num_steps=many", r"num_steps is 'many' \(str\), expected int"),
        ("pretrain.num_steps=", r"num_steps is None \(NoneType\), expected int"),
        ("pretrain.num_steps=[1", "the value is not YAML"),
        ("pretrain.num_steps=0", "num_steps is 0, expected 1 or more"),
    ],
)
def test_a_bad_override_is_refused(repo, override, message):
    with pytest.raises(ConfigError, match=message):
        PlatformConfig.read(repo / PARAMS_NAME, [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "is not YAML"),
        ("- a\n- b\n", "holds list, expected names with values"),
        ("", "holds nothing, expected names with values"),
        ("a: &a [*a]\n", r"has the alias \*a; write the value out"),
        ("a: " + "[" * 3000, "nested more than 16 levels deep"),
        ("a: 2020-99-99\n", "is not YAML: month must be in"),
        ("pretrain: 3\n", r"pretrain\. is not a section: 3|is missing"),
        ("pretrain: !!python/object:os.system {}\n", "is not YAML"),
    ],
    ids=["broken", "list", "empty", "alias", "deep", "date", "scalar", "code"],
)
def test_a_file_that_is_no_settings_is_refused(tmp_path, text, message):
    path = tmp_path / PARAMS_NAME
    path.write_text(text)

    with pytest.raises(ConfigError, match=message):
        PlatformConfig.read(path)


def test_an_override_into_an_empty_section_is_refused(tmp_path, repo):
    path = tmp_path / PARAMS_NAME
    lines = (repo / PARAMS_NAME).read_text("utf-8").partition("audit:")[0]
    path.write_text(f"{lines}audit:\n")

    with pytest.raises(ConfigError, match=r"audit is not a section: None"):
        PlatformConfig.read(path, ["audit.require_sources=true"])


def test_a_missing_file_says_how_to_name_a_checkout(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*params\.yaml: No such file.*--root"):
        PlatformConfig.read(tmp_path / PARAMS_NAME)


def test_reading_settings_loads_no_heavy_library(repo):
    script = (
        "import sys; from pathlib import Path; from tessera_core.config import PlatformConfig;"
        f"PlatformConfig.read(Path({str(repo / PARAMS_NAME)!r}));"
        "print(sorted({'torch', 'pandas', 'pyarrow', 'sklearn', 'mlflow', 'prefect', 'rasterio'}"
        " & sys.modules.keys()))"
    )

    result = subprocess.run(
        [sys.executable, "-c", script], cwd=repo, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip

    assert result.stdout == "[]\n"
