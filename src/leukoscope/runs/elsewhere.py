"""Where the images of a run are now, after they were moved: by a table of cells, or by the folder that holds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ..errors import RunError
from ..manifest import read_manifest

_PLACE = ("image", "mask", "x", "y", "width", "height")


@dataclass(frozen=True)
class Elsewhere:
    """data: a table of the same cells with the paths as they are now. root: a folder below which the images are, in the
    sub-folders of before or at least under their names. Neither: they were not moved."""

    data: Path | None = None
    root: Path | None = None

    def apply(self, manifest: pl.DataFrame) -> pl.DataFrame:
        """The manifest with the places of now; cells that are not found keep theirs. RunError where none is found."""
        manifest = manifest if self.data is None else _by_table(manifest, self.data)
        return manifest if self.root is None else _by_folder(manifest, self.root)


def _by_table(manifest: pl.DataFrame, data: Path) -> pl.DataFrame:
    places = read_manifest(data).select("cell_id", *_PLACE)
    joined = manifest.join(places, on="cell_id", how="left", suffix="_now", maintain_order="left")
    found = joined["image_now"].is_not_null()
    if not found.any():
        raise RunError(f"{data}: none of its cells is a cell of the run, such as '{manifest['cell_id'][0]}'",
                       "index the same images in the same way")
    return joined.with_columns(
        pl.when(found).then(f"{name}_now").otherwise(name).alias(name) for name in _PLACE).select(manifest.columns)


def _by_folder(manifest: pl.DataFrame, root: Path) -> pl.DataFrame:
    if not root.is_dir():
        raise RunError(f"{root}: no such folder", "name the folder that holds the images now")
    paths = pl.concat([manifest["image"], manifest["mask"].rename("image")]).drop_nulls().unique()
    moved = {path: _below(Path(path), root) for path in paths}
    found = {path: str(now) for path, now in moved.items() if now is not None}
    if not found:
        raise RunError(f"{root}: holds none of the images, such as {Path(manifest['image'][0]).name}",
                       "name the folder that holds them now")
    return manifest.with_columns(pl.col(name).replace(found) for name in ("image", "mask"))


def _below(path: Path, root: Path) -> Path | None:
    """The file below `root` that shares most of the path's end."""
    parts = path.parts[1:]
    return next((root.joinpath(*parts[start:]) for start in range(len(parts))
                 if root.joinpath(*parts[start:]).is_file()), None)
