"""Fields of a blood smear: leukocytes found, outlined and measured.

    find.py       the whole way, tile by tile
    field.py      what is found: data only
    survey.py     a first look: white point, scale, is it a smear
    scale.py      the scale, from the red cells
    grid.py       the working grid and its tiles
    network.py    which pixels are nucleus and cell; train_network.py trains it
    outline.py    which pixels are one cell
    measure.py    morphometry
    source.py     fields of any size
    crops.py        cells cut out as a model wants them
    count.py      the differential
    flag.py       cells to be looked at first
    formats.py     tables, GeoJSON, COCO
    score.py   found against true

What type a cell has only a model can tell (predict/model.py). docs/smear.md says how well it works, and what was tried.
"""

from .field import FoundCell, FoundField, Morphometry, Scale
from .find import find_leukocytes
from .source import ArrayField, FieldSource, open_field

__all__ = ["ArrayField", "FieldSource", "FoundCell", "FoundField", "Morphometry", "Scale", "find_leukocytes",
           "open_field"]
