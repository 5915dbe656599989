"""Photographs of a smear to a folder: cells found, typed by a model, counted, and a page. Joins the steps; does none of
them itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .. import __version__
from ..errors import LeukoscopeError
from ..figures.smear import colours_of
from ..predict.model import Model, bundle_path, load, packaged_model
from ..predict.sources import Source, digest_of
from ..progress import OnProgress
from ..smear.count import is_leukocyte
from ..smear.summary import Plan, SmearSummary, Unreadable
from ..text import plural
from .smear_field import choose_scale, first_look, process_field
from .smear_inputs import fields_of, file_names
from .smear_resume import open_resumable
from .smear_write import files_of, write_smear


class UnreadableFields(LeukoscopeError):
    """No field of a smear can be read."""


def smear_fields(inputs: Sequence[str | Path], out: Path, *, bundle: str | Path | None = None, types: bool = True,
                 micrometres: float | None = None, subject: str = "", overwrite: bool = False, resume: bool = False,
                 on_progress: OnProgress | None = None) -> SmearSummary:
    """Find, outline, measure, type and count the leukocytes of photographs of one smear; docs/smear.md says what is
    written into `out`.

    bundle: what types the cells; None for the built-in model. types: False finds and measures only. micrometres: um per
    pixel of the fields; None takes the median of what the red cells of all fields say. resume: continue a run that was
    stopped. A file that cannot be read is named and left out. Raises LeukoscopeError where no file can be read, where
    `out` is not empty and must not be overwritten, or where the stopped run was another; BundleError for a damaged
    bundle.
    """
    sources = fields_of(inputs, out)
    model = open_model(bundle, types, micrometres)
    return smear_sources(sources, out, model, micrometres=micrometres, subject=subject, overwrite=overwrite,
                         resume=resume, on_progress=on_progress)


def smear_sources(sources: Sequence[Source], out: Path, model: Model | None, *, micrometres: float | None,
                  subject: str, overwrite: bool, resume: bool, on_progress: OnProgress | None = None) -> SmearSummary:
    """`smear_fields`, for fields that are listed and a model that is open."""
    names = file_names(sources)
    plan = plan_of(sources, model, micrometres=micrometres, subject=subject)
    with open_resumable(out, plan, files_of(names), resume=resume, overwrite=overwrite) as parts:
        if parts.finished:
            return SmearSummary.read(out)
        scales = [parts.scale(number, lambda source=source: first_look(source, micrometres))
                  for number, source in enumerate(sources)]
        readable = [scale for scale in scales if not scale.reason]
        if not readable:
            parts.drop()
            raise UnreadableFields(f"none of {plural(len(sources), 'field')} could be read; {sources[0].name}: "
                                   f"{scales[0].reason}", "give photographs of a smear")
        colours = colours_of(model.classes if model else ())
        for number, (source, scale) in enumerate(zip(sources, scales, strict=True)):
            if not scale.reason and not parts.has(number):
                choice = choose_scale(scale, readable, micrometres)
                result = process_field(source, names[number], model, choice, subject=subject, colours=colours, out=out)
                parts.store(number, result)
                del result  # no field stays in memory while the next one is worked on
            if on_progress is not None:
                on_progress(number + 1, len(sources))
        unreadable = [Unreadable(source.name, scale.reason)
                      for source, scale in zip(sources, scales, strict=True) if scale.reason]
        done = [number for number, scale in enumerate(scales) if not scale.reason]
        return write_smear(parts, done, unreadable, model, plan, colours, out)


def open_model(bundle: str | Path | None, types: bool, micrometres: float | None) -> Model | None:
    """The model that types the cells, or None. Raises LeukoscopeError for options that contradict each other."""
    if bundle is not None and not types:
        raise LeukoscopeError("--no-types and --bundle: the bundle is there to give types", "use one of the two")
    if micrometres is not None and not 0.01 <= micrometres <= 5:
        raise LeukoscopeError(f"--micrometres {micrometres}: expected 0.01 to 5 um per pixel",
                              "leave it out if unknown")
    if not types:
        return None
    model = load(bundle)
    if not any(map(is_leukocyte, model.classes)):
        raise LeukoscopeError(f"{bundle_path(bundle or packaged_model())}: its classes are {', '.join(model.classes)}, "
                              "and none of them is a leukocyte", "name a bundle of leukocytes, or use --no-types")
    return model


def plan_of(sources: Sequence[Source], model: Model | None, **options: object) -> Plan:
    """What must be the same for a stopped run to continue."""
    return Plan(__version__, digest_of(sources), model.description.digest if model else None, options)
