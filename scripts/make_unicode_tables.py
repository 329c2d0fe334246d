#!/usr/bin/env python3
"""Writes src/runtime/core/unicode_categories.inc: the general category of every code point, as ranges.

  scripts/make_unicode_tables.py [UnicodeData.txt] > src/runtime/core/unicode_categories.inc

Without an argument the categories are those of this Python's unicodedata; the committed table was made from
Unicode 15.0's UnicodeData.txt (Debian 12: package unicode-data, /usr/share/unicode/UnicodeData.txt), which is nearer
to what today's tokenizers were trained with than Python 3.11's 14.0.
"""
import sys
import unicodedata

# The order is that of `Category` in src/runtime/core/unicode.h.
CATEGORIES = ["Cn", "Cc", "Cf", "Co", "Cs", "Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me", "Mn", "Nd", "Nl", "No", "Pc",
              "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Zl", "Zp", "Zs"]
CODE_POINTS = 0x110000


def categories_of_file(path):
    """The third field of each line; `<…, First>` and `<…, Last>` lines bound a range."""
    result = ["Cn"] * CODE_POINTS
    first = None
    with open(path, encoding="utf-8") as file:
        for line in file:
            code, name, category = line.split(";")[:3]
            code = int(code, 16)
            for cp in range(first if name.endswith(", Last>") else code, code + 1):
                result[cp] = category
            first = code
    return result


def main():
    if len(sys.argv) > 1:
        categories = categories_of_file(sys.argv[1])
    else:
        categories = [unicodedata.category(chr(cp)) for cp in range(CODE_POINTS)]
    entries = []
    for cp in range(CODE_POINTS):
        if cp == 0 or categories[cp] != categories[cp - 1]:
            entries.append("0x%x" % (cp << 8 | CATEGORIES.index(categories[cp])))
    print("// Written by scripts/make_unicode_tables.py; do not edit. First code point of a range << 8 | its category.")
    line = ""
    for entry in entries:
        if len(line) + len(entry) + 1 > 110:
            print(line)
            line = ""
        line += entry + ","
    print(line)


if __name__ == "__main__":
    main()
