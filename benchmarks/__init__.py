"""Benchmarks: speed and memory beside other libraries; not part of the tests.

`python -m benchmarks list | run [ROW ...] [--quick] | logs [--only NAME] | report [--check]`.
docs/performance.md says how it is measured.

| module | what it does |
| --- | --- |
| `rows` | one module per question: what is run, and the findings computed from it |
| `logs` | the comparison of systems at their defaults on strangers' logs, a file for each training |
| `ours` `peers` | what is run: child processes that print one JSON document; peers have their own environments |
| `processes` `turns` | run a child and take its time and peak memory; let several take turns, pass by pass |
| `environments` | installs the peers |
| `load` | what keeps cores or a service busy while something is measured |
| `session` | how much is measured, with how many threads, in which scratch directory |
| `work` | checks that both sides did the same work |
| `summary` `comparison` | medians, slopes, targets; ratios to the fastest peer |
| `outcome` `machine` | the files in results/; the machine |
| `report` `headlines` `thread_table` `plots` `markdown` | tables and pictures of docs/performance.md and README.md |

This file imports nothing, because the peers' environments have none of our libraries.
"""
