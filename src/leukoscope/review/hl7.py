"""A result as HL7 v2.5: the message ORU^R01 of one observation report."""

from __future__ import annotations

from datetime import datetime

from .. import __version__
from . import loinc
from .items import Item, Report

_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\r": " ", "\n": "\\.br\\"}


def message(report: Report) -> str:
    """The message; its segments end with a carriage return. Text is UTF-8."""
    segments = [
        f"MSH|^~\\&|LEUKOSCOPE {_text(__version__)}|{_text(report.laboratory)}|||{_time(report.issued)}||"
        f"ORU^R01^ORU_R01|{_text(report.id)[-20:]}|P|2.5|||AL|NE||UNICODE UTF-8",
        f"PID|1||{_text(report.subject)}||^^^^^^U",
        f"OBR|1||{_text(report.id)}^LEUKOSCOPE|{_code(loinc.PANEL, 'differential leukocyte count')}|||"
        f"{_time(report.counted)}|||||||||||||||{_time(report.issued)}||HM|{_status(report)}|||||||{_signer(report)}",
        "NTE|1|L|For research use only. Leukoscope is not a medical device."]
    if report.comment:
        segments.append(f"NTE|2|L|{_text(report.comment)}")
    for number, item in enumerate(report.items, start=1):
        segments += _result(report, item, number)
    return "".join(f"{segment}\r" for segment in segments)


def _result(report: Report, item: Item, number: int) -> list[str]:
    """OBX, and NTE for how sure it is."""
    graded = isinstance(item.value, str)
    value = _text(str(item.value)) if graded else "" if item.value is None else f"{item.value:.10g}"
    status = "X" if item.value is None else _status(report)
    bounds = f"{item.bounds[0]:g}-{item.bounds[1]:g}" if item.bounds else ""
    unit = f"{_text(item.unit)}^^UCUM" if item.unit else ""
    lines = [f"OBX|{number}|{'ST' if graded else 'NM'}|{_code(item.code, item.name)}||{value}|{unit}|{bounds}|"
             f"{item.flag}|||{status}|||{_time(report.counted)}"]
    return lines + ([f"NTE|1|L|{_text(item.note)}"] if item.note else [])


def _code(code: loinc.Code | None, name: str) -> str:
    return f"{code.code}^{_text(code.display)}^LN" if code else f"{_text(name)}^{_text(name)}^L"


def _signer(report: Report) -> str:
    """Who interprets the result (OBR-32), and the second person (OBR-33)."""
    return "|".join(f"^{_text(name)}" for name in (report.signer, report.second) if name)


def _status(report: Report) -> str:
    """F: final; C: a correction; P: preliminary."""
    return ("C" if report.corrected else "F") if report.final else "P"


def _time(when: datetime) -> str:
    return when.strftime("%Y%m%d%H%M%S+0000")


def _text(text: str) -> str:
    """Text in which no character separates fields."""
    return "".join(_ESCAPES.get(sign, sign) for sign in text if sign.isprintable() or sign in "\r\n")
