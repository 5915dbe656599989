"""Fields of a blood smear: leukocytes found, outlined and measured.

    find.py       from a field to its cells, tile by tile
    field.py      the data: cells, sizes, scale
    source.py     fields of any size
    survey.py     first look: white point, scale, whether it can be a smear
    scale.py      the scale, from the red cells
    grid.py       the working grid and its tiles
    draw.py       outlines at the field's own pixels
    point.py      a cell where a person points; two of one, one of several
    measure.py    sizes and shapes of a cell
    remarks.py    what a reader must know of a field
    crops.py      cells cut out as a model needs them
    count.py      the differential
    flag.py       cells to look at first
    formats.py    tables, GeoJSON, COCO
    summary.py    the content of summary.json
    train_network.py  trains the network of the finder (finder/)
    score.py      found cells against true ones

Only a model can say which type a cell has (predict/model.py). docs/smear.md says how well all this works, and what was
tried.
"""

from .field import FoundCell, FoundField, Morphometry, Scale
from .find import find_leukocytes
from .source import ArrayField, FieldSource, open_field

__all__ = ["ArrayField", "FieldSource", "FoundCell", "FoundField", "Morphometry", "Scale", "find_leukocytes",
           "open_field"]
