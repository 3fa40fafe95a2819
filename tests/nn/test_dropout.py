import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mclrec.nn.dropout import Dropout, seed_dropout

RATES = [0.1, 0.5, 0.75]
OTHER_WAYS = pytest.mark.parametrize("seeded", [True, False])


def dropout(p: float, seed: int | None = 0) -> Dropout:
    made = Dropout(p)
    if seed is not None:
        seed_dropout(made, np.random.default_rng(seed))
    return made


@pytest.mark.parametrize("p", RATES)
@OTHER_WAYS
def test_rate_and_scale(p: float, seeded: bool) -> None:
    torch.manual_seed(0)
    out = dropout(p, 0 if seeded else None)(torch.ones(300, 333))
    kept = out[out != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - p)), rtol=1e-4, atol=0)
    error = 5 * (p * (1 - p) / out.numel()) ** 0.5
    assert abs((out == 0).double().mean() - p) < error
    for mean in ((out == 0).double().mean(0), (out == 0).double().mean(1)):
        assert abs(mean - p).max() < 0.16  # no row and no column is left out


@pytest.mark.parametrize("p", RATES)
def test_units_fall_independently(p: float) -> None:
    fallen = (dropout(p)(torch.ones(100_000)) == 0).double() - p
    for lag in (1, 8, 16, 64):
        assert abs((fallen[lag:] * fallen[:-lag]).mean()) < 0.005


@pytest.mark.parametrize("p", RATES)
def test_gradient_is_the_mask(p: float) -> None:
    x = torch.randn(7, 11, requires_grad=True)
    dropout(p)(x).sum().backward()
    assert x.grad is not None
    mask = dropout(p).mask((7, 11), x)
    assert mask is not None
    assert torch.equal(x.grad, mask)


@pytest.mark.parametrize("p", [0.3, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@OTHER_WAYS
def test_mask_has_the_shape_and_type_asked_for(p: float, dtype: torch.dtype, seeded: bool) -> None:
    mask = dropout(p, 0 if seeded else None).mask((3, 5, 7), torch.zeros(1, dtype=dtype))
    assert mask is not None
    assert mask.shape == (3, 5, 7)
    assert mask.dtype == dtype
    assert len(mask.unique()) == 2


@pytest.mark.parametrize("p", RATES)
def test_the_generator_alone_decides(p: float) -> None:
    def draws(seed: int, of_torch: int) -> tuple[Tensor, Tensor]:
        torch.manual_seed(of_torch)
        model = nn.Sequential(Dropout(p), nn.Identity(), Dropout(p))
        seed_dropout(model, np.random.default_rng(seed))
        before = torch.get_rng_state()
        first, second = model[0](torch.ones(99)), model[2](torch.ones(99))
        assert torch.equal(torch.get_rng_state(), before)
        return first, second

    (first, second), again, other = draws(1, 1), draws(1, 2), draws(2, 1)
    assert torch.equal(first, again[0])
    assert torch.equal(second, again[1])
    assert not torch.equal(first, second)
    assert not torch.equal(first, other[0])


@pytest.mark.parametrize("module", [dropout(0.5).eval(), dropout(0.0), dropout(0.0, None)])
def test_nothing_falls_in_evaluation_or_at_rate_zero(module: Dropout) -> None:
    x = torch.randn(5, 5)
    assert torch.equal(module(x), x)
    assert module.mask((5, 5), x) is None


@pytest.mark.parametrize("p", [0.3, 0.5])
def test_nothing_is_drawn_for_nothing(p: float) -> None:
    assert dropout(p)(torch.ones(0, 4)).shape == (0, 4)


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_rate_must_leave_something(p: float) -> None:
    with pytest.raises(ValueError, match="not in"):
        Dropout(p)


def test_the_highest_rate_is_finite() -> None:
    assert dropout(1 - 1e-9)(torch.ones(1000)).isfinite().all()
