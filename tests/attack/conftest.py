"""Fuzz tests: random inputs for a bounded time, from a seed that is printed (`make test-attack`).

A test in this folder takes the fixture `attack` and loops over `attack.inputs()`: one generator per input, until the
test's share of the time is up. A failure report names the seed and the number of the failing input, which reproduce it.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest
from tests.attack.inputs import SEED, Attack

SECONDS = float(os.environ.get("ATTACK_SECONDS", "60"))
ATTACK = pytest.StashKey[Attack]()
INPUTS, SHARE = "attack inputs", "attack share"


def _share(item: pytest.Item) -> float:
    mark = item.get_closest_marker("attack")
    return float(mark.kwargs.get("share", 1)) if mark else 0.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test its share of the time; `@pytest.mark.attack(share=3)` gets three times the usual share.

    Warnings are not errors here: many random logs cause a warning about an ambiguous choice.
    """
    whole = sum(map(_share, items))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    for item in items:
        if share := _share(item):
            item.add_marker(pytest.mark.filterwarnings("ignore::mclrec.errors.MclrecWarning"))
            item.stash[ATTACK] = Attack(item.name, SECONDS * workers * share / whole)


@pytest.fixture
def attack(request: pytest.FixtureRequest) -> Iterator[Attack]:
    """The inputs of this test."""
    inputs = request.node.stash.get(ATTACK, Attack(request.node.name, 1.0))
    request.node.stash[ATTACK] = inputs
    yield inputs
    request.node.user_properties.append((INPUTS, inputs.done))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the failure report the command that reproduces the input."""
    report = yield
    inputs = item.stash.get(ATTACK, None)
    if inputs is not None and report.when == "call" and report.failed:
        again = f"ATTACK_SEED={SEED} ATTACK_INPUT={inputs.number} python -m pytest '{item.nodeid}'"
        report.sections.append(("this input alone", again))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the seed and the number of inputs."""
    reports = terminalreporter.getreports("")  # teardown reports, which hold the number of inputs
    done = sum(value for report in reports for name, value in report.user_properties if name == INPUTS)
    if done:
        terminalreporter.write_line(f"attack: {done:,} inputs, seed {SEED}")
