"""What the pages and the JSON say of a smear: plain values, made of its result and its state."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from ..smear.count import kind_of
from ..smear.geojson import path_of
from ..tables import Row
from ..text import plain, share, span, type_name
from .desk import Seat
from .door import Session
from .entries import FINDINGS, GRADES
from .export import type_colours
from .journal import Event
from .laboratory import TARGETS
from .outcome import TypeRow, outcome_of
from .pictures import AROUND, place_of
from .smear import Review
from .state import ABSENT, CONFIRMED, FINDING, HOW, REJECTED, Signature, State, title_of

_MEASURES = (("cell_diameter", "Cell", 1, "µm", "px"), ("nucleus_diameter", "Nucleus", 1, "µm", "px"))
_TURNED = {"undone": "undone: ", "redone": "done again: "}
_RATIOS = (("nucleus_to_cytoplasm", "N:C ratio", 1), ("nucleus_roundness", "Roundness of nucleus", 2))


def types_of(review: Review, state: State) -> list[dict[str, object]]:
    """The types with their names for people, colours and keys."""
    colours, types = type_colours(review, state), review.types(state)
    keys = review.laboratory.keys_of(types)
    return [{"name": name, "label": plain(type_name(name)), "colour": colours[name], "kind": kind_of(name),
             "key": keys[name]} for name in types]


def smear_json(seat: Seat, session: Session) -> dict[str, object]:
    """Everything that the page of a smear begins with."""
    review = seat.review
    state, result = review.state(), review.result
    missing = set(result.missing())
    fields = [{"name": one.name, "image": plain(one.image), "width": one.width, "height": one.height,
               "slide": result.summary.slide is not None,
               "scale": one.micrometres_per_pixel, "missing": one.name in missing,
               "remarks": [plain(text) for text in one.remarks]} for one in result.summary.fields]
    return {"key": seat.key, "name": result.name, "version": result.digest[:8], "fields": fields,
            "cells": cells_json(review, state),
            "typed": bool(result.classes), "reading": reading_json(state),
            "grades": GRADES, "known_findings": FINDINGS, "targets": TARGETS, "laboratory": review.laboratory.name,
            **news(seat, session, 0)}


def cells_json(review: Review, state: State, since: int = 0) -> dict[str, Sequence[object]]:
    """Of all cells from a place on what a gallery needs, as columns. rank: place in the gallery, the flagged and
    doubtful first; p: the machine's probability of its type, in percent."""
    found = review.cells
    table = found.table[since:]
    fields = {field.name: place for place, field in enumerate(review.result.summary.fields)}
    types = {name: place for place, name in enumerate(review.types(state))}
    rank = [0] * len(found)
    for place, cell in enumerate(found.order):
        rank[cell] = place
    stand = [state.cells[name] for name in found.names[since:]]
    return {"field": [fields[name] for name in table["field"]], "number": table["number"].to_list(),
            "flag": table["flag"].to_list(), "doubt": found.doubtful[since:], "cut": table["cut"].to_list(),
            "damaged": table["damaged"].to_list(), "p": found.sure[since:], "rank": rank[since:],
            "x": table["centre_x"].round(1).to_list(), "y": table["centre_y"].round(1).to_list(),
            "machine": [types.get(name) for name in table["predicted"]],
            "now": [types.get(kind or "") for kind, _ in stand], "how": [HOW.index(how) for _, how in stand]}


def news(seat: Seat, session: Session, since: int) -> dict[str, object]:
    """What has changed since an event, and how the smear stands now."""
    review = seat.review
    state = review.state()
    types, places = {name: place for place, name in enumerate(review.types(state))}, review.cells.places
    fresh = state.events[since:]
    changes = [[places[name], types.get(state.cells[name][0] or ""), HOW.index(state.cells[name][1])]
               for name in state.changes(fresh)]
    last = state.signatures[-1] if state.locked else None
    return {"seq": state.seq, "state": state.word, "locked": state.locked, "me": session.name,
            "may_sign": session.may_sign or (review.reading > 0 and not state.locked),
            "undo": bool(state.done.get(session.name)), "redo": bool(state.undone.get(session.name)),
            "types": types_of(review, state), "changes": changes, "standing": standing_json(review, state),
            "signed": last and _signature(last), "second": state.second and _signature(state.second),
            "may_countersign": last is not None and state.second is None and session.may_sign and not state.reading
            and last.who.casefold() != session.name.casefold(),
            "comments": [{"who": one.who, "at": one.at, "text": one.text, "cell": places.get(one.cell or "")}
                         for one in state.comments],
            "added": drawn_json(review, state, since),
            "here": seat.look(session.id, session.name)}


def _signature(signature: Signature) -> dict[str, str]:
    return {"who": signature.who, "at": signature.at, "text": signature.text}


def reading_json(state: State) -> dict[str, object] | None:
    """Whose blind reading this is, or None for the review itself."""
    return asdict(state.readings[state.reading - 1]) if state.reading else None


def drawn_json(review: Review, state: State, since: int) -> dict[str, object] | None:
    """The cells that were drawn after an event, or None: place of the first, its columns and outlines. Their ranks are
    those of all cells, so that others keep their order."""
    place = next((place for place, one in enumerate(state.drawn) if one.seq > since), None)
    if place is None:
        return None
    first = review.cells.machine + place
    return {"first": first, "cells": cells_json(review, state, first),
            "paths": [path_of(one.feature["geometry"]) for one in state.drawn[place:]],
            "how": [one.how for one in state.drawn[place:]]}


def standing_json(review: Review, state: State) -> dict[str, object]:
    """The count as it stands, each type beside the machine's number, and what was entered beside the cells."""
    found, places = outcome_of(review, state), review.cells.places
    now = found.standing
    return {"total": now.count.total, "machine_total": review.result.summary.differential.total,
            "types": [asdict(row) | {"text": _row_texts(row)} for row in found.rows],
            "found": now.count.found + now.rejected, "cut": now.count.cut, "damaged": now.count.damaged,
            "rejected": now.rejected, "answered": now.answered, "changed": now.changed,
            "unsure": [places[name] for name in now.unsure], "flagged": [places[name] for name in now.flagged],
            "target": found.target, "white_cells": found.white_cells, "white_flag": found.white_flag,
            "platelets": found.platelets and asdict(found.platelets), "platelet_flag": found.platelet_flag,
            "findings": found.findings, "values": state.values}


def _row_texts(row: TypeRow) -> dict[str, str]:
    """The numbers of a type as the report prints them. value: percent, or per 100 leukocytes with a star; ci: its ends;
    rumke: percent; litre: 10^9/l. "" where there is none."""
    ratio = row.per_hundred
    if ratio is not None and ratio.value is not None:
        value, ends = f"{ratio.value:.1f}*", span(ratio.low, ratio.high, "{:.1f}".format, page=True)
    else:
        value = share(row.share.value if row.share else None)
        ends = span(row.share.low, row.share.high, page=True) if row.share else ""
    litre = f"{row.per_litre.value:.2f}" if row.per_litre and row.per_litre.value is not None else ""
    return {"value": value, "ci": ends, "rumke": span(*row.rumke, page=True) if row.rumke else "", "litre": litre}


def cell_json(review: Review, place: int) -> dict[str, object]:
    """One cell: what the machine says, its sizes, and what persons did."""
    state, name = review.state(), review.names[place]
    row = review.cells.row(place)
    kind, how = state.cells[name]
    shown = place_of(row, around=True)
    chances = sorted(((key[2:], value) for key, value in row.items() if key.startswith("p_") and value is not None),
                     key=lambda pair: -pair[1])
    return {"place": place, "name": name, "field": row["field"], "number": row["number"], "type": kind, "how": how,
            "machine": row["predicted"], "flag": row["flag"], "reason": plain(row["flag_reason"] or ""),
            "doubts": doubts_of(row), "set": _set_of(row),
            "explained": review.result.summary.bundle is not None and row["predicted"] is not None,
            "drawn": state.drawn[place - review.cells.machine].how if place >= review.cells.machine else None,
            "probabilities": chances[:5], "measures": measures_of(row),
            "around": {"left": shown.left, "top": shown.top, "side": shown.side, "size": AROUND},
            "history": [{"at": event.at, "who": event.who,
                         "what": f"{_TURNED.get(event.kind, '')}{change_words(was, now)}"}
                        for event in state.mine for cell, was, now in event.body.get("cells", ()) if cell == name]}


def _set_of(row: Row) -> list[str]:
    """The types among which the true one is, by the bundle's conformal set; empty where it makes none."""
    return json.loads(row["set"] or "[]")


def doubts_of(row: Row) -> list[str]:
    """What makes a cell doubtful, or keeps it out of the count."""
    words = {"unsure": row["unsure"], "unlike the cells of training": row["known"] is False,
             "cut by the border": row["cut"], "damaged outline": row["damaged"]}
    return [word for word, so in words.items() if so]


def measures_of(row: Row) -> list[tuple[str, str]]:
    """(name, value with unit) of the sizes that are known."""
    found = []
    for key, word, digits, unit, without in _MEASURES:
        value, sign = (row[f"{key}_um"], unit) if row.get(f"{key}_um") is not None else (row.get(f"{key}_px"), without)
        if value is not None:
            found.append((f"{word}, diameter", f"{value:.{digits}f} {sign}"))
    found += [(word, f"{row[key]:.{digits}f}") for key, word, digits in _RATIOS if row.get(key) is not None]
    return found + ([("Lobes", str(row["lobes"]))] if row.get("lobes") is not None else [])


def change_words(was: Sequence[str | None], now: Sequence[str | None]) -> str:
    """A change of a cell in words: "lymphocyte → monocyte"."""
    before, after = (plain(type_name(one[0])) if one[0] else "no type" for one in (was, now))
    if ABSENT in (was[1], now[1]):
        return f"drawn, {after}" if was[1] == ABSENT else "taken out"
    if now[1] == REJECTED:
        return f"{before} → rejected"
    if was[1] == REJECTED:
        return f"rejected → {after}"
    if before != after:
        return f"{before} → {after}"
    return f"{after} confirmed" if now[1] == CONFIRMED else f"{after}, not yet decided"


def event_words(event: Event) -> tuple[str, list[str]]:
    """What an event was, and each cell that it changed; a single cell stands in the words."""
    body = event.body
    cells = [f"{name}: {change_words(was, now)}" for name, was, now in body.get("cells", ())]
    many = f" {len(cells)} cells" if len(cells) > 1 else ""
    values = ", ".join(value_words(*change) for change in body.get("values", ()))
    words = {
        "given": lambda: f"Gave this smear to {plain(body['to'])} for a second, blind reading",
        "imported": lambda: f"Review begun, of {body.get('found')} cells that were found",
        "decided": lambda: f"{_did(event)}{many}", "drawn": lambda: _drew(event),
        "entered": lambda: f"Entered {values}",
        "undone": lambda: f"Undid event {body['of']}:{many}{values and f' {values}'}",
        "redone": lambda: f"Did event {body['of']} again:{many}{values and f' {values}'}",
        "commented": lambda: f"Commented{' on cell ' + body['cell'] if body['cell'] else ''}: {body['text']}",
        "type_added": lambda: f"Added the type {body['name']}",
        "signed": lambda: f"Signed {body['counts'].get('leukocytes', 0)} leukocytes"
                          + (f": {body['comment']}" if body["comment"] else ""),
        "countersigned": lambda: "Signed as the second person" + (f": {body['comment']}" if body["comment"] else ""),
        "amended": lambda: f"Opened for amendment: {body['reason']}"}
    text = words.get(event.kind, lambda: event.kind)()
    return (f"{text} {cells[0]}", []) if len(cells) == 1 else (text, cells)


def value_words(name: str, was: float | None, now: float | None) -> str:
    """An entered value in words: "schistocytes: few (1+), was none"."""
    def said(value: float | None) -> str:
        if value is None:
            return "not entered"
        return GRADES[int(value)] if name.startswith(FINDING) else f"{value:g}"

    return f"{title_of(name)}: {said(now)}, was {said(was)}"


def _drew(event: Event) -> str:
    new = event.body["new"]
    return {"add": f"Added a missed cell, {new[0]['how']}:", "split": "Split a cell in two:",
            "join": "Joined cells to one:"}[event.body["did"]]


def _did(event: Event) -> str:
    did = event.body["did"]
    if did == "type":
        return f"Called {plain(type_name(event.body['cells'][0][2][0]))}:"
    return {"confirm": "Confirmed:", "reject": "Rejected:", "restore": "Restored:"}[did]
