"""Damaged, deep or huge JSON is read as Python's own parser reads it, or refused with an error that names the file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.attack.damage import damaged
from tests.attack.inputs import Attack

from mclrec.errors import MclrecError
from mclrec.json_files import read_json

pytestmark = pytest.mark.attack


def test_damaged_json(attack: Attack, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    for rng in attack.inputs():
        path.write_bytes(damaged(json.dumps(_value(rng)).encode(), rng))
        try:
            read = json.dumps(read_json(path))
        except MclrecError as error:
            read, refusal = None, str(error)
        if read is None:
            assert str(path) in refusal
            assert len(refusal) <= 300 + len(str(path))
        else:
            assert read == json.dumps(json.loads(path.read_bytes()))


def _value(rng: np.random.Generator, depth: int = 0) -> object:
    kind = rng.integers(0, 7 if depth < 5 else 5)
    if kind == 0:
        return int(rng.integers(-(2**62), 2**62))
    if kind == 1:
        return float(rng.normal() * 10.0 ** rng.integers(-300, 300))
    if kind == 2:
        return "".join(map(chr, rng.choice([34, 65, 92, 0x20AC, 0x1F600, 10, 0], rng.integers(0, 9))))
    if kind == 3:
        return bool(rng.integers(2))
    if kind == 4:
        return None
    if kind == 5:
        return [_value(rng, depth + 1) for _ in range(rng.integers(0, 4))]
    return {f"key {index}": _value(rng, depth + 1) for index in range(rng.integers(0, 4))}
