"""Speed and memory, measured beside what others use; never part of the tests.

`python -m benchmarks list | run [ROW ...] [--quick] | report`. How it is measured: docs/performance.md.

| module | what it does |
| --- | --- |
| `rows` | one question each: what is run, and what follows from it |
| `ours` `peers` | what is run: child processes that print one JSON document; peers run in environments of their own |
| `processes` `environments` | run a child and take its time and peak memory; install the peers |
| `session` | how much is measured, and where |
| `work` | both sides did the same, or it is an error |
| `summary` `outcome` `machine` | medians, slopes, targets; the files in results/; what it ran on |
| `report` `plots` | the table and the pictures of docs/performance.md |

This file imports nothing: the peers' environments have none of our libraries.
"""
