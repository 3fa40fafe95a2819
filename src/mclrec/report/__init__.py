"""Reports to look at: one HTML file with tables that sort and plots, that needs no network."""
