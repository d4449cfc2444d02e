"""What a benchmark leaves behind: build/bench/NAME.json, and NAME.svg for people."""

import json
import statistics

from barewire.paths import build_dir


def write(out, name, record):
    """Write the rows as JSON and as a picture.

    record: a list of {"row", "unit", "better", who: [figures], ...}; a None is no figure."""
    folder = build_dir() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    _bars(folder / f"{name}.svg", record)
    out.print(f"written: build/bench/{name}.json and .svg")


def _figures(row):
    """{who: its figures} of a row, without those who have none."""
    named = {k: v for k, v in row.items() if k not in ("row", "unit", "better")}
    return {k: v for k, v in named.items() if v and None not in v}


def _plots():
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "barewire"  # the same figures give the same file
    from matplotlib import pyplot

    return pyplot


def _bars(path, record):
    """A row of bars for each row of the record, on a scale of its own, the best one full."""
    plt = _plots()
    rows = [r for r in record if _figures(r)]
    whos = list(dict.fromkeys(w for r in rows for w in _figures(r)))
    height = 0.22 * sum(len(_figures(r)) for r in rows) + 0.35 * len(rows) + 0.6
    fig, axes = plt.subplots(len(rows) or 1, 1, figsize=(8, height), squeeze=False)
    colours = {w: f"C{i}" for i, w in enumerate(whos)}
    for ax, row in zip(axes[:, 0], rows):
        figures = _figures(row)
        medians = [statistics.median(v) for v in figures.values()]
        spread = [[m - min(v) for m, v in zip(medians, figures.values())],
                  [max(v) - m for m, v in zip(medians, figures.values())]]  # fmt: skip
        ax.barh(range(len(figures)), medians, xerr=spread, color=[colours[w] for w in figures])
        ax.set_yticks(range(len(figures)), list(figures), fontsize=7)
        ax.invert_yaxis()
        title = f"{row['row']}, {row['unit']} ({row['better']} is better)"
        ax.set_title(title, fontsize=8, loc="left")
        ax.tick_params(axis="x", labelsize=7)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    fig.tight_layout()
    fig.savefig(path, metadata={"Date": None})
    plt.close(fig)


def curves(out, name, title, x_label, y_label, lines, log_x=False):
    """Write lines {who: [(x, [figures])]} as NAME.json and as a plot of their medians."""
    folder = build_dir() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    record = {"title": title, "x": x_label, "y": y_label, "lines": lines}
    (folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    plt = _plots()
    fig, ax = plt.subplots(figsize=(7, 4))
    for who, points in lines.items():
        xs = [x for x, v in points if v]
        ax.plot(xs, [statistics.median(v) for _, v in points if v], marker="o", label=who)
        ax.fill_between(xs, [min(v) for _, v in points if v], [max(v) for _, v in points if v],
                        alpha=0.2)  # fmt: skip
    if log_x:
        ax.set_xscale("log")
    ax.set(title=title, xlabel=x_label, ylabel=y_label, ylim=(0, None))
    ax.legend()
    fig.tight_layout()
    fig.savefig(folder / f"{name}.svg", metadata={"Date": None})
    plt.close(fig)
    out.print(f"written: build/bench/{name}.json and .svg")
