"""Photographs of a smear to a folder: cells found, typed by a model, counted, and a page. Joins the steps; does none of
them itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from .. import __version__
from ..errors import LeukoscopeError, input_error
from ..figures.palette import colours_of
from ..predict.batches import reason_of
from ..predict.model import Model, bundle_path, load, packaged_model
from ..predict.sources import Listed, Source, digest_of
from ..progress import OnProgress
from ..smear.count import is_leukocyte
from ..smear.find import FirstLook
from ..smear.summary import Plan, SmearSummary, Unreadable
from ..text import escaped, plural
from .inputs import UnreadableFields, check_smear_options, none_readable
from .smear_field import choose_scale, first_look, process_field
from .smear_inputs import fields_of, file_names
from .smear_resume import FieldResult, FieldScale, Parts, open_resumable
from .smear_write import FIELD_FILES, Aside, files_of, write_smear

MOST_NAMED = 1000
"""Files that are left out and that the summary names one by one."""
MOST_LOOKS = 100
"""Fields whose first look is kept until they are worked on, up to 1 MB each; of others it is taken again."""


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
    fields = fields_of(inputs, out)
    model = open_model(bundle, types, micrometres)
    return smear_listed(fields, out, model, micrometres=micrometres, subject=escaped(subject), overwrite=overwrite,
                        resume=resume, on_progress=on_progress)


def smear_listed(fields: Listed, out: Path, model: Model | None, *, micrometres: float | None, subject: str,
                 overwrite: bool, resume: bool, on_progress: OnProgress | None = None) -> SmearSummary:
    """`smear_fields`, for fields that are listed and a model that is open."""
    sources, names = fields.sources, file_names(fields.sources)
    plan = plan_of(sources, model, micrometres=micrometres, subject=subject)
    with open_resumable(out, plan, files_of(names), resume=resume, overwrite=overwrite) as parts:
        if parts.finished:
            return SmearSummary.read(out)
        scales, looks = _first_looks(parts, sources, micrometres)
        readable = [scale for scale in scales if not scale.reason]
        if not readable:
            parts.drop()
            raise none_readable(len(sources), sources[0].name, scales[0].reason)
        colours = colours_of(model.classes if model else ())
        for number, (source, scale) in enumerate(zip(sources, scales, strict=True)):
            if not scale.reason and not scale.failed and not parts.has(number):
                scales[number] = _work_on(parts, number, scale, [out / f"{names[number]}{end}" for end in FIELD_FILES],
                                          partial(process_field, source, names[number], model, scale,
                                                  choose_scale(scale, readable, micrometres), subject=subject,
                                                  colours=colours, out=out, look=looks.pop(number, None)))
            if on_progress is not None:
                on_progress(number + 1, len(sources))
        unreadable = [Unreadable(escaped(source.name), scale.reason or scale.failed)
                      for source, scale in zip(sources, scales, strict=True) if scale.reason or scale.failed]
        done = [number for number, scale in enumerate(scales) if not scale.reason and not scale.failed]
        if not done:
            parts.drop()
            raise UnreadableFields(f"no field could be worked on; {unreadable[0].image}: {unreadable[0].reason}",
                                   "give photographs of a smear")
        return write_smear(parts, done, Aside(tuple(unreadable), left_out(fields)), model, plan, colours, out)


def _first_looks(parts: Parts, sources: Sequence[Source], micrometres: float | None,
                 ) -> tuple[list[FieldScale], dict[int, FirstLook]]:
    """What the first look at each field gave, or gives now; and the whole look of some that are looked at now."""
    looks: dict[int, FirstLook] = {}

    def look(number: int, source: Source) -> FieldScale:
        scale, looked = first_look(source, micrometres)
        if looked is not None and len(looks) < MOST_LOOKS:
            looks[number] = looked
        return scale

    return [parts.scale(number, partial(look, number, source)) for number, source in enumerate(sources)], looks


def _work_on(parts: Parts, number: int, looked: FieldScale, files: Sequence[Path],
             work: Callable[[], FieldResult]) -> FieldScale:
    """Store the result of a field or, whatever it raises, why there is none; `files` of such a field are removed. No
    result stays in memory while the next field is worked on."""
    try:
        result = work()
    except OSError:  # of what is written, such as a full disk: the run can be continued
        raise
    except Exception as error:  # a stranger's image may raise anything, and is one line of the result
        for file in files:
            file.unlink(missing_ok=True)
        return parts.leave_out(number, replace(looked, failed=reason_of(input_error(error))))
    parts.store(number, result)
    return looked


def left_out(fields: Listed) -> tuple[Unreadable, ...]:
    """What else lies in the inputs, as the summary holds it: at most MOST_NAMED entries."""
    named = [Unreadable(one.name, one.reason) for one in fields.left_out[:MOST_NAMED]]
    more = len(fields.left_out) - len(named)
    return (*named, *([Unreadable(plural(more, "more file"), "are left out")] if more else []))


def open_model(bundle: str | Path | None, types: bool, micrometres: float | None) -> Model | None:
    """The model that types the cells, or None. Raises LeukoscopeError for options that contradict each other."""
    check_smear_options(bundle, types, micrometres)
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
