"""Bands and spectra."""
