"""The paper's tables and figures: each target plans its runs, a campaign does them once, frames hold what they gave."""
