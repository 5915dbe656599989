"""A result as FHIR R4: a Bundle with the DiagnosticReport, its Observations and who it is about. Required fields are
those of R4 and of US Core's profiles for laboratory reports and results."""

from __future__ import annotations

import uuid
from datetime import datetime
from html import escape

from .. import __version__
from ..files import JsonObject
from . import loinc
from .items import Item, Report

_UCUM = "http://unitsofmeasure.org"
_TERMS = "http://terminology.hl7.org/CodeSystem"
_SAYS = "For research use only. Leukoscope is not a medical device; nothing in this report is a diagnosis."
_FLAGS = {"L": "Low", "H": "High"}


def bundle(report: Report) -> JsonObject:
    """The Bundle, as JSON. The same state of a record gives the same identifiers."""
    patient = {"resourceType": "Patient", "id": _uuid(report, "patient"), "identifier": [
        {"system": "urn:leukoscope:subject", "value": report.subject}]}
    observations = [_observation(report, item, f"urn:uuid:{patient['id']}") for item in report.items]
    resources = [_report(report, f"urn:uuid:{patient['id']}", observations), patient, *observations]
    return {"resourceType": "Bundle", "type": "collection", "id": _uuid(report, "bundle"),
            "identifier": {"system": "urn:leukoscope:report", "value": report.id}, "timestamp": _time(report.issued),
            "entry": [{"fullUrl": f"urn:uuid:{one['id']}", "resource": one} for one in resources]}


def _report(report: Report, subject: str, observations: list[JsonObject]) -> JsonObject:
    signers = [{"display": name} for name in (report.signer, report.second) if name]
    signed = {"resultsInterpreter": signers} if signers else {}
    said = {"conclusion": report.comment} if report.comment else {}
    return {"resourceType": "DiagnosticReport", "id": _uuid(report, "report"),
            "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>'
                                                   f"{escape(_SAYS)} Leukoscope {__version__}.</p></div>"},
            "identifier": [{"system": "urn:leukoscope:report", "value": report.id}], "status": _status(report),
            "category": [{"coding": [{"system": f"{_TERMS}/v2-0074", "code": "LAB", "display": "Laboratory"},
                                     {"system": f"{_TERMS}/v2-0074", "code": "HM", "display": "Hematology"}]}],
            "code": _code(loinc.PANEL, "differential leukocyte count"), "subject": {"reference": subject},
            "effectiveDateTime": _time(report.counted), "issued": _time(report.issued),
            "performer": [{"display": report.laboratory or "Laboratory"}], **signed,
            "result": [{"reference": f"urn:uuid:{one['id']}"} for one in observations], **said}


def _observation(report: Report, item: Item, subject: str) -> JsonObject:
    shown = {"%": "%", "10*9/L": "10⁹/l"}.get(item.unit, "per 100 leukocytes")

    def quantity(value: float) -> JsonObject:
        return {"value": value, "unit": shown, "system": _UCUM, "code": item.unit}

    value: JsonObject
    if item.value is None:
        value = {"dataAbsentReason": {"coding": [{"system": f"{_TERMS}/data-absent-reason", "code": "not-performed"}],
                                      "text": item.note}}
    elif isinstance(item.value, str):
        value = {"valueCodeableConcept": {"text": item.value}}
    else:
        value = {"valueQuantity": quantity(item.value)}
    flag = {"interpretation": [{"coding": [{"system": f"{_TERMS}/v3-ObservationInterpretation", "code": item.flag,
                                            "display": _FLAGS[item.flag]}]}]} if item.flag else {}
    bounds = {"referenceRange": [{"low": quantity(item.bounds[0]), "high": quantity(item.bounds[1])}]} \
        if item.bounds else {}
    note = {"note": [{"text": item.note}]} if item.note and item.value is not None else {}
    return {"resourceType": "Observation", "id": _uuid(report, item.name), "status": _status(report),
            "category": [{"coding": [{"system": f"{_TERMS}/observation-category", "code": "laboratory",
                                      "display": "Laboratory"}]}],
            "code": _code(item.code, item.name),
            "subject": {"reference": subject}, "effectiveDateTime": _time(report.counted),
            "issued": _time(report.issued), "performer": [{"display": report.laboratory or "Laboratory"}],
            "method": {"text": "cells found and sorted by Leukoscope, reviewed by a person"}, **value, **flag, **bounds,
            **note}


def _code(code: loinc.Code | None, text: str) -> JsonObject:
    coding = [{"system": loinc.SYSTEM, "code": code.code, "display": code.display}] if code else []
    return {**({"coding": coding} if coding else {}), "text": text}


def _status(report: Report) -> str:
    return ("amended" if report.corrected else "final") if report.final else "preliminary"


def _time(when: datetime) -> str:
    return when.isoformat(timespec="seconds").replace("+00:00", "Z")


def _uuid(report: Report, *parts: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "\n".join(("leukoscope", report.id, *parts))))
