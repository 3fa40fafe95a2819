"""Reports: one HTML file with sortable tables and plots, readable without a network."""
