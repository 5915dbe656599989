"""A trained model as one folder or ZIP file: written, opened, verified, calibrated, described.

Opening a bundle runs nothing that its maker wrote."""
