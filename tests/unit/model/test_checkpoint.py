"""Released checkpoints: read whole under their authors' names, or refused with the reason."""

import contextlib
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from tessera_core.errors import ArtifactError
from tessera_core.model.checkpoint import CONTAINERS, read_checkpoint, source_names
from tessera_core.model.family import Family
from tessera_core.testing.checkpoints import released_content, stated_heads, tiny_release
from tessera_core.testing.models import tiny_encoder

KINDS = [
    pytest.param((family, qk_norm), id=f"{family}{' with QK-norm' if qk_norm else ''}")
    for family in Family
    for qk_norm in ((None, True) if family is Family.V2_STUDENT else (None,))
]
by_kind = pytest.mark.parametrize("kind", KINDS)
by_family = pytest.mark.parametrize("family", list(Family))
BIAS = "dim_reducer.0.bias"
QUERY = "s1_backbone.attn_pool.query.weight"


def config_of(kind):
    family, qk_norm = kind
    return tiny_release(family, qk_norm=qk_norm)


def save(folder, config, change=None, **how):
    """A checkpoint file, after ``change`` had its way with the weights."""
    content = released_content(config, seed=1, **how)
    if change is not None:
        change(content[CONTAINERS[Family(config.family)][0]])
    torch.save(content, folder / "released.pt")
    return folder / "released.pt"


def read(path, config):
    return read_checkpoint(path, Family(config.family), stated_heads(config))


def require_equal_weights(encoder, expected):
    """Every tensor in its place, bit by bit; nothing more."""
    found = encoder.state_dict()
    assert found.keys() == expected.state_dict().keys()
    for name, value in expected.state_dict().items():
        assert torch.equal(found[name], value), name


class TouchWhenUnpickled:
    """Leaves a file behind if anything ever unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@by_kind
def test_a_checkpoint_gives_its_weights_and_shape(kind, tmp_path):
    config = config_of(kind)

    found = read(save(tmp_path, config), config)

    require_equal_weights(found.encoder, tiny_encoder(1, config.encoder))
    assert found.config == config
    assert not found.encoder.training
    assert not any(value.requires_grad for value in found.encoder.parameters())


@pytest.mark.parametrize(
    ("family", "qk_norm", "ours", "theirs"),
    [
        (Family.V2_STUDENT, False, "s2.layers.1.in_proj_weight",
         ["s2_backbone.transformer_encoder.layers.1.self_attn.in_proj_weight"]),
        (Family.V1_0_EARLY, False, "s1.layers.0.out_proj.bias",
         ["s1_backbone.transformer_encoder.layers.0.self_attn.out_proj.bias"]),
        (Family.V1_1_MPC, False, "s1.layers.0.norm1.bias",
         ["s1_backbone.transformer_encoder.layers.0.norm1.bias"]),
        (Family.V2_STUDENT, True, "s2.layers.1.in_proj_weight",
         [f"s2_backbone.transformer_encoder.1.{part}_proj.weight" for part in "qkv"]),
        (Family.V2_STUDENT, True, "s1.layers.0.out_proj.weight",
         ["s1_backbone.transformer_encoder.0.out_proj.weight"]),
        (Family.V2_TEACHER, True, "s2.layers.1.in_proj_bias",
         [f"s2_backbone.transformer_encoder.layers.1.{part}_proj.bias" for part in "qkv"]),
        (Family.V2_TEACHER, True, "s2.layers.1.k_norm.weight",
         ["s2_backbone.transformer_encoder.layers.1.k_norm.weight"]),
        (Family.V2_TEACHER, True, "fusion.layers.0.in_proj_weight",
         [f"fusion_transformer.layers.0.{part}_proj.weight" for part in "qkv"]),
        (Family.V2_TEACHER, True, "fusion.modality", ["fusion_modality_embed"]),
        (Family.V1_0_EARLY, False, "s2.pool.gru.bias_hh_l0",
         ["s2_backbone.attn_pool.temporal_context.bias_hh_l0"]),
        (Family.V1_0_QAT, False, "s2.pool.input.weight",
         [f"s2_backbone.attn_pool.temporal_context.gru_cell.W_i{gate}.weight" for gate in "rzh"]),
        (Family.V1_1_AWS, False, "s1.pool.input.bias",
         [f"s1_backbone.attn_pool.temporal_context.gru_cell.b_{gate}" for gate in "rzh"]),
        (Family.V1_1_AWS, False, "s1.pool.recurrent_gates.weight",
         [f"s1_backbone.attn_pool.temporal_context.gru_cell.W_h{gate}.weight" for gate in "rz"]),
        (Family.V1_1_AWS, False, "s1.pool.recurrent_new.weight",
         ["s1_backbone.attn_pool.temporal_context.gru_cell.W_hh.weight"]),
        (Family.V1_1_AWS, False, "s1.pool.norm.bias", ["s1_backbone.attn_pool.layer_norm.bias"]),
        (Family.V1_0_QAT, False, "reducer.weight", ["dim_reducer.0.weight"]),
        (Family.V1_1_AWS, False, "reducer.1.bias", ["dim_reducer.1.bias"]),
        (Family.V1_1_AWS, False, "reducer.4.weight", ["dim_reducer.4.weight"]),
    ],
)  # fmt: skip
def test_our_weights_are_called_as_their_authors_call_them(family, qk_norm, ours, theirs):
    config = tiny_release(family, qk_norm=qk_norm)

    assert ours in tiny_encoder(1, config.encoder).state_dict()
    assert list(source_names(ours, config.encoder, family)) == theirs


@by_kind
@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod."])
def test_wrappers_and_training_only_tensors_are_left_out(kind, prefix, tmp_path):
    config = config_of(kind)
    projectors = {
        "projector.layers.0.weight": torch.full((3, 3), float("nan")),
        "segmented_matryoshka_projector.heads.0.bias": torch.zeros(2, dtype=torch.int64),
    }

    found = read(save(tmp_path, config, prefix=prefix, extra=projectors), config)

    require_equal_weights(found.encoder, tiny_encoder(1, config.encoder))


def test_a_wrapper_inside_a_name_is_left_out(tmp_path):
    config = tiny_release(Family.V1_0_QAT)

    def wrap_one(weights):
        weights["s2_backbone._orig_mod.attn_pool.query.bias"] = weights.pop(
            "s2_backbone.attn_pool.query.bias"
        )

    found = read(save(tmp_path, config, wrap_one), config)

    require_equal_weights(found.encoder, tiny_encoder(1, config.encoder))


@pytest.mark.parametrize("family", [Family.V1_0_EARLY, Family.V1_0_QAT, Family.V1_1_MPC])
def test_the_second_name_of_the_container_is_read_too(family, tmp_path):
    config = tiny_release(family)
    content = released_content(config, seed=1)
    content["model_state_dict"] = content.pop("model_state")
    torch.save(content | {"epoch": 3}, tmp_path / "released.pt")

    found = read(tmp_path / "released.pt", config)

    require_equal_weights(found.encoder, tiny_encoder(1, config.encoder))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_width_become_float32(dtype, tmp_path):
    config = tiny_release(Family.V2_STUDENT)

    def narrow(weights):
        weights.update({name: value.to(dtype) for name, value in weights.items()})

    found = read(save(tmp_path, config, narrow), config)

    expected = tiny_encoder(1, config.encoder).to(dtype).float()
    require_equal_weights(found.encoder, expected)
    assert {value.dtype for value in found.encoder.parameters()} == {torch.float32}


@by_kind
def test_every_fault_of_the_tensors_is_named_at_once(kind, tmp_path):
    config = config_of(kind)

    def break_five_ways(weights):
        del weights[QUERY]
        weights["s2_backbone.spare.weight"] = torch.zeros(2)
        weights["s1_backbone.embedding.2.bias"] = torch.zeros(3)
        weights["s2_backbone.embedding.2.bias"][1] = float("nan")
        weights[BIAS] = weights[BIAS].long()

    with pytest.raises(ArtifactError) as caught:
        read(save(tmp_path, config, break_five_ways), config)

    message = str(caught.value)
    assert str(tmp_path / "released.pt") in message
    for part in (
        f"missing {QUERY}",
        "extra s2_backbone.spare.weight",
        "s1_backbone.embedding.2.bias has shape (3,), expected (16,)",
        "s2_backbone.embedding.2.bias holds NaN or infinity",
        f"{BIAS} is torch.strided torch.int64",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.full((12,), float("inf")), "holds NaN or infinity"),
        (torch.full((12,), 1e300, dtype=torch.float64), "holds NaN or infinity"),
        (torch.zeros(12, dtype=torch.int8), "int8 on cpu, expected dense floating point"),
        (torch.zeros(12, dtype=torch.complex64), "complex64 on cpu, expected dense"),
        (torch.zeros(12).to(torch.float8_e4m3fn), "float8_e4m3fn on cpu, expected dense"),
        (torch.zeros(12).to_sparse(), "sparse_coo torch.float32 on cpu, expected dense"),
        (torch.zeros(12, device="meta"), "float32 on meta, expected dense"),
        (torch.zeros(12, 1), r"has shape \(12, 1\), expected \(12,\)"),
    ],
    ids=["infinity", "too large", "integer", "complex", "8 bits", "sparse", "meta", "shape"],
)
def test_a_tensor_that_is_no_weight_is_refused_by_name(value, message, tmp_path):
    config = tiny_release(Family.V1_0_QAT)

    with pytest.raises(
        ArtifactError, match=f"{BIAS} (is|holds|has) ?.*{message.split(' ', 1)[-1]}"
    ):
        read(save(tmp_path, config, lambda weights: weights.update({BIAS: value})), config)


def test_a_long_list_of_faults_is_cut(tmp_path):
    config = tiny_release(Family.V1_0_QAT)
    extra = {f"spare.{number}": torch.zeros(1) for number in range(20)}

    with pytest.raises(ArtifactError, match=r"extra spare\.0; .*; and 8 more") as caught:
        read(save(tmp_path, config, extra=extra), config)

    assert "spare.9" not in str(caught.value)


def test_a_name_that_holds_no_tensor_is_refused(tmp_path):
    config = tiny_release(Family.V1_0_QAT)

    with pytest.raises(ArtifactError, match=r"dim_reducer\.0\.bias is no tensor"):
        read(save(tmp_path, config, lambda weights: weights.update({BIAS: None})), config)


def test_a_name_that_is_there_twice_is_refused(tmp_path):
    config = tiny_release(Family.V1_0_QAT)

    with pytest.raises(ArtifactError, match=r"_orig_mod\.dim_reducer\.0\.bias is .*there twice"):
        read(save(tmp_path, config, extra={f"_orig_mod.{BIAS}": torch.zeros(12)}), config)


@by_family
def test_weights_of_another_family_are_refused_and_the_right_one_is_named(family, tmp_path):
    content = released_content(tiny_release(family), seed=1)
    weights = content[CONTAINERS[family][0]]
    is_v1_1 = family in (Family.V1_1_MPC, Family.V1_1_AWS)
    own = "v1.1-aws or v1.1-mpc" if is_v1_1 else str(family)

    for other in Family:
        if other is family or (is_v1_1 and other in (Family.V1_1_MPC, Family.V1_1_AWS)):
            continue
        torch.save({CONTAINERS[other][0]: weights}, tmp_path / "released.pt")
        with pytest.raises(ArtifactError, match=f"no {other} checkpoint: .* those of {own}"):
            read_checkpoint(tmp_path / "released.pt", other)


@by_family
def test_the_container_of_another_family_is_refused(family, tmp_path):
    config = tiny_release(family)
    path = save(tmp_path, config)

    for other in Family:
        if CONTAINERS[other] != CONTAINERS[family]:
            expected = " or ".join(CONTAINERS[other])
            with pytest.raises(
                ArtifactError,
                match=f"no {other} .* under {expected}, found .*{CONTAINERS[family][0]}",
            ):
                read_checkpoint(path, other)


def test_a_bare_state_dict_is_refused(tmp_path):
    content = released_content(tiny_release(Family.V2_STUDENT), seed=1)
    torch.save(content["model"], tmp_path / "released.pt")

    with pytest.raises(ArtifactError, match="expected its weights under model, found dim_reducer"):
        read_checkpoint(tmp_path / "released.pt", Family.V2_STUDENT)


def test_a_file_that_lacks_one_of_its_layers_is_refused(tmp_path):
    config = tiny_release(Family.V1_0_EARLY)

    def drop_first(weights):
        for name in [name for name in weights if "s2_" in name and ".layers.0." in name]:
            del weights[name]

    with pytest.raises(ArtifactError, match=r"missing s2_backbone\.transformer_encoder\.layers\.0"):
        read(save(tmp_path, config, drop_first), config)


@pytest.mark.parametrize("name", ["s2_backbone.embedding.0.weight", "dim_reducer.4.weight"])
def test_a_file_without_the_tensors_that_tell_its_size_is_refused(name, tmp_path):
    config = tiny_release(Family.V2_STUDENT)

    with pytest.raises(ArtifactError, match=f"has no tensor {name}"):
        read(save(tmp_path, config, lambda weights: weights.pop(name)), config)


def test_a_file_without_layers_is_refused(tmp_path):
    config = tiny_release(Family.V2_STUDENT)

    def drop_layers(weights):
        for name in [name for name in weights if "s1_backbone.transformer_encoder" in name]:
            del weights[name]

    with pytest.raises(ArtifactError, match="no transformer layer under s1_backbone"):
        read(save(tmp_path, config, drop_layers), config)


def test_an_empty_container_is_refused(tmp_path):
    torch.save({"model": {}}, tmp_path / "released.pt")

    with pytest.raises(ArtifactError, match="is it a checkpoint of an encoder at all"):
        read_checkpoint(tmp_path / "released.pt", Family.V2_STUDENT)


@pytest.mark.parametrize("place", ["beside", "inside"])
def test_a_pickled_object_is_refused_and_never_run(place, tmp_path):
    trap = TouchWhenUnpickled(tmp_path / "unpickled")
    content = released_content(tiny_release(Family.V2_STUDENT), seed=1)
    if place == "beside":
        content["optimizer"] = trap
    else:
        content["model"]["dim_reducer.0.bias"] = trap
    torch.save(content, tmp_path / "released.pt")

    with pytest.raises(ArtifactError, match="more than tensors and plain values"):
        read_checkpoint(tmp_path / "released.pt", Family.V2_STUDENT)

    assert not trap.path.exists()
    torch.load(tmp_path / "released.pt", weights_only=False)
    assert trap.path.exists(), "the trap is real"


def test_a_pickled_module_is_refused_without_advice_to_unpickle_it(tmp_path):
    torch.save({"model": nn.Linear(2, 2)}, tmp_path / "released.pt")

    with pytest.raises(ArtifactError, match="pickled module") as caught:
        read_checkpoint(tmp_path / "released.pt", Family.V2_STUDENT)

    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_plain_pickle_is_refused_and_never_run(protocol, tmp_path):
    trap = TouchWhenUnpickled(tmp_path / "unpickled")
    (tmp_path / "released.pt").write_bytes(pickle.dumps({"model": trap}, protocol=protocol))

    with pytest.raises(ArtifactError, match=r"released\.pt"):
        read_checkpoint(tmp_path / "released.pt", Family.V2_STUDENT)

    assert not trap.path.exists()


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(is_zip, share, tmp_path):
    path = tmp_path / "released.pt"
    content = released_content(tiny_release(Family.V1_0_QAT), seed=1)
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    with pytest.raises(ArtifactError, match=r"(cannot read|is refused).*cut off"):
        read_checkpoint(path, Family.V1_0_QAT)


def test_one_bit_that_the_archive_knows_to_be_wrong_is_refused(tmp_path):
    config = tiny_release(Family.V1_0_QAT)
    path = save(tmp_path, config)
    content = bytearray(path.read_bytes())
    # Inside the numbers of a tensor: torch itself reads it without a word.
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(ArtifactError, match=r"is damaged: the checksum of its part .* is wrong"):
        read(path, config)


@pytest.mark.parametrize("seed", range(40))
def test_a_file_with_changed_bytes_is_read_or_refused_but_never_a_crash(seed, tmp_path):
    path = tmp_path / "released.pt"
    config = tiny_release(Family.V1_0_QAT)
    torch.save(released_content(config, seed=1), path, _use_new_zipfile_serialization=seed % 2 == 0)
    content = bytearray(path.read_bytes())
    place = torch.Generator().manual_seed(seed)
    for at in torch.randint(0, 2500, (3,), generator=place).tolist():
        content[at] ^= 1 << at % 8
    path.write_bytes(content)

    with contextlib.suppress(ArtifactError):
        assert read(path, config).config == config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot read .*EOFError"),
        (b"PK\x03\x04 not really a zip", "cannot read"),
        (b"<!DOCTYPE html><html>404</html>", "is refused|cannot read"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is refused|cannot read"),
        (b"hello world, this is a text file\n", "cannot read"),
    ],
    ids=["empty", "zip", "web page", "LFS pointer", "text"],
)
def test_a_file_that_is_no_checkpoint_is_refused(content, message, tmp_path):
    path = tmp_path / "released.pt"
    path.write_bytes(content)

    with pytest.raises(ArtifactError, match=message):
        read_checkpoint(path, Family.V2_STUDENT)


@pytest.mark.parametrize("value", [torch.zeros(3), [torch.zeros(3)], None, 7], ids=str)
def test_a_checkpoint_that_is_no_dict_is_refused(value, tmp_path):
    torch.save(value, tmp_path / "released.pt")

    with pytest.raises(ArtifactError, match=f"holds a {type(value).__name__}, expected a dict"):
        read_checkpoint(tmp_path / "released.pt", Family.V2_STUDENT)


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match=rf"cannot read {tmp_path}.*directory"):
        read_checkpoint(tmp_path, Family.V2_STUDENT)
    with pytest.raises(ArtifactError, match=r"none\.pt is not there; name a checkpoint file"):
        read_checkpoint(tmp_path / "none.pt", Family.V2_STUDENT)
