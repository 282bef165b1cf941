"""Tables of results."""

from scenarios import REACH

COLUMNS = [  # key, title, format
    ("ops_per_s", "op/s", "{:,.0f}"), ("p50_us", "p50 us", "{:,.0f}"), ("p99_us", "p99 us", "{:,.0f}"),
    ("p999_us", "p99.9 us", "{:,.0f}"), ("cpu_us_per_op", "CPU us/op", "{:,.1f}"),
    ("syncs_per_op", "syncs/op", "{:.2f}"), ("write_bytes_per_op", "written B/op", "{:,.0f}"),
    ("rss_mb", "RSS MB", "{:,.0f}"), ("errors", "errors", "{}"),
]
EXTRAS = [  # of the scenarios that are not loads
    ("first_call_s", "first call after {:.3f} s"), ("completed", "{:,} completed before"),
    ("cpu_percent", "{:.2f} % of a core"), ("disk_mb", "{:,.0f} MB on disk"), ("sleeping", "{:,} asleep"),
    ("rss_kb_each", "{:.2f} kB each"), ("lag_p50_us", "wake-up lag p50 {:,} us"), ("lag_p99_us", "p99 {:,} us"),
]
MORE_IS_BETTER = {"ops_per_s"}


def label(row):
    return f"{row['scenario']}@{row['connections']}" if row["connections"] else row["scenario"]


def format_table(lines):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(line, widths)))
                     .rstrip() for line in lines)


def missed(row):
    """Texts of the goals that this row does not reach."""
    out = []
    for key, limit in REACH.get((row["scenario"], row["connections"]), {}).items():
        if key not in row:
            continue
        value = row[key]
        if value < limit if key in MORE_IS_BETTER else value > limit:
            out.append(f"{key} {value:,.6g} (reach {limit:,})")
    return out


def machine(state):
    text = (f"machine: {state['cores']} cores, load {state['load']:.1f} before the run, a synced 4 KiB overwrite takes "
            f"{state['sync_p50_us']:,.0f} us (p99 {state['sync_p99_us']:,.0f} us)")
    if state["load"] > 0.5:
        text += "\nOther programs are running: latencies and op/s are theirs too; trust CPU, syncs and bytes per op only."
    return text


def results(rows):
    lines = [["scenario", *(title for _, title, _ in COLUMNS)]]
    extras, misses, errors = [], [], []
    for row in rows:
        lines.append([label(row), *(fmt.format(row[key]) if key in row else "" for key, _, fmt in COLUMNS)])
        facts = [fmt.format(row[key]) for key, fmt in EXTRAS if key in row]
        if facts:
            extras.append(f"{label(row)}: " + ", ".join(facts))
        misses += [f"{label(row)}: {text}" for text in missed(row)]
        if row.get("first_error"):
            errors.append(row["first_error"])
    parts = [format_table(lines), "\n".join(extras)]
    if errors:
        parts.append("errors:\n  " + "\n  ".join(errors))
    parts.append("below the goals:\n  " + "\n  ".join(misses) if misses else "all goals that were measured are reached")
    return "\n\n".join(p for p in parts if p)


def comparison(pairs):
    """`pairs`: list of (row of ours, row of the official server), medians over the rounds."""
    keys = [("ops_per_s", "op/s"), ("p50_us", "p50"), ("p99_us", "p99"), ("cpu_us_per_op", "CPU/op"),
            ("syncs_per_op", "syncs/op"), ("write_bytes_per_op", "written/op"), ("rss_mb", "RSS MB"),
            ("first_call_s", "first call s"), ("cpu_percent", "idle CPU %"), ("disk_mb", "disk MB"),
            ("rss_kb_each", "kB each"), ("lag_p99_us", "lag p99")]
    lines = [["scenario", "measure", "ours", "official", "better by"]]
    for ours, official in pairs:
        for key, title in keys:
            if key not in ours or key not in official:
                continue
            a, b = ours[key], official[key]
            better, worse = (a, b) if key in MORE_IS_BETTER else (b, a)
            ratio = f"{better / worse:,.1f} x" if worse else "-"
            lines.append([label(ours), title, f"{a:,.5g}" if a < 1000 else f"{a:,.0f}",
                          f"{b:,.5g}" if b < 1000 else f"{b:,.0f}", ratio])
    return format_table(lines)
