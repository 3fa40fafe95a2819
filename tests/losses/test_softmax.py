from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mclrec.losses.softmax import chunked_linear_cross_entropy


def make_inputs(
    rows: int = 7, classes: int = 11, with_bias: bool = True
) -> tuple[Tensor, Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()

    return draw(rows, 3), draw(classes, 3), draw(classes) if with_bias else None


TARGETS = torch.tensor([0, 10, 3, 3, 7, 1, 0])


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_equals_cross_entropy(chunk: int, with_bias: bool) -> None:
    queries, weight, bias = make_inputs(with_bias=with_bias)
    inputs = [tensor for tensor in (queries, weight, bias) if tensor is not None]
    actual = chunked_linear_cross_entropy(queries, weight, bias, TARGETS, chunk=chunk)
    expected = F.cross_entropy(F.linear(queries, weight, bias), TARGETS, reduction="sum")
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(
        torch.autograd.grad(0.5 * actual, inputs), torch.autograd.grad(0.5 * expected, inputs)
    )


@pytest.mark.parametrize("scale", [1e-3, 1.0, 20.0, 200.0])
@pytest.mark.parametrize("with_bias", [True, False])
def test_scores_of_any_size(scale: float, with_bias: bool) -> None:
    queries, weight, bias = make_inputs(with_bias=with_bias)
    inputs = [tensor for tensor in (queries, weight, bias) if tensor is not None]
    scaled = queries.float() * scale
    actual = chunked_linear_cross_entropy(
        scaled, weight.float(), None if bias is None else bias.float() * scale, TARGETS, chunk=3
    )
    expected = F.cross_entropy(
        F.linear(queries * scale, weight, None if bias is None else bias * scale), TARGETS, reduction="sum"
    )
    torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(
        torch.autograd.grad(actual, inputs), torch.autograd.grad(expected, inputs), rtol=1e-4, atol=1e-3
    )


def test_a_query_that_is_not_a_number_is_not_hidden() -> None:
    queries, weight, bias = make_inputs()
    broken = queries.detach().index_fill(0, torch.tensor([2]), torch.nan)
    assert chunked_linear_cross_entropy(broken, weight, bias, TARGETS).isnan()


def test_only_asked_gradients_are_computed() -> None:
    queries, weight, bias = make_inputs()
    loss = chunked_linear_cross_entropy(queries.detach(), weight, bias, TARGETS, chunk=3)
    gradients = loss.grad_fn.gradients  # type: ignore[union-attr]
    assert [gradient is None for gradient in gradients] == [True, False, False]
    loss.backward()
    with torch.no_grad():
        torch.testing.assert_close(chunked_linear_cross_entropy(queries, weight, bias, TARGETS), loss)


def test_a_second_backward_pass_is_refused() -> None:
    loss = chunked_linear_cross_entropy(*make_inputs(), TARGETS)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        loss.backward()


def test_rows_after_the_classes_are_ignored() -> None:
    queries, weight, bias = make_inputs()
    assert bias is not None
    loss = chunked_linear_cross_entropy(queries, weight, bias, TARGETS % 9, classes=9, chunk=3)
    expected = F.cross_entropy(F.linear(queries, weight[:9], bias[:9]), TARGETS % 9, reduction="sum")
    torch.testing.assert_close(loss, expected)
    inputs = (queries, weight, bias)
    torch.testing.assert_close(torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, inputs))


def test_autocast_narrows_the_products_and_neither_loss_nor_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, weight = (torch.randn(rows, 16, generator=generator).requires_grad_() for rows in (40, 300))
    targets = torch.randint(300, (40,), generator=generator)

    def gradients() -> tuple[Tensor, ...]:
        return torch.autograd.grad(
            chunked_linear_cross_entropy(queries, weight, None, targets, chunk=16), (queries, weight)
        )

    exact = gradients()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = chunked_linear_cross_entropy(queries, weight, None, targets)
        narrow = gradients()
    expected = F.cross_entropy(queries @ weight.T, targets, reduction="sum")
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=2e-3)
    for one, other in zip(narrow, exact, strict=True):
        assert one.dtype == torch.float32
        assert 0 < (one - other).norm() < 0.01 * other.norm()


def test_gradients_come_in_the_kind_of_the_inputs() -> None:
    queries, weight = (tensor.detach().bfloat16().requires_grad_() for tensor in make_inputs()[:2])
    loss = chunked_linear_cross_entropy(queries, weight, None, TARGETS, chunk=3)
    loss.backward()
    expected = F.cross_entropy(queries.double() @ weight.double().T, TARGETS, reduction="sum")
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert queries.grad is not None
    assert queries.grad.dtype == torch.bfloat16


def test_no_tensor_holds_all_scores() -> None:
    class Largest(TorchDispatchMode):
        elements = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                self.elements = max(self.elements, result.numel())
            return result

    queries, weight, _ = make_inputs(rows=64, classes=50, with_bias=False)
    targets = torch.arange(64) % 50
    with Largest() as seen:  # type: ignore[no-untyped-call]
        chunked_linear_cross_entropy(queries, weight, None, targets, chunk=8).backward()
    assert seen.elements == 8 * 50
