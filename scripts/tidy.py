#!/usr/bin/env python3
"""Runs clang-tidy-19 over all sources of a build directory, in parallel.

A file that passed is not checked again until it, a header of the repository that it includes, its compile command or
the checks change: stamps named by a hash of those lie in ~/.cache/forge-tidy, where other clones find them, as they do what
ccache has.
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
STAMPS = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "forge-tidy"
# The static analyzer's default budget (225,000 nodes a function) takes four fifths of the whole time.
ANALYZER_BUDGET = [f"--extra-arg={word}" for word in ("-Xclang", "-analyzer-config", "-Xclang", "max-nodes=10000")]


def arguments(source):
    """What clang-tidy is told for a file. In tests the static analyzer walks through GoogleTest's macros for most of the time, and in
    benchmarks it finds that Google Benchmark never frees what it registers."""
    no_analyzer = any(source.is_relative_to(ROOT / folder) for folder in ("tests", "bench"))
    return ANALYZER_BUDGET + ["--checks=-clang-analyzer-*"] * no_analyzer


def included_headers(build):
    """Object file -> headers of the repository, from ninja's record of the last build."""
    text = subprocess.run(["ninja", "-C", build, "-t", "deps"], capture_output=True, text=True, check=True).stdout
    headers = {}
    current = None
    for line in text.splitlines():
        if line.startswith("    "):
            path = pathlib.Path(build, line.strip()).resolve()
            if current is not None and path.is_relative_to(ROOT):
                current.append(path)
        elif ": #deps" in line:
            current = headers.setdefault(line.split(":")[0], [])
    return headers


def main():
    build = sys.argv[1]
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    headers = included_headers(build)
    contents = {}

    def content(path):
        if path not in contents:
            contents[path] = hashlib.sha256(path.read_bytes()).digest()
        return contents[path]

    version = subprocess.run(["clang-tidy-19", "--version"], capture_output=True, check=True).stdout
    stamps = {}
    for command in commands:
        source = pathlib.Path(command["file"])
        output = re.search(r" -o (\S+)", command["command"]).group(1)
        # The runtime's sources are compiled a second time for programs; once is enough here.
        if not source.is_relative_to(ROOT) or "_in_programs" in output:
            continue
        key = hashlib.sha256(version + content(ROOT / ".clang-tidy") +
                             command["command"].replace(str(ROOT), ".").encode())
        key.update(" ".join(arguments(source)).encode())
        for path in sorted({source, *headers.get(output, [])}):
            key.update(str(path.relative_to(ROOT)).encode() + content(path))
        stamps[source] = STAMPS / key.hexdigest()

    todo = [source for source, stamp in stamps.items() if not stamp.exists()]
    print(f"clang-tidy: {len(todo)} of {len(stamps)} files to check", flush=True)
    STAMPS.mkdir(parents=True, exist_ok=True)

    def check(source):
        result = subprocess.run(["clang-tidy-19", "--quiet", *arguments(source), "-p", build, str(source)], stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, check=False)
        return source, result

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        # The largest first, so that no core is left alone with one at the end.
        todo.sort(key=lambda source: -source.stat().st_size)
        for done, (source, result) in enumerate(pool.map(check, todo), 1):
            if result.returncode == 0:
                stamps[source].touch()
            else:
                failed += 1
                print(result.stdout + result.stderr, flush=True)
            if done % 10 == 0 or done == len(todo):
                print(f"clang-tidy: {done}/{len(todo)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
