#!/usr/bin/env python3
"""Writes src/formats/unicode_normalization.inc: what Unicode's normalization forms know of characters.

  scripts/make_unicode_normalization.py [FOLDER] > src/formats/unicode_normalization.inc

FOLDER holds UnicodeData.txt and CompositionExclusions.txt of Unicode 15.0 (Debian 12: package unicode-data,
/usr/share/unicode, the default).
"""
import sys


def rows(cells):
    line = ""
    for cell in cells:
        if len(line) + len(cell) > 110:
            yield line
            line = ""
        line += cell
    yield line


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else "/usr/share/unicode"
    with open(folder + "/CompositionExclusions.txt", encoding="utf-8") as file:
        excluded = {int(line.split()[0], 16) for line in file if line[0] in "0123456789ABCDEF"}
    combining, decompositions = {}, []
    with open(folder + "/UnicodeData.txt", encoding="utf-8") as file:
        for line in file:
            fields = line.split(";")
            cp = int(fields[0], 16)
            if fields[3] != "0":
                combining[cp] = int(fields[3])
            if fields[5]:
                decompositions.append((cp, fields[5].split()))
    cells = []
    for cp, words in decompositions:
        compatibility = words[0].startswith("<")
        to = [int(word, 16) for word in words[compatibility:]]
        # A character that combines, or whose decomposition begins with one that does, is not composed again.
        composes = (not compatibility and len(to) == 2 and cp not in excluded and cp not in combining and
                    to[0] not in combining)
        cells.append("%#x,%#x,%s," % (cp, len(to) << 2 | composes << 1 | compatibility,
                                      ",".join("%#x" % c for c in to)))
    print("// Written by scripts/make_unicode_normalization.py; do not edit.")
    print("// Decompositions: code point, length << 2 | composes << 1 | compatibility, what it becomes.")
    print("inline constexpr uint32_t kDecompositions[] = {")
    print("\n".join(rows(cells)))
    print("};\n// Canonical combining classes other than 0: code point << 8 | class.")
    print("inline constexpr uint32_t kCombiningClasses[] = {")
    print("\n".join(rows("%#x," % (cp << 8 | c) for cp, c in sorted(combining.items()))))
    print("};")


if __name__ == "__main__":
    main()
