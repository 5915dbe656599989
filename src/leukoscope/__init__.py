"""Leukoscope: leukocytes and acute lymphoblastic leukemia in blood-smear images, with answers that can be trusted."""

__version__ = "0.1.0"
