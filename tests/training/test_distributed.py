"""Watching the other processes of a run."""

from __future__ import annotations

import subprocess
import sys

LEAVES = """
import time
import torch.distributed as dist
from mclrec.processes import ProcessGroup
from mclrec.training import distributed

store = dist.TCPStore("127.0.0.1", 0, 1, True, wait_for_workers=False)
dist.init_process_group("gloo", store=store, rank=0, world_size=1)
distributed._BEAT = 0
distributed._Watch(ProcessGroup())
time.sleep(0.1)
"""
"""Ends without a word to the watch, which asks the store all the time."""


def test_a_process_may_end_while_it_watches() -> None:
    ended = subprocess.run([sys.executable, "-c", LEAVES], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
