"""Fake quantisation: values as codes give them back, and a gradient that does not notice."""

import numpy as np
import pytest
import torch

from tessera_core.domain.embedding import Coding, quantise
from tessera_core.model.quantisation import fake_quantise


def random_rows(num=16, width=12, seed=1):
    return torch.randn(num, width, generator=torch.Generator().manual_seed(seed))


def test_values_come_back_as_codes_of_one_scale_for_all_rows():
    values = random_rows()
    values[0] *= 100

    found = fake_quantise(values)

    stored = quantise(values.numpy().reshape(-1), Coding.V1)
    assert np.array_equal(found.numpy().reshape(-1), stored.dequantise())
    assert len(found[1:].unique()) < 10, "a scale per row would give each row most codes"


def test_ties_are_rounded_to_even():
    values = torch.tensor([127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5])

    assert fake_quantise(values).tolist() == [127, 0, 2, 2, 0, -2, -2]


def test_the_gradient_passes_as_if_nothing_had_been_rounded():
    values = random_rows().requires_grad_()
    upstream = random_rows(seed=2)

    (fake_quantise(values) * upstream).sum().backward()

    assert torch.equal(values.grad, upstream)


def test_zeros_stay_zeros_and_let_the_gradient_through():
    values = torch.zeros(3, 4, requires_grad=True)

    found = fake_quantise(values)
    found.sum().backward()

    assert torch.equal(found, torch.zeros(3, 4))
    assert torch.equal(values.grad, torch.ones(3, 4))


def test_values_below_half_the_smallest_scale_become_zero():
    assert fake_quantise(torch.tensor([4e-9, -4e-9])).tolist() == [0, 0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_value_that_is_not_finite_makes_all_nan(value):
    values = random_rows()
    values[3, 2] = value

    assert fake_quantise(values).isnan().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_coded_in_float32_under_autocast(dtype):
    values = random_rows().to(dtype).requires_grad_()

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = fake_quantise(values)
    found.sum().backward()

    assert found.dtype == torch.float32
    assert torch.equal(found, fake_quantise(values.detach().float()))
    assert torch.equal(values.grad, torch.ones_like(values))


def test_float64_stays_float64():
    assert fake_quantise(random_rows().double()).dtype == torch.float64


def test_the_input_is_left_as_it_was():
    values = random_rows()

    fake_quantise(values)

    assert torch.equal(values, random_rows())


def test_the_reference_gives_the_same_values(shared_data):
    golden = np.load(shared_data / "parity" / "quantize.npz")

    found = fake_quantise(torch.from_numpy(golden["input"])).numpy()

    assert np.unique(golden["v1_whole_tensor.int8"]).size > 10
    np.testing.assert_allclose(found, golden["v1.fake_quantize_whole_tensor"], rtol=1e-6)
    codes = np.rint(found / golden["v1_whole_tensor.scale"])
    assert np.array_equal(codes, golden["v1_whole_tensor.int8"])
