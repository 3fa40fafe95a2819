"""Benchmarks of speed and memory against other libraries; not part of the tests.

`python -m benchmarks list | run [ROW ...] [--quick] | logs [--only NAME] | report [--check]`.
docs/performance.md describes how they are measured.

| module | what it does |
| --- | --- |
| `rows` | one module per question: what is run, and the findings computed from it |
| `logs` | comparison of systems with default settings on logs, with one result file per training |
| `ours` `peers` | child processes that measure and print one JSON document; each peer has its own environment |
| `processes` `turns` | run a child and measure its time and peak memory; let several take turns, pass by pass |
| `environments` | installs the peers |
| `load` | load generators that keep cores or a service busy during a measurement |
| `session` | how much is measured, with how many threads, in which scratch directory |
| `work` | checks that both sides did the same work |
| `summary` `comparison` | medians, slopes, targets; ratios to the fastest peer |
| `outcome` `machine` | the result files in results/; a description of the machine |
| `report` `headlines` `thread_table` `plots` `markdown` | tables and pictures of docs/performance.md and README.md |

This file imports nothing, because the peers' environments have none of our libraries.
"""
