"""The bridge on planted pairs of versions: equal, turned, cut, bent, broken, unrelated."""

import json

import numpy as np
import pytest

from tessera_core.compare.bridge.maps import AffineMap, Fit, Form, apply_bridge, fit_map
from tessera_core.compare.bridge.verdict import Verdict, build_bridge, choose_form, map_error
from tessera_core.errors import InputError

NUM, WIDTH, PER_GROUP = 600, 12, 6
GROUP = np.repeat(np.arange(NUM // PER_GROUP) * 3 - 50, PER_GROUP)
CLASS = np.repeat(np.arange(NUM // PER_GROUP) % 3, PER_GROUP)
RNG = np.random.default_rng(1)
SPREAD = np.linspace(2, 0.5, WIDTH)
CHAMPION = (
    4 * np.eye(WIDTH)[CLASS]
    + np.repeat(RNG.normal(size=(NUM // PER_GROUP, WIDTH)), PER_GROUP, axis=0)
    + 0.3 * RNG.normal(size=(NUM, WIDTH))
) * SPREAD + 3


def noise(size, seed=2, width=WIDTH):
    return size * np.random.default_rng(seed).normal(size=(NUM, width))


def rotation(width=WIDTH, seed=3):
    turned, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))
    return turned


def bridge_to(challenger, classes=CLASS, champion=CHAMPION, group=GROUP):
    return build_bridge(champion, challenger, group, classes, seed=1)


def test_identical_versions_are_compatible_without_a_map():
    bridge = bridge_to(CHAMPION)

    assert bridge.verdict is Verdict.COMPATIBLE
    assert (bridge.form, bridge.error) == (Form.IDENTITY, 0)
    assert bridge.cka == pytest.approx(1)
    assert bridge.neighbour_overlap == 1
    assert bridge.probe.kept == 1
    np.testing.assert_array_equal(apply_bridge(bridge.map, CHAMPION), CHAMPION.astype(np.float32))


def test_a_version_as_far_off_as_int8_is_compatible():
    bridge = bridge_to(CHAMPION + noise(0.02))

    assert bridge.verdict is Verdict.COMPATIBLE
    assert 0 < bridge.error < 0.02


@pytest.mark.parametrize("how", ["rotated", "permuted", "mirrored", "scaled", "moved"])
def test_what_a_rotation_scale_and_shift_undo_is_bridgeable_without_error(how):
    challenger = {
        "rotated": CHAMPION @ rotation(),
        "permuted": CHAMPION[:, ::-1],
        "mirrored": -CHAMPION,
        "scaled": 50 * CHAMPION,
        "moved": CHAMPION + 40,
    }[how]

    bridge = bridge_to(challenger)

    assert (bridge.verdict, bridge.form) == (Verdict.BRIDGEABLE, Form.PROCRUSTES)
    assert bridge.error == pytest.approx(0, abs=1e-9)
    assert bridge.cka == pytest.approx(1)
    assert bridge.neighbour_overlap == pytest.approx(1)
    assert bridge.fits[Form.IDENTITY].error > 0.5
    assert bridge.fits[Form.AFFINE].error < 1e-4
    assert bridge.probe.kept == pytest.approx(1)
    np.testing.assert_allclose(apply_bridge(bridge.map, challenger), CHAMPION, atol=1e-5)


def test_dimensions_that_are_stretched_need_the_affine_map():
    bridge = bridge_to(CHAMPION @ np.diag(np.geomspace(1, 1000, WIDTH)) @ rotation())

    assert (bridge.verdict, bridge.form) == (Verdict.BRIDGEABLE, Form.AFFINE)
    assert bridge.error < 0.02 < bridge.fits[Form.PROCRUSTES].error


def test_noise_of_known_size_is_the_error_that_is_reported():
    deviation = np.sqrt(((CHAMPION - CHAMPION.mean(0)) ** 2).sum(1).mean())
    noisy = CHAMPION + noise(0.3 * deviation / np.sqrt(WIDTH))

    bridge = bridge_to(noisy @ rotation())

    assert bridge.verdict is Verdict.BRIDGEABLE
    assert bridge.fits[Form.PROCRUSTES].error == pytest.approx(0.3, abs=0.02)
    # The best linear guess shrinks what is mostly noise, which a rotation cannot.
    assert bridge.fits[Form.AFFINE].error < bridge.fits[Form.PROCRUSTES].error
    assert bridge.fits[Form.PROCRUSTES].cosine > 0.93


def test_unrelated_versions_are_incompatible_and_have_no_map():
    bridge = bridge_to(noise(3))

    assert bridge.verdict is Verdict.INCOMPATIBLE
    assert bridge.map is None
    assert bridge.error > 0.98
    assert bridge.cka == pytest.approx(0, abs=0.03)
    assert bridge.neighbour_overlap < 0.05
    assert "leaves an error of" in bridge.reason


@pytest.mark.parametrize("width", [3, 8, 20, 40])
def test_widths_may_differ_and_the_padding_costs_only_what_is_lost(width):
    turned = rotation(max(width, WIDTH))
    padded = np.hstack([CHAMPION, np.zeros((NUM, max(width - WIDTH, 0)))]) @ turned
    challenger = padded[:, :width]

    bridge = bridge_to(challenger)

    assert Form.IDENTITY not in bridge.fits
    assert bridge.to_dict()["identity_error"] is None
    assert bridge.probe.identity is None
    assert bridge.widths == (WIDTH, width)
    if width >= WIDTH:
        assert bridge.error == pytest.approx(0, abs=1e-3)
    else:
        assert 0.05 < bridge.fits[Form.AFFINE].error < 1
    if bridge.map is not None:
        assert apply_bridge(bridge.map, challenger).shape == CHAMPION.shape


def test_constant_columns_of_either_version_are_no_obstacle():
    flat = CHAMPION.copy()
    flat[:, 3] = 7
    challenger = CHAMPION @ rotation()
    challenger[:, 5] = -2

    bridge = bridge_to(challenger, champion=flat)

    assert bridge.verdict is Verdict.BRIDGEABLE
    np.testing.assert_allclose(apply_bridge(bridge.map, challenger)[:, 3], 7, atol=0.3)


def test_a_challenger_that_collapsed_is_incompatible():
    bridge = bridge_to(np.full((NUM, WIDTH), 0.1))

    assert bridge.verdict is Verdict.INCOMPATIBLE
    assert bridge.error == pytest.approx(1)
    assert bridge.cka == 0


def test_maps_are_judged_on_groups_that_they_have_not_seen():
    # Each group is a point of its own in both versions, and nothing relates the two.
    first, second = (
        np.repeat(np.random.default_rng(seed).normal(size=(NUM // PER_GROUP, WIDTH)), PER_GROUP, 0)
        + noise(0.01, seed)
        for seed in (11, 12)
    )
    fitted = fit_map(Form.AFFINE, second, first)
    seen = np.sqrt(((apply_bridge(fitted, second) - first) ** 2).sum() / first.var(0).sum() / NUM)

    bridge = bridge_to(second, classes=None, champion=first)

    assert bridge.fits[Form.AFFINE].error > 1.02 > 0.97 > seen


def test_a_map_that_loses_what_tells_classes_apart_is_refused_by_its_probe():
    loud = np.hstack([CLASS[:, None] - 1.0, noise(6, seed=5, width=6)])
    deaf = loud.copy()
    deaf[:, 0] = np.random.default_rng(7).permutation(loud[:, 0])

    without, bridge = (bridge_to(deaf @ rotation(7), classes, loud) for classes in (None, CLASS))

    assert without.verdict is Verdict.BRIDGEABLE
    assert without.probe is None
    assert bridge.verdict is Verdict.INCOMPATIBLE
    assert bridge.error < 0.1
    assert bridge.probe.champion > 0.95
    assert "a head of the champion keeps" in bridge.reason


def test_the_probe_is_that_of_the_champion_and_knows_the_chance_level():
    probe = bridge_to(CHAMPION @ rotation()).probe

    assert probe.champion > 0.9
    assert probe.mapped == probe.champion
    assert probe.identity < 0.7
    assert probe.majority == pytest.approx(204 / 600)


@pytest.mark.parametrize("classes", [np.full(NUM, -1), np.full(NUM, 4)])
def test_without_two_classes_there_is_no_probe(classes):
    bridge = bridge_to(CHAMPION @ rotation(), classes)

    assert bridge.probe is None
    assert bridge.to_dict()["probe_transfer"] is None
    assert bridge.verdict is Verdict.BRIDGEABLE


def test_anchors_without_a_class_still_carry_the_map():
    some = np.where(np.arange(NUM) % 2, CLASS, -1)

    bridge = bridge_to(CHAMPION @ rotation(), some)

    assert bridge.num_anchors == NUM
    assert bridge.probe.champion > 0.9


def test_a_bridge_is_plain_json_and_follows_from_its_seed():
    challenger = CHAMPION @ rotation() + noise(0.5)

    first, again = (bridge_to(challenger).to_dict() for _ in range(2))

    assert json.loads(json.dumps(first, allow_nan=False)) == first == again
    names = {"verdict", "error", "cka", "neighbour_overlap", "probe_transfer", "num_anchors"}
    assert names | {"procrustes_error", "affine_error", "identity_error"} <= set(first)
    other = build_bridge(CHAMPION, challenger, GROUP, CLASS, seed=2).to_dict()
    assert other["error"] != first["error"]
    assert other["error"] == pytest.approx(first["error"], rel=0.05)


def test_few_anchors_per_dimension_are_met_by_a_penalty_that_held_out_groups_choose():
    few = np.random.default_rng(9)
    champion = few.normal(size=(90, 40)) * np.geomspace(3, 0.1, 40)
    challenger = champion @ rotation(40) + 0.3 * few.normal(size=(90, 40))
    group = np.arange(90) // 3
    fold = np.unique(group, return_inverse=True)[1] % 5
    plain = np.empty_like(champion)
    for number in range(5):
        known = fold != number
        found = fit_map(Form.AFFINE, challenger[known], champion[known])
        plain[~known] = apply_bridge(found, challenger[~known])
    spread = ((champion - champion.mean(0)) ** 2).sum()

    error = map_error(challenger, champion, group, seed=1)

    assert error < 0.9 * np.sqrt(((plain - champion) ** 2).sum() / spread)


@pytest.mark.parametrize(
    ("identity", "rotation_error", "affine_error", "form"),
    [
        (0.1, 0, 0, Form.IDENTITY),
        (0.11, 0.2, 0.19, Form.PROCRUSTES),
        (None, 0.2, 0.17, Form.AFFINE),
        (None, 0.41, 0.395, Form.AFFINE),
        (None, 0.41, 0.42, Form.PROCRUSTES),
    ],
)
def test_the_simplest_map_is_chosen_unless_a_richer_one_does_what_it_cannot(
    identity, rotation_error, affine_error, form
):
    errors = {Form.PROCRUSTES: rotation_error, Form.AFFINE: affine_error}
    errors |= {} if identity is None else {Form.IDENTITY: identity}

    assert choose_form({name: Fit(error=at, cosine=1) for name, at in errors.items()}) is form


def test_the_error_of_a_map_from_other_units_is_measured_alike():
    units = np.geomspace(1e-6, 1e6, WIDTH)

    error = map_error(CHAMPION @ rotation() * units, CHAMPION, GROUP, seed=1)

    assert error == pytest.approx(0, abs=1e-4)
    assert map_error(noise(1), CHAMPION, GROUP, seed=1) > 0.98


def broken(values, row=17):
    spoilt = values.copy()
    spoilt[row, 0] = np.nan
    return spoilt


REFUSED = {
    "NaN in the challenger": (
        {"challenger": broken(CHAMPION)}, "the challenger's embeddings: 1 of 600 rows .* row 17",
    ),
    "NaN in the champion": (
        {"challenger": CHAMPION, "champion": broken(CHAMPION)}, "the champion's embeddings: 1 of",
    ),
    "another number of rows": ({"challenger": CHAMPION[1:]}, r"have \[600, 599, 600, 600\] rows"),
    "classes of other anchors": (
        {"challenger": CHAMPION, "classes": CLASS[:5]}, r"have \[600, 600, 600, 5\] rows",
    ),
    "few groups": (
        {"challenger": CHAMPION, "group": np.arange(NUM) % 9}, "from 9 groups, expected 10 or more",
    ),
    "few anchors": ({"challenger": noise(1, width=400)}, "expected .* with 802 rows or more"),
    "a collapsed champion": (
        {"challenger": CHAMPION, "champion": np.ones((NUM, WIDTH))}, "it has collapsed",
    ),
    "one axis": ({"challenger": CHAMPION[0]}, r"have shape \(12,\), expected"),
}  # fmt: skip


@pytest.mark.parametrize("fault", REFUSED)
def test_what_cannot_be_compared_is_refused(fault):
    arguments, message = REFUSED[fault]

    with pytest.raises(InputError, match=message):
        bridge_to(**arguments)


def test_a_map_keeps_rows_without_data_and_refuses_another_width():
    bridge = bridge_to(CHAMPION @ rotation())

    mapped = apply_bridge(bridge.map, broken(CHAMPION).astype(np.float32))

    assert mapped.dtype == np.float32
    assert np.flatnonzero(np.isnan(mapped).all(axis=1)).tolist() == [17]
    assert np.isfinite(np.delete(mapped, 17, axis=0)).all()
    with pytest.raises(InputError, match=r"shape \(600, 5\), but the bridge takes \(d-pixels, 12"):
        apply_bridge(bridge.map, CHAMPION[:, :5])


def test_a_map_of_senseless_shape_or_value_is_refused():
    with pytest.raises(InputError, match=r"matrix of shape \(2, 3\) and a shift of shape \(2,\)"):
        AffineMap(form=Form.AFFINE, matrix_DE=np.ones((2, 3)), shift_E=np.ones(2))
    with pytest.raises(InputError, match="not finite"):
        AffineMap(form=Form.AFFINE, matrix_DE=np.full((2, 3), np.nan), shift_E=np.ones(3))
