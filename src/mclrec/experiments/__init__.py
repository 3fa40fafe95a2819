"""The paper's tables and figures: targets plan the runs, a campaign does each run once, tables show the results."""
