"""A fake CUDA device in host memory, on which code fails or synchronises where it would on CUDA.

A `ForeignTensor` claims to be on ``cuda:0`` and holds a host tensor, on which operations compute. Inside
`foreign_device()` the rules of CUDA apply:

- an operation that mixes both devices is refused, except for zero-dimensional tensors in pointwise operations, for
  host indices into a device tensor, and for copies;
- where the host would wait for the device, `ForeignDevice.waits` records the operation and our nearest source line;
- a non-blocking copy to the host has arrived only after waiting for an event that was recorded after it. Until then
  the host tensor holds garbage;
- work can be recorded as a CUDA graph records it (`ForeignDevice.record`): by address, with host numbers as constants,
  and without taking effect. Meanwhile the recording thread may neither wait nor copy from or to the host.

Not modelled: kernels that exist on only one of the devices, autocast, and CUDA's order of summation.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from operator import attrgetter
from pathlib import Path
from threading import get_ident
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

import mclrec
import mclrec.training.loader
import mclrec.training.step_graphs
from mclrec.losses.contrastive import _index

__all__ = ["ForeignDevice", "ForeignTensor", "MixedDevicesError", "RecordingError", "foreign_device"]

CUDA = torch.device("cuda:0")
_INSIDE = torch.device("meta")
"""The device that torch's own code sees: not the CPU, and not one that a build without CUDA refuses."""

_SOURCE = str(Path(mclrec.__file__).parent)
aten = torch.ops.aten
_INDEXING = (
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
)
_SCALAR_VALUE = {
    aten.fill.Tensor,
    aten.fill_.Tensor,
    aten.masked_fill.Tensor,
    aten.masked_fill_.Tensor,
    aten.where.self,
}
"""Operations that accept a zero-dimensional host tensor as a value and are not tagged as pointwise."""
_WAITING = {aten.multinomial.default, aten.linalg_solve.default, aten.linalg_inv_ex.default}
"""Operations that check values on the host, which torch's tags do not show."""


class RecordingError(RuntimeError):
    """Something was done during recording that a CUDA graph cannot capture."""


class MixedDevicesError(RuntimeError):
    """An operation got tensors of both devices, which CUDA refuses."""


class ForeignTensor(Tensor):
    """A tensor on the device, backed by the host tensor ``held``, which only the device accesses."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> ForeignTensor:
        made: ForeignTensor = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=_INSIDE,
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        raise MixedDevicesError(f"{function} on the device outside of `foreign_device()`")

    device = property(lambda _: CUDA)
    is_cuda = property(lambda _: True)
    is_meta = property(lambda _: False)
    is_cpu = property(lambda _: False)

    def numpy(self, *_: Any, **__: Any) -> Any:
        """Refuse, as CUDA does."""
        raise TypeError("can't convert cuda:0 device type tensor to numpy: use Tensor.cpu() first")

    __array__ = numpy

    def tolist(self) -> Any:
        """The values, for which the host waits."""
        return self.to("cpu").tolist()

    def new_tensor(  # type: ignore[override]
        self, data: Any, *, dtype: torch.dtype | None = None, **_: Any
    ) -> Tensor:
        """Copy host values to a device tensor."""
        return torch.tensor(data, dtype=dtype or self.dtype, device=CUDA)

    def data_ptr(self) -> int:
        """Address on the device, which distinguishes tensors."""
        return self.held.data_ptr()

    def __repr__(self) -> str:  # type: ignore[override]
        return f"ForeignTensor({self.held!r})"


class ForeignDevice:
    """State of the device: operations that the host waited for, and copies in flight to the host.

    Attributes:
        waits: operation and source line of each wait, in order.
    """

    def __init__(self) -> None:
        self.waits: list[str] = []
        self._given: Counter[int] = Counter()  # by thread
        self._recordings: dict[int, _Recording] = {}  # by the recording thread
        self._on_their_way: list[tuple[Tensor, Tensor]] = []
        self._pinned: dict[int, Tensor] = {}  # kept alive, so that no other tensor gets the memory

    def given(self) -> int:
        """Number of operations that this thread has launched on the device."""
        return self._given[get_ident()]

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record the device operations of ``work``, undo their effects, and return a function that replays them."""
        recording, thread = _Recording(), get_ident()
        self._recordings[thread] = recording
        drawn = torch.default_generator.get_state()
        try:
            work()
        finally:
            del self._recordings[thread]
            torch.default_generator.set_state(drawn)
            recording.undo()
        return recording.replay

    def _refuse_recorded(self, why: object) -> None:
        if get_ident() in self._recordings:
            raise RecordingError(f"{why} while the device records, at {_place()}")

    def wait(self, why: object) -> None:
        """Record that the host waits until the device has done all its work."""
        self._refuse_recorded(why)
        self.waits.append(f"{why} at {_place()}")
        self.arrive(len(self._on_their_way))

    def arrive(self, count: int) -> None:
        """Let the first ``count`` copies arrive."""
        for host, value in self._on_their_way[:count]:
            host.copy_(value)
        del self._on_their_way[:count]

    @property
    def queued(self) -> int:
        """Number of copies in flight."""
        return len(self._on_their_way)

    def pinned(self, tensor: Tensor) -> Tensor:
        """A copy in pinned memory, to and from which the device copies asynchronously."""
        if isinstance(tensor, ForeignTensor):
            raise RuntimeError("cannot pin 'torch.cuda.FloatTensor': only dense CPU tensors can be pinned")
        copy = tensor.clone()
        self._pinned[_memory(copy)] = copy
        return copy

    def run(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one operation under the rules of the device."""
        leaves = [*_tensors(args), *_tensors(kwargs.values())]
        foreign = any(isinstance(leaf, ForeignTensor) for leaf in leaves)
        target = kwargs.get("device")
        if target is not None:
            made_on_device = torch.device(target).type == _INSIDE.type
            if function is aten._to_copy.default and made_on_device != foreign:
                return self._transferred(args[0], made_on_device, kwargs)
            return self._computed(function, args, {**kwargs, "device": "cpu"}, made_on_device)
        if function in (aten.copy_.default, aten.copy.default) and foreign:
            return self._copied(function, args, kwargs)
        if not foreign:
            return self._computed(function, args, kwargs, False)
        _refuse_mixed(function, args, kwargs, leaves)
        if waits := _waits(function, args, kwargs):
            self.wait(waits)
        return self._computed(function, args, kwargs, True)

    def _computed(self, function: Any, args: Any, kwargs: Any, foreign: bool) -> Any:
        pin = bool(kwargs.get("pin_memory"))
        kwargs = {key: value for key, value in kwargs.items() if key != "pin_memory"}
        self._given[get_ident()] += foreign
        recording = self._recordings.get(get_ident()) if foreign else None
        run = partial(recording.run, function) if recording else function
        out = run(*_held(args), **_held(kwargs))
        if changed := _changed(function, args, kwargs):
            returned = function._schema.returns
            return changed[0] if len(returned) == 1 else (tuple(changed) if returned else None)
        if pin:
            out = self.pinned(out)
        if not foreign:
            return out
        # A view counts as created in inference mode only if its base was.
        inference = args[0].is_inference() if function.is_view else torch.is_inference_mode_enabled()
        with torch.inference_mode(inference):
            return _each(Tensor, ForeignTensor, out)

    def _transferred(self, tensor: Tensor, there: bool, kwargs: dict[str, Any]) -> Tensor:
        """A copy of the tensor on the other device."""
        self._refuse_recorded("a copy between the devices")
        rest = {**kwargs, "device": "cpu", "pin_memory": None, "non_blocking": False}
        if not there:
            self.wait("a copy to the host")
            return aten._to_copy.default(_held(tensor), **rest)  # type: ignore[no-any-return]
        if not kwargs.get("non_blocking") or _memory(tensor) not in self._pinned:
            self.wait("a copy from memory that is not pinned, or one that blocks")
        return ForeignTensor(aten._to_copy.default(tensor, **rest))

    def _copied(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Copy into a tensor on the same or the other device."""
        into, source = args[0], args[1]
        non_blocking = bool(kwargs.get("non_blocking", args[2] if len(args) > 2 else False))
        here, there = isinstance(into, ForeignTensor), isinstance(source, ForeignTensor)
        if there and not here and non_blocking and _memory(into) in self._pinned:
            into.fill_(-77)
            self._on_their_way.append((into, source.held.clone()))
            return into
        if here != there:
            self._refuse_recorded("a copy between the devices")
        queued = not there and non_blocking and _memory(source) in self._pinned
        number = here and source.dim() == 0  # a host number: an argument of the kernel
        if here != there and not queued and not number:
            self.wait("a copy between the devices that blocks")
        return self._computed(function, args, kwargs, here)


class _Recording:
    """Recorded operations on host tensors, with the addresses of everything that they read and write."""

    def __init__(self) -> None:
        self._done: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Tensor]]] = []
        self._made: dict[int, Tensor] = {}  # by address; kept alive, so that no other tensor gets it
        self._before: list[tuple[Tensor, Tensor]] = []

    def run(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Run an operation and record it."""
        for tensor in _tensors(_changed(function, args, kwargs)):
            if _memory(tensor) not in self._made:
                self._before.append((tensor, tensor.clone()))
        known = {_memory(tensor) for tensor in _tensors((*args, *kwargs.values()))}
        out = function(*args, **kwargs)
        new = [tensor for tensor in _tensors([out]) if _memory(tensor) not in known]
        self._made |= {_memory(tensor): tensor for tensor in new}
        self._done.append((function, args, kwargs, new))
        return out

    def undo(self) -> None:
        """Restore the values of tensors that existed before the recording."""
        for tensor, value in reversed(self._before):
            tensor.copy_(value)
        self._before.clear()

    @torch.no_grad()
    def replay(self) -> None:
        """Run all operations again, at the same addresses."""
        with _disable_current_modes():
            for function, args, kwargs, made in self._done:
                known = {_memory(tensor) for tensor in _tensors((*args, *kwargs.values()))}
                out = [one for one in _tensors([function(*args, **kwargs)]) if _memory(one) not in known]
                for into, value in zip(made, out, strict=True):
                    into.copy_(value)


class ForeignGraphs:
    """Stand-in for `CudaGraphs`."""

    def __init__(self, device: ForeignDevice) -> None:
        self.device = device
        self.warm = lambda work: work()
        self.record = device.record

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _each(kind: type[Tensor], change: Callable[[Any], Any], value: Any) -> Any:
    """Apply `change` to all tensors of a type in nested lists, tuples and dicts."""
    if isinstance(value, kind):
        return change(value)
    if type(value) in (list, tuple):
        return type(value)([_each(kind, change, one) for one in value])
    if type(value) is dict:
        return {key: _each(kind, change, one) for key, one in value.items()}
    return value


def _held(value: Any) -> Any:
    return _each(ForeignTensor, attrgetter("held"), value)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif type(value) in (list, tuple):
            yield from _tensors(value)


@cache
def _written(function: Any) -> list[tuple[int, str]]:
    """Positions and names of the arguments that an operation writes to."""
    return [
        (place, argument.name)
        for place, argument in enumerate(function._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]


def _changed(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """Arguments that the operation writes to."""
    return [args[place] if place < len(args) else kwargs.get(name) for place, name in _written(function)]


def _refuse_mixed(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], leaves: list[Tensor]) -> None:
    """Refuse host tensors mixed with device tensors where CUDA refuses them."""
    here = [leaf for leaf in leaves if not isinstance(leaf, ForeignTensor)]
    if not here:
        return
    if function in _INDEXING and isinstance(args[0], ForeignTensor):
        values = [args[2]] if len(args) > 2 else []
        if all(isinstance(value, ForeignTensor) or value.dim() == 0 for value in values):
            return  # indices may be on the host; the wait is counted
    numbers = torch.Tag.pointwise in function.tags or function in _SCALAR_VALUE
    written = list(_tensors(_changed(function, args, kwargs)))
    if (
        numbers
        and all(leaf.dim() == 0 for leaf in here)
        and all(isinstance(leaf, ForeignTensor) for leaf in written)
    ):
        return
    sizes = ", ".join(str(tuple(leaf.shape)) for leaf in here)
    raise MixedDevicesError(f"{function} of cuda:0 got tensors of the host of sizes {sizes} at {_place()}")


def _waits(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Reason why the host waits for this operation; empty if it does not."""
    name = str(function)
    if function in _INDEXING:
        indices = [index for index in args[1] if index is not None]
        if any(not isinstance(index, ForeignTensor) for index in indices):
            return f"{name} by indices of the host"
        masks = any(index.dtype in (torch.bool, torch.uint8) for index in indices)
        filled = function is not aten.index.Tensor and args[2].numel() == 1 and not _accumulates(args, kwargs)
        return f"{name} by a mask" if masks and not filled else ""
    if function is aten.repeat_interleave.Tensor:
        return "" if kwargs.get("output_size") is not None else f"{name} without output_size"
    if {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(function.tags):
        return name
    return name if function in _WAITING else ""


def _accumulates(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return bool(kwargs.get("accumulate", args[3] if len(args) > 3 else False))


def _place() -> str:
    """File and line number of the innermost frame in our code."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith(_SOURCE):
            return f"{Path(frame.f_code.co_filename).relative_to(_SOURCE)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "no line of ours"


class _Names(TorchFunctionMode):
    """Replaces CUDA, which a build without CUDA refuses, with the device that torch's own code sees."""

    def __init__(self, device: ForeignDevice) -> None:
        super().__init__()
        self._device = device

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is Tensor.pin_memory:
            return self._device.pinned(args[0])
        if function is Tensor.cuda:
            return args[0].to(_INSIDE)
        name = getattr(function, "__name__", "")
        kwargs = dict(kwargs or {})
        if function is Tensor.to:
            args = tuple(_inside(value) for value in args)
        if "device" in kwargs:
            kwargs["device"] = _inside(kwargs["device"])
        if name in ("tensor", "as_tensor") and kwargs.get("device") == _INSIDE:
            kwargs = {key: value for key, value in kwargs.items() if key != "device"}
            return function(*args, **kwargs).to(_INSIDE)
        return function(*args, **kwargs)


def _inside(value: Any) -> Any:
    if isinstance(value, torch.device) and value.type == "cuda":
        return _INSIDE
    return _INSIDE if isinstance(value, str) and value in ("cuda", "cuda:0") else value


@cache
def _is_composite(function: Any) -> bool:
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(function.name(), "CompositeImplicitAutograd"))


class _Operations(TorchDispatchMode):
    def __init__(self, device: ForeignDevice) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._device = device

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if torch.is_inference_mode_enabled() and _is_composite(function):
            with self:  # inference mode does not decompose such operations first
                out = function.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        return self._device.run(function, args, kwargs)


class _Event:
    """Stand-in for `torch.cuda.Event`."""

    def __init__(self, device: ForeignDevice) -> None:
        self._device, self._count = device, 0

    def record(self) -> None:
        """Remember which copies are in flight."""
        self._count = self._device.queued

    def synchronize(self) -> None:
        """Wait until those copies have arrived."""
        self._device.waits.append(f"an event at {_place()}")
        self._device.arrive(min(self._count, self._device.queued))


@contextmanager
def foreign_device() -> Iterator[ForeignDevice]:
    """Provide a fake device ``cuda`` to this thread and to the threads that prepare batches."""
    device = ForeignDevice()

    def enter() -> None:
        _Names(device).__enter__()  # type: ignore[no-untyped-call]
        _Operations(device).__enter__()  # type: ignore[no-untyped-call]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
        patch.setattr(torch.cuda, "manual_seed_all", torch.default_generator.manual_seed)
        patch.setattr(torch.cuda, "max_memory_allocated", lambda: 0)
        patch.setattr(torch.cuda, "Event", partial(_Event, device))
        patch.setattr(mclrec.training.step_graphs, "CudaGraphs", lambda _: ForeignGraphs(device))
        patch.setattr(nn.Module, "to", _moved(nn.Module.to))
        patch.setattr(
            mclrec.training.loader, "ThreadPoolExecutor", partial(ThreadPoolExecutor, initializer=enter)
        )
        try:
            with _Names(device), _Operations(device):
                yield device
        finally:
            _index.cache_clear()  # it caches tensors on this device


def _moved(plain: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """A `Module.to` that preserves the identity of parameters, as the original does between the host and CUDA."""

    def to(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        before = torch.__future__.get_swap_module_params_on_conversion()
        torch.__future__.set_swap_module_params_on_conversion(True)
        try:
            return plain(module, *(_inside(value) for value in args), **kwargs)
        finally:
            torch.__future__.set_swap_module_params_on_conversion(before)

    return to
