"""Sums Autobahn|Testsuite's index.json up as a table of Markdown; fails where a case is not passed strictly."""

import json
import sys

SECTIONS = {
    "1": "framing", "2": "pings and pongs", "3": "reserved bits", "4": "opcodes", "5": "fragments", "6": "UTF-8",
    "7": "closing", "9": "limits and performance", "10": "fragments of a size",
}
COLUMNS = ["OK", "INFORMATIONAL", "NON-STRICT", "FAILED"]

# The tester had to end the TCP connection, because the server had not when it lost its patience after half a second.
LATE = "FAILED BY CLIENT"


def outcome(result):
    """The worse of how a case was passed and how the connection was closed after it."""
    found = {result["behavior"], result["behaviorClose"]} - {LATE}
    return next((name for name in reversed(COLUMNS) if name in found), "FAILED") if found <= set(COLUMNS) else "FAILED"


def line(name, results):
    counts = [sum(outcome(result) == column for result in results) for column in COLUMNS]
    late = sum(result["behaviorClose"] == LATE for result in results)
    return f"| {name} | {len(results)} | " + " | ".join(map(str, counts)) + f" | {late} |"


with open(sys.argv[1]) as file:
    results = json.load(file)["realtime"]

print("| Section | Cases | OK | Informational | Non-strict | Failed | Ended late |")
print("|---|---|---|---|---|---|---|")
for section in sorted({case.split(".")[0] for case in results}, key=int):
    of_section = [result for case, result in results.items() if case.split(".")[0] == section]
    print(line(f"{section} {SECTIONS.get(section, '')}", of_section))
print(line("all", list(results.values())))

bad = [case for case, result in results.items() if outcome(result) not in ("OK", "INFORMATIONAL")]
for case in bad:
    print(f"{case}: {results[case]}", file=sys.stderr)
sys.exit(1 if bad or not results else 0)
