"""Windows that meet conditions: `region` and counts mark pixels, `cells` adds them up in windows, `admissible` draws."""
