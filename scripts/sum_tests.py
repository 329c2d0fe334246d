#!/usr/bin/env python3
"""Sums what scripts/test.sh left in its results directory to the line "N passed, N failed, N skipped".

Each suite is a directory with ctest's JUnit report and one GoogleTest report a program. A program that crashed or ran
out of time has no (or an incomplete) report of its own: ctest's word counts then. A check passed when its stamp is
there.
"""
import argparse
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def googletest_counts(report):
    """(passed, failed, skipped) of a GoogleTest report, or None when there is none."""
    try:
        cases = ElementTree.parse(report).getroot().iter("testcase")
    except (OSError, ElementTree.ParseError):
        return None
    passed = failed = skipped = 0
    for case in cases:
        if case.get("status") == "notrun":
            continue
        if case.find("failure") is not None:
            failed += 1
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def suite_counts(directory):
    """(counts, names of what failed) of one suite."""
    totals = [0, 0, 0]
    names = []
    try:
        tests = list(ElementTree.parse(directory / "ctest.junit").getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return [0, 1, 0], [f"{directory.name} (no report)"]
    for test in tests:
        ok = test.get("status") == "run"
        counts = googletest_counts(directory / (test.get("name") + ".xml"))
        if counts is None:
            skipped = test.get("status") in ("notrun", "disabled") and test.find("skipped") is not None
            counts = (int(ok), int(not ok and not skipped), int(skipped))
        elif not ok and counts[1] == 0:
            counts = (counts[0], 1, counts[2])
        if counts[1]:
            names.append(f"{directory.name}: {test.get('name')}")
        totals = [a + b for a, b in zip(totals, counts)]
    return totals, names


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("suites", nargs="+")
    parser.add_argument("--checks", nargs="*", default=[])
    args = parser.parse_args()
    totals = [0, 0, 0]
    failures = []
    for suite in args.suites:
        counts, names = suite_counts(args.results / suite)
        totals = [a + b for a, b in zip(totals, counts)]
        failures += names
    for check in args.checks:
        ok = (args.results / f"{check}.passed").exists()
        totals[0 if ok else 1] += 1
        failures += [] if ok else [check]
    for name in failures:
        print(f"failed: {name}")
    print(f"{totals[0]} passed, {totals[1]} failed" + (f", {totals[2]} skipped" if totals[2] else ""))
    return 1 if totals[1] else 0


if __name__ == "__main__":
    sys.exit(main())
