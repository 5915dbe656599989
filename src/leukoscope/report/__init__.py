"""Pages: HTML files that stand alone, drawn from what a folder of results holds. Computes no metric."""
