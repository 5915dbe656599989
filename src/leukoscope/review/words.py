"""What the pages and the JSON say of a smear: plain values, made of its result and its state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..smear.count import kind_of
from ..text import plain, type_name
from .desk import Seat
from .door import Session
from .export import type_colours
from .journal import Event
from .pictures import AROUND, place_of
from .smear import Review
from .state import CONFIRMED, MACHINE, REJECTED, State

HOW = (MACHINE, CONFIRMED, REJECTED)
"""How a cell stands, by its number in the JSON."""
KEYS = "1234567890qwertyuiopasdhjkl"
"""Keys of the types, in their order. Those of commands are others."""
_MEASURES = (("cell_diameter", "Cell", 1, "µm", "px"), ("nucleus_diameter", "Nucleus", 1, "µm", "px"))
_RATIOS = (("nucleus_to_cytoplasm", "N:C ratio", 1), ("nucleus_roundness", "Roundness of nucleus", 2))


def types_of(review: Review, state: State) -> list[dict[str, Any]]:
    """The types with their names for people, colours and keys."""
    colours = type_colours(review, state)
    return [{"name": name, "label": plain(type_name(name)), "colour": colours[name], "kind": kind_of(name),
             "key": KEYS[place] if place < len(KEYS) else ""} for place, name in enumerate(review.types(state))]


def smear_json(seat: Seat, session: Session) -> dict[str, Any]:
    """Everything that the page of a smear begins with."""
    review = seat.review
    state, result = review.state(), review.result
    missing = set(result.missing())
    fields = [{"name": one.name, "image": plain(one.image), "width": one.width, "height": one.height,
               "scale": one.micrometres_per_pixel, "missing": one.name in missing,
               "remarks": [plain(text) for text in one.remarks]} for one in result.summary.fields]
    return {"key": result.key, "name": result.name, "version": result.digest[:8], "fields": fields,
            "cells": cells_json(review, state), "remarks": [plain(text) for text in result.summary.remarks],
            "typed": bool(result.classes), **news(seat, session, 0)}


def cells_json(review: Review, state: State) -> dict[str, list[Any]]:
    """Of all cells what a gallery needs, as columns. rank: place in the gallery, the flagged and doubtful first; p: the
    machine's probability of its type, in percent."""
    table = review.result.cells
    fields = {field.name: place for place, field in enumerate(review.result.summary.fields)}
    types = {name: place for place, name in enumerate(review.types(state))}
    places = [0] * table.height
    for place, cell in enumerate(review.result.order):
        places[cell] = place
    return {"field": [fields[name] for name in table["field"]], "number": table["number"].to_list(),
            "flag": table["flag"].to_list(), "doubt": review.result.doubtful, "cut": table["cut"].to_list(),
            "damaged": table["damaged"].to_list(), "p": review.result.sure, "rank": places,
            "x": table["centre_x"].round(1).to_list(), "y": table["centre_y"].round(1).to_list(),
            "machine": [types.get(name) for name in table["predicted"]],
            "now": [types.get(state.cells[name][0] or "") for name in review.names],
            "how": [HOW.index(state.cells[name][1]) for name in review.names]}


def news(seat: Seat, session: Session, since: int) -> dict[str, Any]:
    """What has changed since an event, and how the smear stands now."""
    review = seat.review
    state = review.state()
    types = {name: place for place, name in enumerate(review.types(state))}
    fresh = [event for event in state.events if event.seq > since]
    changes = [[review.places[name], types.get(state.cells[name][0] or ""), HOW.index(state.cells[name][1])]
               for name in state.changes(fresh)]
    last = state.signatures[-1] if state.locked else None
    return {"seq": state.seq, "state": state.word, "locked": state.locked, "me": session.name,
            "undo": bool(state.done.get(session.name)), "redo": bool(state.undone.get(session.name)),
            "types": types_of(review, state), "changes": changes, "standing": standing_json(review),
            "signed": last and {"who": last.who, "at": last.at, "text": last.text},
            "comments": [{"who": one.who, "at": one.at, "text": one.text, "cell": review.places.get(one.cell or "")}
                         for one in state.comments],
            "here": seat.look(session.id, session.name)}


def standing_json(review: Review) -> dict[str, Any]:
    """The count as it stands, each type beside the machine's number."""
    now = review.standing()
    machine = {kind.name: kind.cells for kind in review.result.summary.differential.types}
    types = [asdict(kind) | {"machine": machine.get(kind.name, 0)} for kind in now.count.types]
    return {"total": now.count.total, "machine_total": review.result.summary.differential.total, "types": types,
            "found": now.count.found + now.rejected, "cut": now.count.cut, "damaged": now.count.damaged,
            "rejected": now.rejected, "answered": now.answered, "changed": now.changed,
            "unsure": [review.places[name] for name in now.unsure],
            "flagged": [review.places[name] for name in now.flagged]}


def cell_json(review: Review, place: int) -> dict[str, Any]:
    """One cell: what the machine says, its sizes, and what persons did."""
    state, name = review.state(), review.names[place]
    row = review.result.cells.row(place, named=True)
    kind, how = state.cells[name]
    shown = place_of(row, around=True)
    chances = sorted(((key[2:], value) for key, value in row.items() if key.startswith("p_") and value is not None),
                     key=lambda pair: -pair[1])
    return {"place": place, "name": name, "field": row["field"], "number": row["number"], "type": kind, "how": how,
            "machine": row["predicted"], "flag": row["flag"], "reason": plain(row["flag_reason"] or ""),
            "doubts": doubts_of(row), "probabilities": chances[:5], "measures": measures_of(row),
            "around": {"left": shown.left, "top": shown.top, "side": shown.side, "size": AROUND},
            "history": [{"at": event.at, "who": event.who, "what": change_words(event, was, now)}
                        for event in state.events for cell, was, now in event.body.get("cells", ()) if cell == name]}


def doubts_of(row: Mapping[str, Any]) -> list[str]:
    """What makes a cell doubtful, or keeps it out of the count."""
    words = {"unsure": row["unsure"], "unlike the cells of training": row["known"] is False,
             "cut by the border": row["cut"], "damaged outline": row["damaged"]}
    return [word for word, so in words.items() if so]


def measures_of(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, value with unit) of the sizes that are known."""
    found = []
    for key, word, digits, unit, without in _MEASURES:
        value, sign = (row[f"{key}_um"], unit) if row.get(f"{key}_um") is not None else (row.get(f"{key}_px"), without)
        if value is not None:
            found.append((f"{word}, diameter", f"{value:.{digits}f} {sign}"))
    found += [(word, f"{row[key]:.{digits}f}") for key, word, digits in _RATIOS if row.get(key) is not None]
    return found + ([("Lobes", str(row["lobes"]))] if row.get("lobes") is not None else [])


def change_words(event: Event, was: list[Any], now: list[Any]) -> str:
    """A change of a cell in words: "lymphocyte → monocyte"."""
    before, after = (plain(type_name(one[0])) if one[0] else "no type" for one in (was, now))
    turned = {"undone": "undone: ", "redone": "done again: "}.get(event.kind, "")
    if now[1] == REJECTED:
        return f"{turned}{before} → rejected"
    if was[1] == REJECTED:
        return f"{turned}rejected → {after}"
    if before != after:
        return f"{turned}{before} → {after}"
    return f"{turned}{after} confirmed" if now[1] == CONFIRMED else f"{turned}{after}, not yet decided"


def event_words(event: Event) -> tuple[str, list[str]]:
    """What an event was, and each cell that it changed; a single cell stands in the words."""
    body = event.body
    cells = [f"{name}: {change_words(event, was, now)}" for name, was, now in body.get("cells", ())]
    many = "" if len(cells) == 1 else f" {len(cells)} cells"
    words = {
        "imported": lambda: f"Review begun, of {body.get('found')} cells that were found",
        "decided": lambda: f"{_did(event)}{many}", "undone": lambda: f"Undid event {body['of']}:{many}",
        "redone": lambda: f"Did event {body['of']} again:{many}",
        "commented": lambda: f"Wrote{' on cell ' + body['cell'] if body['cell'] else ''}: {body['text']}",
        "type_added": lambda: f"Added the type {body['name']}",
        "signed": lambda: f"Signed {body['counts'].get('leukocytes', 0)} leukocytes"
                          + (f": {body['comment']}" if body["comment"] else ""),
        "amended": lambda: f"Opened for amendment: {body['reason']}"}
    text = words.get(event.kind, lambda: event.kind)()
    return (f"{text} {cells[0]}", []) if len(cells) == 1 else (text, cells)


def _did(event: Event) -> str:
    did = event.body["did"]
    if did == "type":
        return f"Called {plain(type_name(event.body['cells'][0][2][0]))}:"
    return {"confirm": "Confirmed:", "reject": "Rejected:", "restore": "Restored:"}[did]
