"""What bench/compare shows of its measurements: tables and a figure, from the JSON that it writes.

The JSON: {"machine": {...}, "forge": {"version", "commit"}, "peers": [{"name", "version", "flags"}],
"arguments": {"p": [...], "n", "r", "t", "d": [...]}, "results": [one a model]}. A result has "model", "level",
"read_bandwidth" (bytes a second), "weight_bytes_per_token", "memory_allowance_bytes", "programs": {name: {metric:
{"median", "spread", "samples"}}}, where ours is called "ours".
"""
import dataclasses
import html

OURS = "ours"
MIB = 2.0**20


@dataclasses.dataclass(frozen=True)
class Metric:
    """A measured number: its key in a result, how it is shown, and what ours / best peer is to reach."""
    key: str
    title: str
    unit: str
    scale: float = 1
    decimals: int = 1
    less_is_better: bool = False
    target: float | None = None

    def show(self, value):
        return f"{value * self.scale:.{self.decimals}f}"


def prefill_key(n, depth=0):
    return f"prefill_{n}" + (f"_d{depth}" if depth else "")


def decode_key(depth=0):
    return "decode" + (f"_d{depth}" if depth else "")


def at(depth):
    return f" behind {depth}" if depth else ""


def tests(arguments):
    """(prompt tokens or 0, decode steps or 0, depth) of each test: all prefills and the decode from an empty cache, the
    largest prefill and the decode at each depth."""
    largest = max(arguments["p"])
    yield 0, arguments["n"], 0
    for p in sorted(arguments["p"], reverse=True):
        yield p, 0, 0
    for d in arguments["d"]:
        yield 0, arguments["n"], d
        yield largest, 0, d


def test_key(p, depth):
    return prefill_key(p, depth) if p else decode_key(depth)


def metrics(arguments):
    out = []
    for p, _, d in tests(arguments):
        title = (f"prefill {p}" if p else "decode") + at(d)
        out.append(Metric(test_key(p, d), title, "tok/s", target=1.0))
        if not p and not d:
            out.append(Metric("decode_bandwidth_share", "decode reads / read bandwidth", "%", 100, 0))
    return out + [
        Metric("start_to_first_token_s", "start to first token", "ms", 1e3, 1, True, 0.5),
        Metric("start_to_exit_s", "start to exit, one token", "ms", 1e3, 1, True),
        Metric("peak_rss_bytes", "peak memory, one token", "MiB", 1 / MIB, 1, True, 0.6),
    ]


def has_peers(result):
    return len(result["programs"]) > 1


def best_peer(result, metric):
    """(name, median) of the peer that does best; None where no peer was measured."""
    medians = [(name, p[metric.key]["median"]) for name, p in result["programs"].items()
               if name != OURS and metric.key in p]
    choose = min if metric.less_is_better else max
    return choose(medians, key=lambda peer: peer[1]) if medians else None


def ratio(result, metric):
    """Ours / best peer, or None."""
    best = best_peer(result, metric)
    ours = result["programs"][OURS].get(metric.key)
    return ours["median"] / best[1] if best and ours and best[1] else None


def summary_table(data):
    """A row a model: our number and, in brackets, how many times the best peer's that is."""
    shown = [m for m in metrics(data["arguments"]) if m.key != "start_to_exit_s"]
    header = ["model"] + [f"{m.title} ({m.unit})" for m in shown]
    header[-1] = "peak memory / allowed (MiB)"
    rows = [header]
    for result in data["results"]:
        row = [f"{result['model']}"]
        for m in shown:
            ours = result["programs"][OURS][m.key]["median"]
            if m.key == "peak_rss_bytes":
                row.append(f"{m.show(ours)} / {m.show(result['memory_allowance_bytes'])}")
            elif m.key == "decode_bandwidth_share":
                row.append(m.show(ours) + "%")
            else:
                times = ratio(result, m)
                row.append(m.show(ours) + (f" ({times:.2f}×)" if times else ""))
        rows.append(row)
    return rows


def verdict(value, metric):
    if metric.target is None or value is None:
        return ""
    met = value <= metric.target if metric.less_is_better else value >= metric.target
    return f"{'≤' if metric.less_is_better else '≥'} {metric.target:.1f}: {'met' if met else 'missed'}"


def model_table(data, result):
    """All numbers of a model, with their spreads."""
    names = list(result["programs"])
    rows = [[""] + [cell for name in names for cell in (name, "spread")] +
            (["ours / best", "target"] if has_peers(result) else [])]
    for m in metrics(data["arguments"]):
        row = [f"{m.title} ({m.unit})"]
        for name in names:
            s = result["programs"][name].get(m.key)
            row += [m.show(s["median"]), f"{100 * s['spread']:.0f}%"] if s else ["", ""]
        times = ratio(result, m)
        rows.append(row + ([f"{times:.2f}" if times else "", verdict(times, m)] if has_peers(result) else []))
    return rows


def format_table(rows, markdown):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for n, row in enumerate(rows):
        cells = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))]
        lines.append(f"| {' | '.join(cells)} |" if markdown else "  ".join(cells).rstrip())
        if markdown and n == 0:
            lines.append(f"|{'-' * (widths[0] + 2)}|{''.join('-' * (w + 1) + ':|' for w in widths[1:])}")
    return "\n".join(lines)


def describe(data):
    """What the numbers were measured on, against and how, a line each."""
    m, a = data["machine"], data["arguments"]
    levels = sorted({r["level"] for r in data["results"]})
    out = [f"{m['cpu']}, {m['cores']} cores ({' '.join(m['features'])}), {m['memory_bytes'] / 2**30:.0f} GiB, "
           f"Linux {m['kernel']}, {m['date']}",
           f"ours: {data['forge']['version']}, commit {data['forge']['commit']}, compiled for {', '.join(levels)}"]
    out += [f"{p['name']}: {p['version']}" + (f", llama-bench {' '.join(p['flags'])}" if p["flags"] else "")
            for p in data["peers"]]
    rounds = "one round" if a["r"] == 1 else f"medians of {a['r']} rounds in turns; spread: (largest - smallest) / median"
    return out + [f"{a['t']} threads, {rounds}"]


def notes(result):
    b = result["read_bandwidth"]
    out = [f"read bandwidth {b['median'] / 1e9:.1f} GB/s (spread {100 * b['spread']:.0f}%), "
           f"{result['weight_bytes_per_token'] / 1e6:.1f} MB of weights a token",
           f"allowed memory: weights, the KV cache of the tokens and 30 MB: "
           f"{result['memory_allowance_bytes'] / MIB:.1f} MiB",
           f"other processes kept {result['other_processes_cores']:.2f} cores busy meanwhile; load average "
           f"{result['load_before'][0]:.1f} before, {result['load_after'][0]:.1f} after"]
    if result["compile_cold_s"] is not None:  # where the machine has no compiler, programs come from another one
        out.append(f"forge compile: {result['compile_cold_s']:.1f} s cold, {result['compile_cached_s']:.1f} s with cached code")
    if result["peak_is_bound"]:
        out.append("peak memory is an upper bound: a program ended before it could be asked")
    return out


def report(data, markdown):
    """Everything as text, or as Markdown."""
    def listed(lines):
        return "\n".join(f"- {line}" if markdown else line for line in lines)
    brackets = ["In brackets: times the best peer."] if any(map(has_peers, data["results"])) else []
    parts = [listed(describe(data)), *brackets, format_table(summary_table(data), markdown)]
    for result in data["results"]:
        parts += [f"{'### ' if markdown else ''}{result['model']} ({result['level']})",
                  format_table(model_table(data, result), markdown), listed(notes(result))]
    return "\n\n".join(parts) + "\n"


# The figure: a panel a metric, side by side; in it a group of bars a model, a bar a program, as long as its median
# beside the group's longest.
PANEL, LABELS, GAP, BAR, HEAD, FOOT = 300, 190, 70, 16, 64, 26
OUR_COLOR, PEER_COLORS = "#2f81f7", ("#8b949e", "#b08800", "#8957e5", "#bf5f82")
# Greys that are legible on white and on black alike, for viewers that ignore the query.
STYLE = ("text{font:12px system-ui,sans-serif;fill:#768390}.title{font-weight:600;font-size:13px}"
         ".limit{stroke:#e5534b;stroke-width:2}"
         "@media(prefers-color-scheme:light){text{fill:#424a53}}@media(prefers-color-scheme:dark){text{fill:#c9d1d9}}")


def svg(data):
    """Decode and the largest prefill of every program as bars; a red mark is where decoding would read weights as fast as
    the memory gives them."""
    programs = list(data["results"][0]["programs"])
    panels = [Metric(decode_key(), "decode, tokens/s", "tok/s"),
              Metric(prefill_key(max(data["arguments"]["p"])), f"prefill of {max(data['arguments']['p'])}, tokens/s",
                     "tok/s", decimals=0)]
    group = BAR * len(programs) + 18
    height = HEAD + group * len(data["results"]) + FOOT
    width = LABELS + len(panels) * (PANEL + GAP)
    color = {name: OUR_COLOR if name == OURS else PEER_COLORS[(i - 1) % len(PEER_COLORS)]
             for i, name in enumerate(programs)}
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           f'viewBox="0 0 {width} {height}" role="img">',
           "<title>Tokens a second of compiled programs and of their peers</title>", f"<style>{STYLE}</style>"]

    def text(x, y, words, extra=""):
        out.append(f'<text x="{x:.1f}" y="{y:.1f}"{extra}>{html.escape(words)}</text>')
    x = 8.0
    for name in programs:  # the legend
        words = "ForgeLLM" if name == OURS else name
        out.append(f'<rect x="{x:.1f}" y="10" width="12" height="12" rx="2" fill="{color[name]}"/>')
        text(x + 18, 20.5, words)
        x += 36 + 7.5 * len(words)
    out.append(f'<path class="limit" d="M{x + 6:.1f} 9v14"/>')
    text(x + 16, 20.5, "the memory's read bandwidth")
    for i, metric in enumerate(panels):
        left = LABELS + i * (PANEL + GAP)
        text(left, HEAD - 16, metric.title, ' class="title"')
        for g, result in enumerate(data["results"]):
            top = HEAD + g * group
            if i == 0:
                text(8, top + BAR * len(programs) / 2 + 4, result["model"].removesuffix(".gguf"))
            values = {name: p[metric.key]["median"] for name, p in result["programs"].items() if metric.key in p}
            limit = result["read_bandwidth"]["median"] / result["weight_bytes_per_token"] if i == 0 else 0
            scale = PANEL / max([*values.values(), limit])
            for n, name in enumerate(programs):
                if name not in values:
                    continue
                length, y = values[name] * scale, top + n * BAR
                out.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{BAR - 3}" rx="2" '
                           f'fill="{color[name]}"/>')
                words = metric.show(values[name])
                behind = length + 6
                if limit and behind <= limit * scale + 3 <= behind + 8 * len(words):  # not across the mark
                    behind = limit * scale + 6
                text(left + behind, y + BAR - 5, words)
            if limit:
                out.append(f'<path class="limit" d="M{left + limit * scale:.1f} {top - 2}v{BAR * len(programs) + 1}"/>')
    m = data["machine"]
    text(8, height - 8, f"{m['cpu']}, {data['arguments']['t']} threads, commit {data['forge']['commit']}, "
         f"{m['date'][:10]}; medians of {data['arguments']['r']}")
    return "\n".join(out + ["</svg>"]) + "\n"
