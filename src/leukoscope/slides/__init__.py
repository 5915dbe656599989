"""Whole slides: scans of a smear of 10,000 to 200,000 px a side, read by region and level, never as a whole.

    slide.py      what a slide is: levels, scale, objective, maker; windows of it
    door.py       which files are slides, and which reader opens them
    tiff.py       pyramidal, tiled and stripped TIFF, BigTIFF, OME-TIFF, Aperio's, by tifffile
    scanner.py    what OpenSlide reads: ndpi, mrxs, scn, vms, bif, svs
    dicom.py      DICOM whole slides, by wsidicom
    streamed.py   large PNG and JPEG, which have no windows: rewritten once as a tiled TIFF
    tissue.py     where the smear lies, and how large its red cells are
    monolayer.py  squares of the slide: cells beside each other, too thick, too thin, out of focus, not recorded
    path.py       the order in which squares are looked at
    regions.py    what is worked on at once, and cells at seams once
    zones.py      the count by part of the smear

docs/slides.md says how well it works.
"""

from .door import is_slide, open_slide
from .slide import Level, Slide, SlideField

__all__ = ["Level", "Slide", "SlideField", "is_slide", "open_slide"]
