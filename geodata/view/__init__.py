"""What people look at: plots and previews, samples as xarray, summaries in words."""
