#!/usr/bin/env python3
"""What each quantization costs on a model: size, perplexity, KL divergence from the model as it is, speed.

    python3 bench/quantization.py build/bin/forge models/storyteller-f16.gguf models/heldout.txt \\
        --page docs/quantization.md --plot docs/quantization.svg

Quantizes the model (of a float type) to every mixture, holds each against the model with `forge compare`, and writes the
rows of the page's table, between its two marks, and the plot. With --calibration-file also what importances gain; with
--speed the page's column of decoding speed, for which the machine should be quiet.
"""
import argparse
import json
import math
import os
import re
import subprocess
import tempfile

MIXTURES = ["q8_0", "q6_k", "q5_k_m", "q5_k_s", "q5_1", "q5_0", "q4_k_m", "q4_k_s", "q4_1", "iq4_nl", "q4_0", "iq4_xs",
            "mxfp4", "q3_k_l", "q3_k_m", "q3_k_s", "q2_k", "q2_k_s"]
BEGIN, END = "<!-- measured by bench/quantization.py -->\n", "<!-- end -->\n"


def forge(args, *words):
    done = subprocess.run([args.forge, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr.strip().splitlines()[-1])
    return done.stdout


def measure(args, name, options, folder):
    model = os.path.join(folder, name + ".gguf")
    report = forge(args, "quantize", args.model, model, "--type", name, *options)
    total = next(line for line in report.splitlines() if line.startswith("all ")).split()
    compared = json.loads(forge(args, "compare", args.model, model, "--file", args.text, "--json"))
    row = {"name": name, "bits": float(total[2]), "rms": total[3], "bytes": os.path.getsize(model),
           "perplexity": compared["perplexity_b"]["value"], "kl": compared["kl_divergence"]["value"],
           "same": compared["same_first_token"]["value"], "base": compared["perplexity_a"]["value"]}
    if args.speed:
        row["speed"] = json.loads(forge(args, "bench", model, "-p", 0, "-n", 128, "--json"))["decode_tok_s"]
    os.remove(model)
    print(json.dumps(row), flush=True)
    return row


def table(rows, calibrated, speed):
    columns = ["type", "bits a weight", "MB", "relative rms error", "perplexity", "KL divergence", "same first token"]
    columns += ["KL, calibrated"] * bool(calibrated) + ["decoding, tokens/s"] * speed
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = [row["name"], f"{row['bits']:.2f}", f"{row['bytes'] / 1e6:.1f}", row["rms"], f"{row['perplexity']:.4f}",
                 f"{row['kl']:.5f}", f"{100 * row['same']:.1f}%"]
        cells += [f"{calibrated[row['name']]['kl']:.5f}"] if calibrated else []
        cells += [f"{row['speed']:.0f}"] if speed else []
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(rows, calibrated):
    """KL divergence (logarithmic) over bits a weight: open circles, and filled ones with importances."""
    left, top, width, height = 70, 20, 620, 380
    bits = [row["bits"] for row in rows]
    points = [row["kl"] for row in rows] + [row["kl"] for row in calibrated.values()]
    low, high = math.floor(math.log10(min(points))), math.ceil(math.log10(max(points)))
    first, last = math.floor(min(bits)), math.ceil(max(bits))
    x = lambda b: left + width * (b - first) / (last - first)
    y = lambda kl: top + height * (high - math.log10(kl)) / (high - low)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 60} {top + height + 50}" '
           'font-family="sans-serif" font-size="11">', '<rect width="100%" height="100%" fill="white"/>']
    for b in range(first, last + 1):
        out.append(f'<path d="M{x(b):.1f} {top}v{height}" stroke="#ddd"/>'
                   f'<text x="{x(b):.1f}" y="{top + height + 16}" text-anchor="middle">{b}</text>')
    for e in range(low, high + 1):
        out.append(f'<path d="M{left} {y(10 ** e):.1f}h{width}" stroke="#ddd"/>'
                   f'<text x="{left - 6}" y="{y(10 ** e) + 4:.1f}" text-anchor="end">1e{e}</text>')
    out.append(f'<text x="{left + width / 2}" y="{top + height + 38}" text-anchor="middle">bits a weight</text>')
    out.append(f'<text transform="translate(16 {top + height / 2}) rotate(-90)" text-anchor="middle">'
               'KL divergence from the float model</text>')
    for row in rows:
        at = f'cx="{x(row["bits"]):.1f}"'
        out.append(f'<circle {at} cy="{y(row["kl"]):.1f}" r="3.5" fill="white" stroke="#1660a8" stroke-width="1.5"/>'
                   f'<text x="{x(row["bits"]) + 6:.1f}" y="{y(row["kl"]) - 4:.1f}">{row["name"]}</text>')
        if row["name"] in calibrated:
            out.append(f'<circle {at} cy="{y(calibrated[row["name"]]["kl"]):.1f}" r="3.5" fill="#1660a8"/>')
    return "\n".join(out + ["</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("forge")
    parser.add_argument("model", help="a GGUF file of a float type")
    parser.add_argument("text")
    parser.add_argument("--calibration-file", help="a text that the model is not measured on")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--page", required=True)
    parser.add_argument("--plot", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(args, name, [], folder) for name in MIXTURES]
        calibrated = {}
        if args.calibration_file:
            options = ["--calibration-file", args.calibration_file]
            calibrated = {name: measure(args, name, options, folder) for name in MIXTURES}
    page = open(args.page).read()
    rows.sort(key=lambda row: -row["bits"])
    page = re.sub(re.escape(BEGIN) + ".*" + re.escape(END), lambda _: BEGIN + table(rows, calibrated, args.speed) + END, page,
                  flags=re.DOTALL)
    open(args.page, "w").write(page)
    open(args.plot, "w").write(plot(rows, calibrated))


if __name__ == "__main__":
    main()
