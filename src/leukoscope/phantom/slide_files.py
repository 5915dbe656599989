"""Phantom slides as files: generic tiled TIFF, SVS as Aperio's, SCN as Leica's, OME-TIFF, DICOM; with their truth.

    python -m leukoscope.phantom.slide_files slide.svs --width 40000 --height 30000
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from ..errors import LeukoscopeError
from ..files import atomic_path, write_json
from .slide import PhantomSlide, render_slide

if TYPE_CHECKING:
    from pydicom import Dataset

TILE = 256
FORMATS = (".tif", ".svs", ".scn", ".ome.tif", ".dcm")
_QUALITY = 90
_REMEMBERED = 4096  # encoded tiles, of about 50 kB each
Options = dict[str, Any]
"""Of `TiffWriter.write`."""
_JPEG: Options = {"compression": "jpeg", "compressionargs": {"level": _QUALITY}, "tile": (TILE, TILE),
                  "photometric": "rgb", "maxworkers": 1, "metadata": None}


def write_slide(slide: PhantomSlide, path: Path | str, *, label: bool = True, pyramid: bool = True,
                scale: bool = True) -> Path:
    """Write a slide in the format that the end of `path` says (FORMATS; ".dcm": a folder of files), and its truth as
    JSON beside it. label: with a picture of a label, in SVS. pyramid, scale: whether the file has coarser levels and
    says how large its pixels are. Raises LeukoscopeError for another format."""
    path = Path(path)
    kind = next((end for end in sorted(FORMATS, key=len, reverse=True) if path.name.lower().endswith(end)), "")
    if not kind:
        raise LeukoscopeError(f"{path}: unknown format", f"end the name with {', '.join(FORMATS)}")
    levels = slide.downsamples if pyramid else slide.downsamples[:1]
    if kind == ".dcm":
        _write_dicom(slide, path, levels)
    else:
        with atomic_path(path) as beside, tifffile.TiffWriter(beside, bigtiff=True, ome=kind == ".ome.tif") as file:
            write = {".tif": _write_tiff, ".svs": _write_svs, ".scn": _write_scn, ".ome.tif": _write_ome}[kind]
            write(file, slide, levels, label, scale)
    write_json(path.with_name(f"{path.name}.truth.json"), {
        "width": slide.width, "height": slide.height, "micrometres_per_pixel": slide.micrometres_per_pixel,
        "block": slide.block, "zones": slide.zones.tolist(), "cells": [asdict(cell) for cell in slide.cells]})
    return path


def _level(slide: PhantomSlide, by: int) -> Options:
    """What the writer of a TIFF is told of a level."""
    width, height = slide.size(by)
    return {"data": _encoded(slide.tiles(by, TILE)), "shape": (height, width, 3), "dtype": np.uint8, **_JPEG}


def _encoded(tiles: Iterator[NDArray[np.uint8]]) -> Iterator[bytes]:
    """The tiles as JPEG. One that comes again is encoded once: as they do where blocks are made of whole tiles."""
    known: dict[bytes, bytes] = {}
    for tile in tiles:
        digest = hashlib.blake2b(tile.tobytes(), digest_size=16).digest()
        if digest not in known:
            while len(known) >= _REMEMBERED:
                known.pop(next(iter(known)))
            known[digest] = bytes(imagecodecs.jpeg8_encode(tile, level=_QUALITY, colorspace="RGB",
                                                           outcolorspace="YCBCR", subsampling=(2, 2)))
        yield known[digest]


def _resolution(slide: PhantomSlide, by: int, scale: bool) -> Options:
    per_centimetre = 10_000 / (slide.micrometres_per_pixel * by)
    return {"resolution": (per_centimetre,) * 2, "resolutionunit": "CENTIMETER"} if scale else {}


def _write_tiff(file: tifffile.TiffWriter, slide: PhantomSlide, levels: Sequence[int], label: bool,
                scale: bool) -> None:
    for by in levels:
        file.write(**_level(slide, by), subfiletype=int(by > 1), **_resolution(slide, by, scale))


def _write_svs(file: tifffile.TiffWriter, slide: PhantomSlide, levels: Sequence[int], label: bool, scale: bool) -> None:
    width, height = slide.width, slide.height
    head = (f"Aperio Image Library v12.0.15\r\n{width}x{height} [0,0 {width}x{height}] ({TILE}x{TILE}) "
            f"JPEG/RGB Q={_QUALITY}")
    stated = f"|AppMag = 40|MPP = {slide.micrometres_per_pixel:.4f}" if scale else "|AppMag = 40"
    file.write(**_level(slide, 1), description=head + stated)
    by = slide.downsamples[-1]
    small = slide.read(by, 0, 0, *slide.size(by))
    aside: Options = {"photometric": "rgb", "compression": "jpeg", "metadata": None, "rowsperstrip": 16}
    file.write(small, description=f"{head} -> {small.shape[1]}x{small.shape[0]}{stated}", **aside)
    for coarser in levels[1:]:
        file.write(**_level(slide, coarser), description=f"{head} -> {width // coarser}x{height // coarser}{stated}")
    for name, kind in (("label", 1), ("macro", 9)) if label else ():
        picture = np.full((120, 160, 3), 250 if kind == 1 else 200, np.uint8)
        picture[40:60, 20:140] = 20  # as a name would be written
        text = f"Aperio Image Library v12.0.15\r\n{name} 160x120"
        file.write(picture, description=text, subfiletype=kind, **aside)


def _write_scn(file: tifffile.TiffWriter, slide: PhantomSlide, levels: Sequence[int], label: bool, scale: bool) -> None:
    """The scan is a part of the glass, as wide as it again on the left and half as wide on the right."""
    nanometres = 1000 * slide.micrometres_per_pixel
    wide, high = (round(side * nanometres) for side in (slide.width, slide.height))
    sizes = [slide.size(by) for by in levels]
    dimensions = "".join(f'<dimension sizeX="{width}" sizeY="{height}" r="{number}" ifd="{number}"/>'
                         for number, (width, height) in enumerate(sizes))
    description = (
        f'<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection name="" '
        f'sizeX="{5 * wide // 2}" sizeY="{2 * high}"><image><device model="phantom" version="1"/><pixels '
        f'sizeX="{slide.width}" sizeY="{slide.height}">{dimensions}</pixels><view sizeX="{wide}" sizeY="{high}" '
        f'offsetX="{wide}" offsetY="{high // 2}"/><scanSettings><objectiveSettings><objective>40</objective>'
        "</objectiveSettings><illuminationSettings><numericalAperture>0.75</numericalAperture><illuminationSource>"
        "brightfield</illuminationSource></illuminationSettings></scanSettings></image></collection></scn>")
    for by in levels:
        first = {"description": description} if by == 1 else {}
        file.write(**_level(slide, by), **first, **_resolution(slide, by, scale))


def _write_ome(file: tifffile.TiffWriter, slide: PhantomSlide, levels: Sequence[int], label: bool, scale: bool) -> None:
    size = slide.micrometres_per_pixel
    metadata: dict[str, object] = {"axes": "YXS"}
    if scale:
        metadata |= {"PhysicalSizeX": size, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": size, "PhysicalSizeYUnit": "µm"}
    finest: Options = _level(slide, 1) | {"metadata": metadata}
    file.write(**finest, subifds=len(levels) - 1)
    for by in levels[1:]:
        file.write(**_level(slide, by), subfiletype=1)


def _write_dicom(slide: PhantomSlide, folder: Path, levels: Sequence[int]) -> None:
    """A folder with a file for each level. Needs pydicom."""
    from pydicom.uid import generate_uid  # late: of the extra `slides`

    folder.mkdir(parents=True, exist_ok=True)
    uids = {name: str(generate_uid()) for name in ("study", "series", "frame", "specimen", "pyramid")}
    for number, by in enumerate(levels):
        dataset = _dicom_level(slide, by, number, uids)
        with atomic_path(folder / f"level_{number}.dcm") as beside:
            dataset.save_as(beside, enforce_file_format=True)


def _dicom_level(slide: PhantomSlide, by: int, number: int, uids: Mapping[str, str]) -> Dataset:
    """One level as a VL Whole Slide Microscopy Image, tiled in full."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage, generate_uid

    width, height = slide.size(by)
    frames = list(_encoded(slide.tiles(by, TILE)))
    spacing = slide.micrometres_per_pixel * by / 1000
    kind = ["ORIGINAL" if by == 1 else "DERIVED", "PRIMARY", "VOLUME", "NONE" if by == 1 else "RESAMPLED"]
    uid = generate_uid()
    data = _dicom_slide(uids)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = uid
    data.InstanceNumber, data.ImageType, data.NumberOfFrames = number + 1, kind, len(frames)
    data.TotalPixelMatrixColumns, data.TotalPixelMatrixRows = width, height
    data.ImagedVolumeWidth, data.ImagedVolumeHeight, data.ImagedVolumeDepth = width * spacing, height * spacing, 0.001
    measures = _item(PixelSpacing=[spacing, spacing], SliceThickness=0.001, SpacingBetweenSlices=0.001)
    data.SharedFunctionalGroupsSequence = [_item(
        PixelMeasuresSequence=[measures], WholeSlideMicroscopyImageFrameTypeSequence=[_item(FrameType=kind)],
        OpticalPathIdentificationSequence=[_item(OpticalPathIdentifier="1")])]
    data.PixelData = encapsulate(frames)
    data["PixelData"].is_undefined_length = True
    return data


def _dicom_slide(uids: Mapping[str, str]) -> Dataset:
    """What all levels of a slide state alike."""
    codes = (("111744", "Brightfield illumination"), ("11744", "Full Spectrum"))
    brightfield, full = (_item(CodeValue=value, CodingSchemeDesignator="DCM", CodeMeaning=name)
                         for value, name in codes)
    path = _item(OpticalPathIdentifier="1", ObjectiveLensPower=40, IlluminationTypeCodeSequence=[brightfield],
                 IlluminationColorCodeSequence=[full])
    specimen = _item(SpecimenIdentifier="phantom", SpecimenUID=uids["specimen"], SpecimenPreparationSequence=[],
                     IssuerOfTheSpecimenIdentifierSequence=[])
    empty = dict.fromkeys(("PatientName", "AccessionNumber", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
                           "ReferringPhysicianName"), "")
    lists: dict[str, list[Dataset]] = {
        "TotalPixelMatrixOriginSequence": [_item(XOffsetInSlideCoordinateSystem=0, YOffsetInSlideCoordinateSystem=0)],
        "OpticalPathSequence": [path], "SpecimenDescriptionSequence": [specimen], "AcquisitionContextSequence": [],
        "IssuerOfTheContainerIdentifierSequence": [], "ContainerTypeCodeSequence": []}
    return _item(
        StudyInstanceUID=uids["study"], SeriesInstanceUID=uids["series"], FrameOfReferenceUID=uids["frame"],
        PyramidUID=uids["pyramid"], Modality="SM", Manufacturer="Leukoscope", ManufacturerModelName="phantom",
        DeviceSerialNumber="1", SoftwareVersions="1", PatientID="phantom", StudyID="1", SeriesNumber=1,
        ContainerIdentifier="phantom", ContentDate="20240101", ContentTime="000000",
        AcquisitionDateTime="20240101000000", PositionReferenceIndicator="SLIDE_CORNER", SamplesPerPixel=3,
        PhotometricInterpretation="YBR_FULL_422", PlanarConfiguration=0, BitsAllocated=8, BitsStored=8, HighBit=7,
        PixelRepresentation=0, Rows=TILE, Columns=TILE, TotalPixelMatrixFocalPlanes=1, NumberOfOpticalPaths=1,
        DimensionOrganizationType="TILED_FULL", VolumetricProperties="VOLUME", SpecimenLabelInImage="NO",
        FocusMethod="AUTO", ExtendedDepthOfField="NO", LossyImageCompression="01", LossyImageCompressionRatio=10,
        LossyImageCompressionMethod="ISO_10918_1", BurnedInAnnotation="NO", ImageOrientationSlide=[0, -1, 0, -1, 0, 0],
        **empty, **lists)


def _item(**values: object) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a slide as the command line says."""
    parser = argparse.ArgumentParser(description="Write a phantom slide with its truth.")
    parser.add_argument("path", type=Path, help=f"ends with {', '.join(FORMATS)}")
    parser.add_argument("--width", type=int, default=40_000)
    parser.add_argument("--height", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--block", type=int, default=960)
    parser.add_argument("--unrecorded", type=int, default=0, help="black and white blocks in the monolayer")
    given = parser.parse_args(arguments)
    slide = render_slide(given.width, given.height, seed=given.seed, block=given.block, unrecorded=given.unrecorded)
    print(f"{write_slide(slide, given.path)}: {len(slide.cells):,} nucleated cells")


if __name__ == "__main__":
    main()
