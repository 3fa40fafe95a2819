"""Watching the other processes of a run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.distributed.several import start

LEAVES = """
import time
import torch.distributed as dist
from mclrec.distributed.group import ProcessGroup
from mclrec.distributed import group

store = dist.TCPStore("127.0.0.1", 0, 1, True, wait_for_workers=False)
dist.init_process_group("gloo", store=store, rank=0, world_size=1)
group._BEAT = 0
group._Watch(ProcessGroup())
time.sleep(0.1)
"""
"""Exits without stopping the watch, which polls the store continuously."""


@pytest.mark.slow
def test_a_process_may_end_while_it_watches() -> None:
    ended = subprocess.run([sys.executable, "-c", LEAVES], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


LASTING = """
import sys
from pathlib import Path
import torch
from mclrec.distributed.group import process_group

with process_group(torch.device("cpu")) as processes:
    weight = torch.nn.Parameter(torch.ones(3))
    adam = torch.optim.Adam([weight], fused=True)
    weight.sum().backward()
    processes.all_reduce_gradients([weight])
    adam.step()
names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
sys.exit(f"still running: {names}" if "pt_gloo_runloop" in names else 0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads the names of threads in /proc")
def test_no_thread_of_a_group_outlives_it() -> None:
    """Such a thread aborts the process when the interpreter ends at the wrong moment."""
    processes = start(["-c", LASTING], 2, stderr=subprocess.PIPE)
    told = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
