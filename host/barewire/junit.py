"""JUnit's XML of a list of barewire.suite.Results, one testsuite a file, as CI systems read it."""

import re
import xml.etree.ElementTree as ET

from barewire.suite import ERROR, FAILED, SKIPPED

_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAGS = {FAILED: "failure", ERROR: "error", SKIPPED: "skipped"}


def xml(results):
    """The document, as bytes."""
    whole = ET.Element("testsuites", name="barewire", **_counts(results))
    for file in dict.fromkeys(r.file for r in results):
        mine = [r for r in results if r.file == file]
        suite = ET.SubElement(whole, "testsuite", name=file, **_counts(mine))
        for r in mine:
            dotted = file.removesuffix(".py").replace("/", ".")
            case = ET.SubElement(suite, "testcase", classname=dotted, name=r.name or dotted,
                                 file=file, time=f"{r.seconds:.3f}")  # fmt: skip
            if r.state in _TAGS:
                lines = _clean(r.why).strip().splitlines()
                e = ET.SubElement(case, _TAGS[r.state], message=lines[-1] if lines else "")
                e.text = _clean(r.why)
            if r.output:
                ET.SubElement(case, "system-out").text = _clean(r.output)
    ET.indent(whole)
    return ET.tostring(whole, encoding="utf-8", xml_declaration=True) + b"\n"


def _clean(text):
    return _NOT_XML.sub("?", text)


def _counts(results):
    return {
        "tests": str(len(results)),
        "failures": str(sum(r.state == FAILED for r in results)),
        "errors": str(sum(r.state == ERROR for r in results)),
        "skipped": str(sum(r.state == SKIPPED for r in results)),
        "time": f"{sum(r.seconds for r in results):.3f}",
    }
