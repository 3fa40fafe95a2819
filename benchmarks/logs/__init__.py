"""Strangers' logs: what each system makes of a log when all of its settings are left at their defaults.

| module | what it does |
| --- | --- |
| `cells` | logs, systems, targets, and the cells that they make: a log, a system, a seed |
| `measuring` | measures one cell |
| `campaign` | measures cells one after the other; a cell whose file is there is not measured again |
| `page` | the tables of README.md and docs/performance.md, from the files of the cells |
"""
