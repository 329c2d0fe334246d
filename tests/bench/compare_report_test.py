#!/usr/bin/env python3
"""Tables and figure of bench/compare, from a small JSON whose ratios can be worked out by hand."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

sys.dont_write_bytecode = True
BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))
import compare_report as report

SVG = "{http://www.w3.org/2000/svg}"


def measured(**values):
    return {key: {"median": v, "spread": 0.25, "samples": [v]} for key, v in values.items()}


def result(model, factor):
    """ours: twice the better peer's decode; `factor` times its prefill. The second peer knows no depth."""
    common = {"start_to_exit_s": 1, "decode_bandwidth_share": 0.5}
    return {
        "model": model, "level": "x86-64-v4", "weight_bytes_per_token": 1e8, "compile_cold_s": 2.0,
        "compile_cached_s": 0.5, "read_bandwidth": {"median": 4e10, "spread": 0.1, "samples": [4e10]},
        "memory_allowance_bytes": 150 * 2**20, "peak_is_bound": False, "other_processes_cores": 0.0,
        "load_before": [0.5, 0, 0], "load_after": [1.5, 0, 0],
        "programs": {
            "ours": measured(decode=200, decode_d1000=150, prefill_64=factor * 100, prefill_16=factor * 80,
                             prefill_64_d1000=90, start_to_first_token_s=0.01, peak_rss_bytes=100 * 2**20, **common),
            "a<b": measured(decode=100, decode_d1000=100, prefill_64=90, prefill_16=80, prefill_64_d1000=100,
                            start_to_first_token_s=0.1, peak_rss_bytes=400 * 2**20, **common),
            "c": measured(decode=80, prefill_64=100, prefill_16=40, start_to_first_token_s=0.04,
                          peak_rss_bytes=500 * 2**20, **common)}}


def recorded():
    return {
        "machine": {"cpu": "Some CPU", "cores": 2, "features": ["avx2"], "memory_bytes": 8 * 2**30,
                    "kernel": "6.1", "date": "2026-01-02T03:04+00:00"},
        "forge": {"version": "forge 0.1", "commit": "abc"},
        "peers": [{"name": "a<b", "version": "1", "flags": []}, {"name": "c", "version": "2", "flags": ["-rtr", "1"]}],
        "arguments": {"p": [64, 16], "n": 32, "r": 5, "t": 2, "c": None, "d": [1000]},
        "results": [result("small.gguf", 1.5), result("large.gguf", 0.5)]}


class Tests(unittest.TestCase):
    def test_every_test_has_a_key_of_its_own(self):
        tests = list(report.tests(recorded()["arguments"]))
        self.assertEqual(tests, [(0, 32, 0), (64, 0, 0), (16, 0, 0), (0, 32, 1000), (64, 0, 1000)])
        keys = [report.test_key(p, d) for p, _, d in tests]
        self.assertEqual(keys, ["decode", "prefill_64", "prefill_16", "decode_d1000", "prefill_64_d1000"])

    def test_the_best_peer_differs_by_metric(self):
        data = recorded()
        rows = report.summary_table(data)
        self.assertEqual(rows[0], ["model", "decode (tok/s)", "decode reads / read bandwidth (%)",
                                   "prefill 64 (tok/s)", "prefill 16 (tok/s)", "decode behind 1000 (tok/s)",
                                   "prefill 64 behind 1000 (tok/s)", "start to first token (ms)",
                                   "peak memory / allowed (MiB)"])
        self.assertEqual(rows[1], ["small.gguf", "200.0 (2.00×)", "50%", "150.0 (1.50×)", "120.0 (1.50×)",
                                   "150.0 (1.50×)", "90.0 (0.90×)", "10.0 (0.25×)", "100.0 / 150.0"])
        self.assertEqual(rows[2][3], "50.0 (0.50×)")

    def test_a_model_alone_has_every_program_and_says_what_was_met(self):
        data = recorded()
        rows = {row[0]: row[1:] for row in report.model_table(data, data["results"][1])}
        self.assertEqual(rows[""], ["ours", "spread", "a<b", "spread", "c", "spread", "ours / best", "target"])
        self.assertEqual(rows["prefill 64 (tok/s)"],
                         ["50.0", "25%", "90.0", "25%", "100.0", "25%", "0.50", "≥ 1.0: missed"])
        self.assertEqual(rows["decode behind 1000 (tok/s)"],
                         ["150.0", "25%", "100.0", "25%", "", "", "1.50", "≥ 1.0: met"])
        self.assertEqual(rows["peak memory, one token (MiB)"][-2:], ["0.25", "≤ 0.6: met"])

    def test_without_peers_there_are_no_ratios(self):
        data = recorded()
        for r in data["results"]:
            r["programs"] = {"ours": r["programs"]["ours"]}
        self.assertEqual(report.summary_table(data)[1][1], "200.0")
        self.assertEqual(report.model_table(data, data["results"][0])[:2],
                         [["", "ours", "spread"], ["decode (tok/s)", "200.0", "25%"]])
        self.assertNotIn("best peer", report.report(data, False))
        ElementTree.fromstring(report.svg(data))

    def test_figure(self):
        data = recorded()
        root = ElementTree.fromstring(report.svg(data))  # names with < are escaped
        rects = root.findall(f"{SVG}rect")
        bars = [r for r in rects if r.get("height") == str(report.BAR - 3)]
        self.assertEqual(len(bars), 2 * 2 * 3)
        self.assertEqual(len(rects) - len(bars), 3)  # the legend
        # In decode the memory's limit of 400 tokens is the whole panel, in prefill the longest bar.
        self.assertEqual([float(b.get("width")) for b in bars[:3]],
                         [report.PANEL * 200 / 400, report.PANEL * 100 / 400, report.PANEL * 80 / 400])
        self.assertEqual([float(b.get("width")) for b in bars[6:9]],
                         [report.PANEL, report.PANEL * 90 / 150, report.PANEL * 100 / 150])
        self.assertEqual(len(root.findall(f"{SVG}path")), 1 + 2)
        words = [t.text for t in root.findall(f"{SVG}text")]
        for expected in ("ForgeLLM", "a<b", "c", "small", "large", "200.0", "150"):
            self.assertIn(expected, words)
        self.assertIn("prefers-color-scheme:dark", root.find(f"{SVG}style").text)
        width, height = float(root.get("width")), float(root.get("height"))
        for b in bars:  # with its number behind it
            self.assertLessEqual(float(b.get("x")) + float(b.get("width")) + 6 + 8 * 5, width)
            self.assertLess(float(b.get("y")) + float(b.get("height")), height)

    def test_numbers_of_the_figure_keep_off_the_mark_of_the_limit(self):
        data = recorded()
        data["results"] = data["results"][:1]
        data["results"][0]["programs"]["ours"]["decode"]["median"] = 380  # of 400: the bar ends 15 in front of the mark
        root = ElementTree.fromstring(report.svg(data))
        number = next(t for t in root.iter(f"{SVG}text") if t.text == "380.0")
        self.assertEqual(float(number.get("x")), report.LABELS + report.PANEL + 6)

    def test_the_command_shows_a_file(self):
        with tempfile.TemporaryDirectory() as directory:
            source, figure = pathlib.Path(directory, "r.json"), pathlib.Path(directory, "r.svg")
            source.write_text(json.dumps(recorded()))
            command = [sys.executable, BENCH / "compare", "--from", source, "--svg", figure, "--markdown"]
            shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            self.assertEqual(figure.read_text(), report.svg(recorded()))
            self.assertRegex(shown, r"\n\| small.gguf \| +200.0 \(2.00×\) \|")
            self.assertIn("### large.gguf (x86-64-v4)", shown)
            self.assertIn("c: 2, llama-bench -rtr 1", shown)
            self.assertIn("commit abc", shown)
            missing = subprocess.run(command[:3] + [source.with_name("none")], capture_output=True, text=True)
            self.assertEqual((missing.returncode, missing.stderr.count("\n")), (1, 1))
            for wrong in ("", "{}", "[]", '{"results": []}', '{"results": [{}]}'):
                source.write_text(wrong)
                refused = subprocess.run(command, capture_output=True, text=True)
                self.assertEqual((refused.returncode, refused.stdout), (1, ""), wrong)
                self.assertRegex(refused.stderr, r"\Acompare: .*r.json: not what bench/compare --json writes \(.*\)\n\Z")
            misuse = subprocess.run(command + ["model.gguf"], capture_output=True, text=True)
            self.assertEqual(misuse.returncode, 2)
            self.assertIn("--from shows what was measured", misuse.stderr)

    def test_the_command_says_how_a_program_ended(self):
        with tempfile.TemporaryDirectory() as directory:
            forge, model = pathlib.Path(directory, "forge"), pathlib.Path(directory, "m.gguf")
            model.touch()
            for ends, says in (("kill -ILL $$", r"killed by signal 4 \(.*\), it was built for another processor: no message"),
                               ("kill -KILL $$", r"killed by signal 9 \(Killed\): no message"),
                               ("echo 'no room' >&2; exit 3", "exit status 3: no room")):
                forge.write_text(f"#!/bin/sh\n{ends}\n")
                forge.chmod(0o755)
                refused = subprocess.run([sys.executable, BENCH / "compare", "--forge", forge, model],
                                         capture_output=True, text=True)
                self.assertEqual(refused.returncode, 1)
                self.assertRegex(refused.stderr, f"compare: .*/forge .*: {says}\n\\Z")

    def test_what_is_complete_is_kept_when_a_later_model_fails(self):
        with tempfile.TemporaryDirectory() as directory:
            at = pathlib.Path(directory)
            forge, good, bad, out = (at / name for name in ("forge", "good.gguf", "bad.gguf", "out.json"))
            good.write_text("good")
            bad.touch()
            (at / "program").write_text(PROGRAM)
            (at / "program").chmod(0o755)
            forge.write_text(f"""#!/bin/sh
[ "$1" = --version ] && echo forge 0 && exit
[ -s "$2" ] || {{ echo "$2: the file is empty" >&2; exit 1; }}
cp {at}/program "$4"
""")
            forge.chmod(0o755)
            command = [sys.executable, BENCH / "compare", "--forge", forge, "-p", "16", "-n", "4", "-r", "1"]
            done = subprocess.run(command + [good, bad, "--json", out], capture_output=True, text=True)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertEqual([r["model"] for r in json.loads(out.read_text())["results"]], ["good.gguf"])
            self.assertIn("good.gguf (some level)", done.stdout)
            self.assertRegex(done.stderr, r"bad.gguf: the file is empty\ncompare: not measured: .*/bad.gguf\n\Z")
            for wrong in (at, at / "none" / "out.json"):  # said before anything runs
                refused = subprocess.run(command + [good, "--svg", wrong], capture_output=True, text=True)
                self.assertEqual((refused.returncode, refused.stdout), (2, ""))
                self.assertRegex(refused.stderr, r"\Acompare: .*: can't be written; .*\n\Z")
            for name, text in (("llama-bench", PEER_BENCH), ("llama-cli", "#!/bin/sh\necho word\n")):
                (at / name).write_text(text)
                (at / name).chmod(0o755)
            beside = subprocess.run(command + [good, "--peer", f"p={at}", "--json", out], capture_output=True, text=True)
            self.assertEqual(beside.returncode, 0, beside.stderr)
            programs = json.loads(out.read_text())["results"][0]["programs"]
            self.assertEqual(programs["p"]["decode"]["samples"], [5.5])
            (at / "llama-bench").write_text("#!/bin/sh\necho 'no room'\n")
            refused = subprocess.run(command + [good, "--peer", f"p={at}"], capture_output=True, text=True)
            self.assertRegex(refused.stderr, r"llama-bench .*: expected JSON .*'no room'\ncompare: not measured: ")
            forge.write_text("#!/bin/sh\necho something else\n")
            refused = subprocess.run(command + [good], capture_output=True, text=True)
            self.assertRegex(refused.stderr, r"\Acompare: --forge .*: that is not forge, .*\n\Z")


# Answers as a compiled program does.
PROGRAM = """#!/bin/sh
[ "$1" = generate ] && echo word && exit
echo '{"prefill_tok_s": 100, "decode_tok_s": 10, "read_bandwidth": 1e9, "weight_bytes_per_token": 1e6,
       "weights_bytes": 1000, "kv_page_bytes": 10, "level": "some level"}'
"""

# As llama-bench, behind what a fork says about its weights.
PEER_BENCH = """#!/bin/sh
echo '============ Repacked 3 tensors'
printf '[\\n  {\\n    "samples_ts": [ 5.5 ]\\n  }\\n]\\n'
"""


if __name__ == "__main__":
    unittest.main()
