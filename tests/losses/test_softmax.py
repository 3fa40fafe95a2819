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
    actual = chunked_linear_cross_entropy(queries, weight, bias, TARGETS, chunk)
    expected = F.cross_entropy(F.linear(queries, weight, bias), TARGETS, reduction="sum")
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(
        torch.autograd.grad(0.5 * actual, inputs), torch.autograd.grad(0.5 * expected, inputs)
    )


def test_gradients_by_differences() -> None:
    queries, weight, bias = make_inputs()
    assert bias is not None

    def loss(queries: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return chunked_linear_cross_entropy(queries, weight, bias, TARGETS, 3)

    assert torch.autograd.gradcheck(loss, (queries, weight, bias))


def test_only_asked_gradients_are_computed() -> None:
    queries, weight, bias = make_inputs()
    loss = chunked_linear_cross_entropy(queries.detach(), weight, bias, TARGETS, 3)
    kept = loss.grad_fn.saved_tensors  # type: ignore[union-attr]
    assert [gradient is None for gradient in kept] == [True, False, False]
    loss.backward()
    with torch.no_grad():
        torch.testing.assert_close(chunked_linear_cross_entropy(queries, weight, bias, TARGETS), loss)


def test_low_precision_is_computed_in_fp32_and_returned_in_kind() -> None:
    queries, weight = (tensor.detach().bfloat16().requires_grad_() for tensor in make_inputs()[:2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = chunked_linear_cross_entropy(queries, weight, None, TARGETS, 3)
    loss.backward()
    assert loss.dtype == torch.float32
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
        chunked_linear_cross_entropy(queries, weight, None, targets, 8).backward()
    assert seen.elements == 8 * 50
