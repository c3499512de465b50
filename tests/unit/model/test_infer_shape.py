"""Shapes of released checkpoints: from tensors, from the file's own notes, from the caller."""

from dataclasses import replace

import pytest
import torch

from tessera_core.domain.sampling import BUCKETS
from tessera_core.errors import ArtifactError
from tessera_core.model.checkpoint import read_checkpoint
from tessera_core.model.family import Family
from tessera_core.model.releases import RELEASES
from tessera_core.testing.checkpoints import (
    S1_SENSOR,
    S2_SENSOR,
    released_content,
    stated_heads,
    tiny_release,
)

QK_STUDENT = tiny_release(Family.V2_STUDENT, qk_norm=True)
STUDENT = tiny_release(Family.V2_STUDENT)
NOTES_KEYS = ("config", "args", "arch")


@pytest.fixture
def infer(tmp_path):
    """The config of a miniature whose file says this of itself; None takes a note away."""

    def read(config, stated=None, key="args", **notes):
        content = released_content(config, seed=1)
        own = next((name for name in NOTES_KEYS if name in content), key)
        about = {**content.get(own, {}), **notes}
        content[own] = {name: value for name, value in about.items() if value is not None}
        torch.save(content, tmp_path / "released.pt")
        found = read_checkpoint(tmp_path / "released.pt", Family(config.family), stated)
        return found.config

    return read


def heads(config):
    return config.encoder.s2.num_heads, config.encoder.s1.num_heads


@pytest.mark.parametrize("config", [QK_STUDENT, tiny_release(Family.V2_TEACHER)], ids=str)
def test_qk_norm_leaves_the_number_of_heads_in_the_tensors(config, infer):
    assert heads(infer(config)) == (S2_SENSOR.num_heads, S1_SENSOR.num_heads) == (2, 4)


def test_tensors_weigh_more_than_what_a_file_says_of_itself(infer):
    assert heads(infer(QK_STUDENT, nhead=8)) == (2, 4)


def test_args_tell_the_number_of_heads_of_a_student(infer):
    assert heads(infer(STUDENT, nhead=8)) == (8, 8)


def test_a_config_tells_the_number_of_heads_of_each_sensor(infer):
    assert heads(infer(tiny_release(Family.V1_1_MPC))) == (2, 4)
    assert heads(infer(tiny_release(Family.V1_1_MPC), s1_num_heads=8)) == (2, 8)


def test_what_neither_tells_is_as_the_caller_states(infer):
    config = tiny_release(Family.V1_0_EARLY)

    assert heads(infer(config, {"num_heads": 4})) == (4, 4)
    assert heads(infer(config, {"num_heads": 4, "s1_num_heads": 2})) == (4, 2)
    assert heads(infer(config, {"s2_num_heads": 1})) == (1, 8)


def test_without_a_word_from_anyone_it_is_the_releases(infer):
    assert heads(infer(tiny_release(Family.V1_0_EARLY))) == (8, 8)
    assert heads(infer(STUDENT)) == (4, 4)


def test_sizes_come_from_the_tensors(infer):
    config = infer(STUDENT, stated_heads(STUDENT))

    assert config.encoder == STUDENT.encoder
    assert (config.encoder.s2, config.encoder.s1) == (S2_SENSOR, S1_SENSOR)
    assert config.encoder.model_dim == 16


@pytest.mark.parametrize(
    ("config", "stated", "message"),
    [
        (STUDENT, {"model_dim": 32}, r"model_dim=32 contradicts .*, whose model_dim is 16"),
        (STUDENT, {"embedding_dim": 64}, "whose embedding_dim is 128"),
        (STUDENT, {"num_layers": 2}, "num_layers=2 contradicts .*, whose s1 num_layers is 1"),
        (STUDENT, {"s2_num_layers": 1}, "num_layers=1 contradicts .*, whose s2 num_layers is 2"),
        (STUDENT, {"s1_feedforward_dim": 24}, "whose s1 feedforward_dim is 20"),
        (QK_STUDENT, {"num_heads": 4}, "num_heads=4 contradicts .*, whose s2 num_heads is 2"),
        (tiny_release(Family.V1_1_AWS), {"s1_num_heads": 2}, "whose s1 num_heads is 4"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_stated_shape_that_contradicts_the_file_is_refused(config, stated, message, infer):
    with pytest.raises(ArtifactError, match=message):
        infer(config, stated)


def test_a_stated_shape_that_agrees_with_the_file_is_taken(infer):
    stated = {"model_dim": 16, "s2_num_layers": 2, "s1_feedforward_dim": 20, "s2_num_heads": 2}

    assert infer(QK_STUDENT, stated) == QK_STUDENT


@pytest.mark.parametrize(
    ("name", "hint"),
    [("num_head", "'num_heads'"), ("s2_layers", "'s2_num_layers'"), ("qq", "Known: .*num_heads")],
)
def test_an_unknown_shape_is_refused_with_a_hint(name, hint, infer):
    with pytest.raises(ArtifactError, match=f"--shape {name} is no shape. .*{hint}"):
        infer(STUDENT, {name: 4})


@pytest.mark.parametrize("num_heads", [0, 3])
def test_a_number_of_heads_that_no_layer_can_have_is_refused(num_heads, infer):
    with pytest.raises(ArtifactError, match="num_heads"):
        infer(STUDENT, {"num_heads": num_heads})


@pytest.mark.parametrize(
    ("switch", "value"),
    [
        ("fusion_method", "sum"),
        ("use_s2", False),
        ("use_s1", False),
        ("split_s1_modalities", True),
        ("disable_s1_ascending", True),
    ],
)
@pytest.mark.parametrize("family", [Family.V1_1_MPC, Family.V1_1_AWS])
def test_a_switch_of_v1_1_whose_function_is_unknown_is_refused(family, switch, value, infer):
    with pytest.raises(ArtifactError, match=f"says {switch} = {value!r}; only .* is known"):
        infer(tiny_release(family), **{switch: value})


def test_the_switches_of_the_released_v1_1_are_taken(infer):
    config = tiny_release(Family.V1_1_MPC)
    switches = {"fusion_method": "concat", "use_s2": True, "use_s1": True}

    assert infer(config, **switches, split_s1_modalities=False) == config


def test_a_teacher_without_its_last_norm_says_so(infer):
    teacher = tiny_release(Family.V2_TEACHER)

    assert infer(teacher).encoder.final_norm
    assert not infer(teacher, final_layernorm=False).encoder.final_norm


@pytest.mark.parametrize("dims", ["16,32,128", [16, 32, 128]], ids=["text", "list"])
def test_a_student_says_which_prefixes_it_was_trained_for(dims, infer):
    assert infer(STUDENT, matryoshka_dims=dims).output.dims == (16, 32, 128)
    assert infer(STUDENT, matryoshka_dims=None).output.dims == (16, 32, 64, 128)


def test_v1_1_says_how_much_it_publishes_and_how_it_counts(infer):
    config = tiny_release(Family.V1_1_MPC)
    coarse = infer(config, save_embedding_dim=64, num_obs_checkpoints=[8, 32, 256])

    assert (coarse.output.dim, coarse.output.dims) == (64, (64, 128, 192))
    assert coarse.sampling.lengths == (8, 32, 256)
    assert infer(config, save_embedding_dim=None).output == RELEASES[Family.V1_1_MPC].output
    assert infer(config).sampling.lengths == BUCKETS


def test_v1_0_may_draw_another_number_of_observations(infer):
    config = tiny_release(Family.V1_0_QAT)
    stated = stated_heads(config)

    found = infer(config, {**stated, "sampling_length": 20})

    assert found == replace(config, sampling=replace(config.sampling, lengths=(20,)))
    with pytest.raises(ArtifactError, match=r"released\.pt: sampling lengths are \(0,\)"):
        infer(config, {**stated, "sampling_length": 0})


@pytest.mark.parametrize("family", [Family.V1_1_MPC, Family.V2_STUDENT, Family.V2_TEACHER])
def test_a_model_that_takes_all_observations_has_no_number_to_state(family, infer):
    with pytest.raises(ArtifactError, match=r"sampling_length: .* takes all observations"):
        infer(tiny_release(family), {"sampling_length": 20})


@pytest.mark.parametrize(
    ("family", "width"),
    [
        (Family.V2_STUDENT, 50),
        (Family.V2_STUDENT, 129),
        (Family.V1_1_AWS, 64),
        (Family.V1_1_MPC, 0),
    ],
)
def test_a_stated_width_that_the_release_does_not_order_is_refused(family, width, infer):
    config = tiny_release(family)

    with pytest.raises(ArtifactError, match=f"output_dim={width} would cut .* one of .*128"):
        infer(config, {"output_dim": width})


@pytest.mark.parametrize("family", [Family.V1_0_EARLY, Family.V2_TEACHER])
def test_a_release_that_orders_nothing_is_not_cut(family, infer):
    with pytest.raises(ArtifactError, match="output_dim"):
        infer(tiny_release(family), {"output_dim": 6})


@pytest.mark.parametrize(("family", "width"), [(Family.V2_STUDENT, 32), (Family.V1_1_MPC, 192)])
def test_another_width_that_the_release_orders_may_be_published(family, width, infer):
    config = tiny_release(family)

    found = infer(config, {**stated_heads(config), "output_dim": width})

    assert found == replace(config, output=replace(config.output, dim=width))


@pytest.mark.parametrize(
    ("family", "notes", "message"),
    [
        (Family.V2_STUDENT, {"nhead": "four"}, "says nhead = 'four', expected a whole number"),
        (Family.V2_STUDENT, {"nhead": 2.5}, "says nhead = 2.5, expected a whole number"),
        (Family.V2_STUDENT, {"nhead": True}, "says nhead = True, expected a whole number"),
        (Family.V2_STUDENT, {"matryoshka_dims": "a,b"}, "says matryoshka_dims = 'a,b', expected"),
        (Family.V2_STUDENT, {"matryoshka_dims": "-16,32"}, "says matryoshka_dims = '-16,32'"),
        (Family.V2_STUDENT, {"matryoshka_dims": [0, 32]}, "widths .0, 32, 128. do not fit"),
        (Family.V2_STUDENT, {"matryoshka_dims": [1.5]}, "says matryoshka_dims = 1.5, expected"),
        (Family.V1_1_MPC, {"s2_num_heads": "x"}, "says s2_num_heads = 'x'"),
        (Family.V1_1_MPC, {"save_embedding_dim": "x"}, "says save_embedding_dim = 'x'"),
        (Family.V1_1_MPC, {"save_embedding_dim": 500}, r"500 is outside 1\.\.192"),
        (Family.V1_1_MPC, {"num_obs_checkpoints": 8}, "says num_obs_checkpoints = 8, expected"),
        (Family.V1_1_MPC, {"num_obs_checkpoints": [16, 8]}, "expected rising lengths above 0"),
        (Family.V1_1_MPC, {"num_obs_checkpoints": []}, "expected rising lengths above 0"),
    ],
    ids=str,
)
def test_a_file_that_says_senseless_things_of_itself_is_refused(family, notes, message, infer):
    with pytest.raises(ArtifactError, match=message):
        infer(tiny_release(family), **notes)


def test_a_norm_of_queries_without_values_is_refused(tmp_path):
    content = released_content(QK_STUDENT, seed=1)
    content["model"]["s2_backbone.transformer_encoder.0.q_norm.weight"] = torch.zeros(0)
    torch.save(content, tmp_path / "released.pt")

    with pytest.raises(ArtifactError, match=r"q_norm\.weight has shape \(0,\)"):
        read_checkpoint(tmp_path / "released.pt", Family.V2_STUDENT)
