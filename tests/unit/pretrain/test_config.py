"""Settings of training: every value that cannot work is refused, and the setting is named."""

import pytest

from tessera_core.errors import ConfigError
from tessera_core.testing.models import tiny_settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "barlow"}, r"pretrain\.objective is 'barlow'\. Did you mean 'barlow_twins'"),
        ({"views": "disjunct"}, r"pretrain\.views is 'disjunct'\. Did you mean 'disjoint'\?"),
        ({"precision": "float16"}, r"pretrain\.precision is 'float16'\. Did you mean '.*float16'"),
        ({"num_steps": 0}, r"pretrain\.num_steps is 0, expected 1 or more"),
        ({"num_ranks": 0}, r"pretrain\.num_ranks is 0, expected 1 or more"),
        ({"num_threads": 0}, r"pretrain\.num_threads is 0, expected 1 or more"),
        ({"log_every": 0}, r"pretrain\.log_every is 0, expected 1 or more"),
        ({"save_every": 0}, r"pretrain\.save_every is 0, expected 1 or more"),
        ({"projector_layers": 0}, r"pretrain\.projector_layers is 0, expected 1 or more"),
        ({"num_loaders": -1}, r"pretrain\.num_loaders is -1, expected 0 or more"),
        ({"probe_every": -1}, r"pretrain\.probe_every is -1, expected 0 or more"),
        ({"mix_weight": -0.1}, r"pretrain\.mix_weight is -0\.1, expected 0 or more"),
        ({"peak_lr": 0.0}, r"pretrain\.peak_lr is 0\.0, expected above 0"),
        ({"max_grad_norm": -1.0}, r"pretrain\.max_grad_norm is -1\.0, expected above 0"),
        ({"batch_size": 1}, r"pretrain\.batch_size is 1; a correlation needs 2 or more"),
        ({"seed": -1}, r"pretrain\.seed is -1, expected 0 or more"),
        ({"batch_size": 16, "num_ranks": 3}, r"pretrain\.batch_size is 16, which 3 ranks cannot"),
        ({"view_lengths": ()}, r"pretrain\.view_lengths is \[\], expected lengths of 1 or more"),
        ({"view_lengths": (8, 0)}, r"pretrain\.view_lengths is \[8, 0\], expected lengths of 1"),
        ({"modality_dropout": 1.0}, r"pretrain\.modality_dropout is 1\.0, expected 0\.\.1"),
        ({"modality_dropout": -0.1}, r"pretrain\.modality_dropout is -0\.1, expected 0\.\.1"),
        ({"dropout": 1.0}, r"pretrain\.dropout is 1\.0, expected 0\.\.1"),
        ({"model_dim": 18, "num_heads": 4}, r"pretrain\.model_dim 18 must be .* num_heads 4"),
        ({"model_dim": 9, "num_heads": 3}, r"pretrain\.model_dim 9 must be even"),
        ({"micro_batch_size": 0}, r"pretrain\.micro_batch_size is 0, expected 1 or more"),
        (
            {"micro_batch_size": 4, "shard": True, "num_ranks": 2},
            r"pretrain\.micro_batch_size is 4, .*null with pretrain\.shard",
        ),
        (
            {"accept_changes": ("batch_sizes",)},
            r"pretrain\.accept_changes names 'batch_sizes'\. Did you mean 'batch_size'\?",
        ),
        ({"teacher": "a", "imported": "b"}, r"pretrain\.teacher and pretrain\.imported are both"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_value_that_cannot_work_is_refused_with_its_name(changes, message):
    with pytest.raises(ConfigError, match=message):
        tiny_settings(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_loaders": 0, "probe_every": 0, "mix_weight": 0.0, "modality_dropout": 0.0},
        {"views": "disjoint", "precision": "bfloat16", "reshuffle": False},
        {"view_lengths": (8, 16, 40), "modality_dropout": 0.99},
        {"micro_batch_size": 1},
        {"micro_batch_size": 1000},
        {"batch_size": 16, "num_ranks": 4, "shard": True},
        {"num_ranks": 1, "shard": True},
        {"batch_size": 16, "num_ranks": 4, "micro_batch_size": 2},
        {"accept_changes": ("peak_lr", "shards", "code", "teacher"), "continue_from": "elsewhere"},
    ],
    ids=str,
)
def test_values_at_the_edges_pass(changes):
    settings = tiny_settings(**changes)

    assert {name: getattr(settings, name) for name in changes} == changes


@pytest.mark.parametrize("name", ["peak_lr", "dropout", "weight_decay", "modality_dropout"])
def test_a_number_that_is_none_is_refused_with_its_name(name):
    with pytest.raises(ConfigError, match=rf"pretrain\.{name} is nan"):
        tiny_settings(**{name: float("nan")})
