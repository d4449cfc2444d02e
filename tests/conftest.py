"""Fixtures come from barewire.rig; what a bridged test leaves in a capture is checked
here, by descriptions and by tshark that know nothing of the stack."""

pytest_plugins = ["barewire.rig"]


def pytest_barewire_capture(path, macs):
    from tests.wire.check import check_capture

    return check_capture(path, macs)


def pytest_terminal_summary(terminalreporter):
    """What became of the code blocks of the documentation (tests/docs), block by block not run."""
    reports = terminalreporter.stats.get("passed", [])
    pages = [dict(r.user_properties)["docs"] for r in reports
             if r.when == "call" and "docs" in dict(r.user_properties)]  # fmt: skip
    if pages:
        keys = ("blocks", "run", "compared", "drawing")
        total = {key: sum(p[key] for p in pages) for key in keys}
        without = [b for p in pages for b in p["without"]]
        terminalreporter.section("code blocks of the documentation")
        terminalreporter.line(
            f"{len(pages)} pages, {total['blocks']} blocks: {total['run']} run, "
            f"{total['compared']} outputs compared, {total['drawing']} are no code, "
            f"{len(without)} not run:"
        )
        for where, kind, why in without:
            terminalreporter.line(f"  {where}: {'looked at' if kind == 'dry' else kind}: {why}")
