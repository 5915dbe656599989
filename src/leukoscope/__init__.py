"""Leukoscope: leukocytes and acute lymphoblastic leukemia in blood-smear images, with answers that can be trusted."""

__version__ = "0.1.0"


def load(path=None):  # type: ignore[no-untyped-def]  # typed where it lives; imported late, since it takes seconds
    """The model of the package, or of a bundle, ready to predict: see `leukoscope.model.load`."""
    from .predict.model import load as load_model

    return load_model(path)
