"""Plots, as matplotlib figures and as SVG. Computes no metric."""
