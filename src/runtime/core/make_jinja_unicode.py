"""Writes jinja_unicode_tables.h: what Python's str methods know of characters. Run: python3 make_jinja_unicode.py"""
import os
import sys

BITS = [str.isprintable, str.isalpha, str.isdecimal, str.isdigit, str.isnumeric, str.islower, str.isupper,
        lambda c: c.istitle() and not c.isupper()]


def classes():
    out, last = [], None
    for cp in range(0x110000):
        mask = sum(1 << i for i, test in enumerate(BITS) if test(chr(cp)))
        if mask != last:
            out.append(cp << 8 | mask)
        last = mask
    return out


def case_ranges(function):
    """Ranges (first, last, stride, delta) of characters that map to one other character, and the rest."""
    single = {cp: ord(function(chr(cp))) - cp for cp in range(0x110000)
              if len(function(chr(cp))) == 1 and function(chr(cp)) != chr(cp)}
    special = {cp: function(chr(cp)) for cp in range(0x110000) if len(function(chr(cp))) > 1}
    ranges = []
    for cp in sorted(single):
        delta = single[cp]
        if ranges and ranges[-1][3] == delta:
            first, last, stride, _ = ranges[-1]
            if cp - last in (1, 2) and stride in (0, cp - last):
                ranges[-1] = (first, cp, cp - last, delta)
                continue
        ranges.append((cp, cp, 0, delta))
    return [(f, l, s or 1, d) for f, l, s, d in ranges], special


def main():
    lines = ["// Written by make_jinja_unicode.py from Python %d.%d's tables; do not edit." % sys.version_info[:2],
             "#pragma once", "", "#include <cstdint>", "", "namespace forge::rt::jinja {", "",
             "// Where the class of characters changes: code point << 8 | bits (printable, alpha, decimal, digit,",
             "// numeric, lower, upper, title).", "// clang-format off", "inline constexpr uint32_t kClasses[] = {"]
    table = classes()
    lines += [",".join(hex(v) for v in table[i:i + 11]) + "," for i in range(0, len(table), 11)]
    lines += ["};", "", "struct CaseRange { uint32_t first; uint32_t last; uint16_t stride; int32_t delta; };",
              "struct CaseSpecial { uint32_t from; char to[8]; };"]
    for name, function in (("Upper", str.upper), ("Lower", str.lower), ("Title", str.title)):
        ranges, special = case_ranges(function)
        lines.append("inline constexpr CaseRange k%sRanges[] = {" % name)
        cells = ["{%#x,%#x,%d,%d}" % r for r in ranges]
        lines += [",".join(cells[i:i + 4]) + "," for i in range(0, len(cells), 4)]
        lines += ["};", "inline constexpr CaseSpecial k%sSpecial[] = {" % name]
        cells = ['{%#x,"%s"}' % (cp, "".join("\\%03o" % b for b in text.encode())) for cp, text in special.items()]
        lines += [",".join(cells[i:i + 3]) + "," for i in range(0, len(cells), 3)]
        lines.append("};")
    lines += ["// clang-format on", "", "}  // namespace forge::rt::jinja", ""]
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "jinja_unicode_tables.h")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(lines))


main()
