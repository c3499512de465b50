"""Weights, norms, sampling and output rule of a release belong together, and nothing else fits."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tessera_core.domain.embedding import Coding, quantise
from tessera_core.domain.sampling import V1_0_SAMPLING, V1_1_SAMPLING, V2_SAMPLING
from tessera_core.errors import ArtifactError
from tessera_core.model.artifact import load_artifact, write_artifact
from tessera_core.model.config import Output, own_config, whole
from tessera_core.model.embed import ModelArtifact, embed_pixels
from tessera_core.model.family import Family
from tessera_core.model.projector import build_projector
from tessera_core.model.releases import RELEASES, require_pairing
from tessera_core.records.files import read_json
from tessera_core.records.manifest import Manifest, write_manifest
from tessera_core.testing.checkpoints import tiny_release
from tessera_core.testing.models import TINY_SHAPE, tiny_encoder, tiny_model
from tessera_core.testing.pixels import NORMS, random_pixels

FAMILIES = list(Family)
SAMPLINGS = (V1_0_SAMPLING, V1_1_SAMPLING, V2_SAMPLING)
by_family = pytest.mark.parametrize("family", FAMILIES)
CANARIES = random_pixels(4, seed=30)


def others(family, part):
    """What other releases have where this one has something else, each value once."""
    values = []
    for other in FAMILIES:
        value = getattr(RELEASES[other], part)
        if value != getattr(RELEASES[family], part) and value not in values:
            values.append(value)
    return values


def write(folder, family):
    """An artifact of a release, as an import writes it."""
    config = tiny_release(family)
    encoder = tiny_encoder(1, config.encoder)
    write_artifact(folder, encoder, config, RELEASES[family].norms, CANARIES)
    return folder


def edit(folder, name, change):
    """Change one JSON file and make the manifest agree, as a careful forger would."""
    values = read_json(folder / name)
    change(values)
    (folder / name).write_text(json.dumps(values))
    before = Manifest.read(folder)
    write_manifest(folder, before.kind, before.facts)


def test_releases_have_five_sets_of_norms_and_three_rules():
    norms = [RELEASES[family].norms for family in FAMILIES]

    assert len({json.dumps(one.to_dict()) for one in norms}) == 5, "the v1.0 releases share theirs"
    assert {RELEASES[family].sampling for family in FAMILIES} == set(SAMPLINGS)


@by_family
def test_the_parts_of_one_release_fit_together(family):
    require_pairing(tiny_release(family), RELEASES[family].norms)


@by_family
def test_the_norms_of_another_release_are_refused(family):
    strangers = others(family, "norms")

    assert len(strangers) == 4
    for norms in (*strangers, NORMS):
        with pytest.raises(ArtifactError, match=rf"norms .*not .*of {family}"):
            require_pairing(tiny_release(family), norms)


@by_family
def test_norms_with_swapped_orbits_are_refused_where_orbits_differ(family):
    norms = RELEASES[family].norms
    swapped = replace(norms, s1_ascending=norms.s1_descending, s1_descending=norms.s1_ascending)

    if family in (Family.V1_0_EARLY, Family.V1_0_QAT, Family.V2_TEACHER):
        assert swapped == norms, "one set for both orbits"
        return
    with pytest.raises(ArtifactError, match="norms"):
        require_pairing(tiny_release(family), swapped)


@by_family
def test_the_sampling_rule_of_another_release_is_refused(family):
    config = tiny_release(family)
    strangers = [one for one in SAMPLINGS if one != config.sampling]

    assert len(strangers) == 2
    for sampling in strangers:
        with pytest.raises(ArtifactError, match=f"sampling rule .*{family}"):
            require_pairing(replace(config, sampling=sampling), RELEASES[family].norms)


@by_family
def test_the_coding_of_another_release_is_refused(family):
    config = tiny_release(family)
    other = Coding.V1 if config.output.coding is Coding.V2 else Coding.V2
    recoded = replace(config, output=replace(config.output, coding=other))

    with pytest.raises(ArtifactError, match=f"int8 coding .*{family}"):
        require_pairing(recoded, RELEASES[family].norms)


@pytest.mark.parametrize("family", [Family.V1_0_EARLY, Family.V1_0_QAT, Family.V2_TEACHER])
def test_widths_that_a_release_does_not_order_are_refused(family):
    config = tiny_release(family)
    cut = Output(dims=(4, 12), dim=12, coding=config.output.coding)

    with pytest.raises(ArtifactError, match=f"usable widths .*{family}"):
        require_pairing(replace(config, output=cut), RELEASES[family].norms)


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda sampling: sampling.rule)
def test_a_model_trained_here_may_have_any_norms_and_rules(sampling):
    config = replace(own_config(TINY_SHAPE), sampling=sampling, output=whole(12, Coding.V1))

    for norms in (NORMS, *(RELEASES[family].norms for family in FAMILIES)):
        require_pairing(config, norms)


@by_family
def test_an_artifact_is_not_written_with_another_releases_norms(family, tmp_path):
    config = tiny_release(family)
    encoder = tiny_encoder(1, config.encoder)

    with pytest.raises(ArtifactError, match="norms"):
        write_artifact(tmp_path / "model", encoder, config, others(family, "norms")[0], CANARIES)

    assert list(tmp_path.iterdir()) == []


@by_family
def test_a_released_model_written_as_an_artifact_reads_back(family, tmp_path):
    model = load_artifact(write(tmp_path / "model", family))

    assert model.config == tiny_release(family)
    assert model.norms == RELEASES[family].norms


@by_family
def test_norms_of_another_release_written_into_an_artifact_are_refused_by_name(family, tmp_path):
    folder = write(tmp_path / "model", family)
    stranger = others(family, "norms")[0]

    edit(folder, "norms.json", lambda norms: norms.update(stranger.to_dict()))

    with pytest.raises(ArtifactError, match=rf"norms .*not .*of {family}"):
        load_artifact(folder)


@by_family
def test_rules_of_another_release_written_into_an_artifact_are_refused_by_name(family, tmp_path):
    folder = write(tmp_path / "model", family)
    rule = next(one for one in SAMPLINGS if one != RELEASES[family].sampling)

    edit(folder, "config.json", lambda config: config.update(sampling=rule.to_dict()))

    with pytest.raises(ArtifactError, match="sampling rule"):
        load_artifact(folder)


def test_v1_1_of_one_source_renamed_to_the_other_is_refused(tmp_path):
    folder = write(tmp_path / "model", Family.V1_1_MPC)

    edit(folder, "config.json", lambda config: config.update(family="v1.1-aws"))

    with pytest.raises(ArtifactError, match=r"norms .*not .*of v1\.1-aws"):
        load_artifact(folder)


@pytest.mark.parametrize(
    ("family", "usable", "published"),
    [
        (Family.V1_0_EARLY, (128,), 128),
        (Family.V1_0_QAT, (128,), 128),
        (Family.V1_1_MPC, (128, 192), 128),
        (Family.V1_1_AWS, (128, 192), 128),
        (Family.V2_STUDENT, (16, 32, 64, 128), 128),
        (Family.V2_TEACHER, (1024,), 1024),
    ],
)
def test_a_release_may_be_cut_to_these_widths_and_no_others(family, usable, published):
    output = RELEASES[family].output

    assert output.require(None) == published
    for width in usable:
        assert output.require(width) == width
    for width in (-1, 0, 1, 8, 16, 32, 64, 96, 128, 192, 256, 1024):
        if width not in usable:
            with pytest.raises(ArtifactError, match=rf"first {width} values are no embedding"):
                output.require(width)


@pytest.mark.parametrize("width", [1, 6, 11, 13])
def test_a_model_trained_here_is_not_cut(width):
    with pytest.raises(ArtifactError, match=f"first {width} values are no embedding .* one of 12"):
        embed_pixels(tiny_model(1), random_pixels(2, seed=1), batch_size=2, dim=width)


def test_a_model_trained_here_as_matryoshka_has_its_prefixes():
    shape = replace(TINY_SHAPE, embedding_dim=64)

    assert own_config(shape, is_matryoshka=True).output.dims == (16, 32, 64)
    assert own_config(shape).output.dims == (64,)


@by_family
def test_the_embedding_is_as_wide_as_published_and_not_as_the_projector(family):
    wider = {Family.V1_1_MPC: 192, Family.V1_1_AWS: 192, Family.V2_TEACHER: 1024}
    expected, release = wider.get(family, 128), RELEASES[family]
    tiny = tiny_release(family)
    shape = replace(tiny.encoder, embedding_dim=release.shape.embedding_dim)
    model = ModelArtifact(
        encoder=tiny_encoder(1, shape),
        config=replace(tiny, encoder=shape, output=release.output),
        norms=release.norms,
        digest="",
    )

    embedding = embed_pixels(model, CANARIES, batch_size=4, dim=release.output.dims[-1])
    projection = build_projector(expected, 2048, 2)(torch.from_numpy(embedding))

    assert embedding.shape == (4, expected)
    assert projection.shape == (4, 2048)
    assert not any("project" in name for name in model.encoder.state_dict())


@pytest.mark.parametrize("family", [Family.V1_1_MPC, Family.V2_STUDENT])
def test_a_vector_is_cut_before_it_is_coded(family):
    config = tiny_release(family)
    model = ModelArtifact(
        encoder=tiny_encoder(2, config.encoder),
        config=config,
        norms=RELEASES[family].norms,
        digest="",
    )
    pixels = random_pixels(12, seed=31)
    wide, narrow = config.output.dims[-1], config.output.dims[0]

    whole_values = embed_pixels(model, pixels, batch_size=8, dim=wide)
    cut_values = embed_pixels(model, pixels, batch_size=8, dim=narrow)

    assert np.array_equal(cut_values, whole_values[:, :narrow])
    cut = quantise(cut_values, config.output.coding)
    uncut = quantise(whole_values, config.output.coding)
    is_behind = np.abs(whole_values).argmax(axis=1) >= narrow
    assert is_behind.any(), "some vectors have their largest value behind the cut"
    assert np.abs(cut.codes).max(axis=1).tolist() == [127] * 12, "the scale fits the cut vector"
    assert (cut.scale[is_behind] < uncut.scale[is_behind]).all()
    assert (cut.codes != uncut.codes[:, :narrow]).any(axis=1)[is_behind].all()
