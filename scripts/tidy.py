#!/usr/bin/env python3
"""Runs clang-tidy-19 over all sources of a build directory, in parallel.

A file that passed is not checked again until it, a header that it includes, its compile commands or the checks change: stamps
named by a hash of those lie in ~/.cache/forge-tidy, where other clones find them, as they do what ccache has.
"""
import concurrent.futures
import functools
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


def output_of(command):
    return re.search(r" -o (\S+)", command["command"]).group(1)


def included_headers(build):
    """Object file -> headers, from ninja's record of the last build."""
    text = subprocess.run(["ninja", "-C", build, "-t", "deps"], capture_output=True, text=True, check=True).stdout
    headers = {}
    current = []
    for line in text.splitlines():
        if line.startswith("    "):
            current.append(pathlib.Path(build, line.strip()).resolve())
        elif ": #deps" in line:
            current = headers.setdefault(line.split(":")[0], [])
    return headers


@functools.cache
def fingerprint(path):
    """Of a file: its content in the repository, and what of a system header an update of its package changes."""
    if path.is_relative_to(ROOT):
        return f"{path.relative_to(ROOT)} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    status = path.stat()
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def main():
    build = sys.argv[1]
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    # The runtime's sources are compiled again for programs of each target; once is enough here.
    commands = [command for command in commands
                if pathlib.Path(command["file"]).is_relative_to(ROOT) and "/runtime_archive/" not in output_of(command)]
    checked = pathlib.Path(build, "tidy")
    checked.mkdir(exist_ok=True)
    (checked / "compile_commands.json").write_text(json.dumps(commands), encoding="utf-8")
    commands_of = {}
    for command in commands:
        commands_of.setdefault(pathlib.Path(command["file"]), []).append(command)

    headers = included_headers(build)
    for command in commands:
        if output_of(command) not in headers:
            sys.exit(f"clang-tidy: {command['file']} was not built; ninja -C {build} first")
    version = subprocess.run(["clang-tidy-19", "--version"], capture_output=True, text=True, check=True).stdout

    def stamp(source):
        key = hashlib.sha256(f"{version} {fingerprint(ROOT / '.clang-tidy')} {arguments(source)}".encode())
        for command in commands_of[source]:
            key.update(command["command"].replace(str(ROOT), ".").encode())
            for path in sorted({source, *headers[output_of(command)]}):
                key.update(fingerprint(path).encode())
        return STAMPS / key.hexdigest()

    stamps = {source: stamp(source) for source in commands_of}
    todo = [source for source, path in stamps.items() if not path.exists()]
    print(f"clang-tidy: {len(todo)} of {len(stamps)} files to check", flush=True)
    STAMPS.mkdir(parents=True, exist_ok=True)

    def check(source):
        result = subprocess.run(["clang-tidy-19", "--quiet", *arguments(source), "-p", str(checked), str(source)], stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, check=False)
        return source, result

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        # The largest first, so that no core is left alone with one at the end.
        todo.sort(key=lambda source: -source.stat().st_size)
        for done, (source, result) in enumerate(pool.map(check, todo), 1):
            if result.returncode == 0:
                fingerprint.cache_clear()
                if stamp(source) == stamps[source]:  # not if it was edited meanwhile
                    stamps[source].touch()
            else:
                failed += 1
                print(result.stdout + result.stderr, flush=True)
            if done % 10 == 0 or done == len(todo):
                print(f"clang-tidy: {done}/{len(todo)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
