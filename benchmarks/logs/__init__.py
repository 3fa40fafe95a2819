"""Comparison of systems on logs, with all of their settings left at their defaults.

| module | what it does |
| --- | --- |
| `cells` | logs, systems, targets, and the cells to measure: one log, one system, one seed |
| `measuring` | measures one cell |
| `campaign` | measures cells one after another, except those that have a result |
| `page` | the tables of README.md and docs/performance.md, made from the cells' result files |
"""
