"""Scene classes: which of them let the ground through, alone and against a tile's mask."""

import numpy as np
import pytest

from tessera_core.domain.scl import KNOWN_CODES, SceneClass, clear_mask, scl_from_mask

CLEAR = (
    SceneClass.VEGETATION,
    SceneClass.BARE,
    SceneClass.WATER,
    SceneClass.UNCLASSIFIED,
    SceneClass.THIN_CIRRUS,
    SceneClass.SNOW,
    SceneClass.USABLE_BY_MASK,
)


@pytest.mark.parametrize("scene_class", SceneClass)
def test_water_cirrus_and_snow_count_as_clear_and_shadow_cloud_and_dark_do_not(scene_class):
    assert clear_mask(np.array([scene_class], np.uint8)).item() == (scene_class in CLEAR)


def test_the_clear_mask_keeps_the_shape():
    scl = np.array(KNOWN_CODES, np.uint8).reshape(2, 7, 1)

    clear = clear_mask(scl)

    assert clear.shape == (2, 7, 1)
    assert clear.dtype == np.bool_


def test_a_mask_without_scl_becomes_two_classes_of_its_own():
    mask = np.array([[1, 0], [0, 1]], np.uint8)

    scl = scl_from_mask(mask)

    usable, unusable = SceneClass.USABLE_BY_MASK, SceneClass.UNUSABLE_BY_MASK
    assert scl.tolist() == [[usable, unusable], [unusable, usable]]
    assert scl.dtype == np.uint8


def test_scl_is_kept_where_it_agrees_with_the_mask():
    scl = np.array([SceneClass.WATER, SceneClass.CLOUD_HIGH], np.uint8)

    assert scl_from_mask(np.array([1, 0], np.uint8), scl).tolist() == scl.tolist()


def test_the_mask_wins_where_scl_contradicts_it():
    scl = np.array([SceneClass.CLOUD_HIGH, SceneClass.WATER], np.uint8)

    told = scl_from_mask(np.array([1, 0], np.uint8), scl)

    assert told.tolist() == [SceneClass.USABLE_BY_MASK, SceneClass.UNUSABLE_BY_MASK]


def test_the_clear_mask_of_any_class_and_mask_is_the_mask():
    scl = np.array(KNOWN_CODES, np.uint8)
    for mask in (np.zeros(len(scl), np.uint8), np.ones(len(scl), np.uint8)):
        assert clear_mask(scl_from_mask(mask, scl)).tolist() == (mask == 1).tolist()


def test_validity_equals_the_reference(shared_data):
    golden = np.load(shared_data / "parity" / "preprocess.npz")
    # The reference reads SCL as float, where a pixel outside every item is NaN: our no data.
    stack = np.nan_to_num(golden["scl.stack"], nan=SceneClass.NO_DATA).astype(np.uint8)

    assert clear_mask(golden["scl.classes"].astype(np.uint8)).tolist() == (
        golden["scl.valid_uint8"].tolist()
    )
    assert clear_mask(golden["scl.classes"].astype(np.uint8)).tolist() == (
        golden["scl.valid"].tolist()
    )
    assert clear_mask(np.array([SceneClass.NO_DATA], np.uint8)).tolist() == (
        golden["scl.valid_nan"].tolist()
    )
    assert np.isnan(golden["scl.stack"]).any()
    assert np.array_equal(clear_mask(stack), golden["scl.stack_valid"])
