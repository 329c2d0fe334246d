#!/usr/bin/env python3
"""Sums what scripts/test.sh left in its results directory to the line "N passed, N failed, N skipped".

Names what failed, and what was skipped with its reason: a skip must not look like a pass.

Each suite is a directory with ctest's JUnit report and one GoogleTest report a program. A program that crashed or ran
out of time has no (or an incomplete) report of its own: ctest's word counts then. A check passed when its stamp is
there.
"""
import argparse
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def googletest_counts(report):
    """(passed, failed, skipped) of a GoogleTest report and why each was skipped, or None when there is none."""
    try:
        cases = ElementTree.parse(report).getroot().iter("testcase")
    except (OSError, ElementTree.ParseError):
        return None
    passed = failed = 0
    reasons = []
    for case in cases:
        if case.get("status") == "notrun":
            continue
        if case.find("failure") is not None:
            failed += 1
        elif case.find("skipped") is not None:
            reason = (case.find("skipped").get("message") or "no reason given").strip().splitlines()
            reasons.append(f"{case.get('classname')}.{case.get('name')}: {reason[-1]}")
        else:
            passed += 1
    return (passed, failed, len(reasons)), reasons


def suite_counts(directory):
    """(counts, lines that name what failed or was skipped) of one suite."""
    totals = [0, 0, 0]
    lines = []
    try:
        tests = list(ElementTree.parse(directory / "ctest.junit").getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return [0, 1, 0], [f"failed: {directory.name} (no report)"]
    for test in tests:
        ok = test.get("status") == "run"
        name = f"{directory.name}: {test.get('name')}"
        report = googletest_counts(directory / (test.get("name") + ".xml"))
        if report is None:
            skipped = test.get("status") in ("notrun", "disabled") and test.find("skipped") is not None
            report = (int(ok), int(not ok and not skipped), int(skipped)), ["the whole program"] * skipped
        counts, reasons = report
        if not ok and counts[1] == 0:
            counts = (counts[0], 1, counts[2])
        lines += [f"skipped: {name}: {reason}" for reason in reasons]
        if counts[1]:
            lines.append(f"failed: {name}")
        totals = [a + b for a, b in zip(totals, counts)]
    return totals, lines


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("suites", nargs="+")
    parser.add_argument("--checks", nargs="*", default=[])
    args = parser.parse_args()
    totals = [0, 0, 0]
    lines = []
    for suite in args.suites:
        counts, suite_lines = suite_counts(args.results / suite)
        totals = [a + b for a, b in zip(totals, counts)]
        lines += suite_lines
    for check in args.checks:
        ok = (args.results / f"{check}.passed").exists()
        totals[0 if ok else 1] += 1
        lines += [] if ok else [f"failed: {check}"]
    for line in sorted(lines, reverse=True):
        print(line)
    print(f"{totals[0]} passed, {totals[1]} failed" + (f", {totals[2]} skipped" if totals[2] else ""))
    return 1 if totals[1] else 0


if __name__ == "__main__":
    sys.exit(main())
