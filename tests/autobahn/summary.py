"""Sums Autobahn|Testsuite's index.json up as a table of Markdown; fails where a case is not passed strictly."""

import json
import sys

SECTIONS = {
    "1": "framing", "2": "pings and pongs", "3": "reserved bits", "4": "opcodes", "5": "fragments", "6": "UTF-8",
    "7": "closing", "9": "limits and performance", "10": "fragments of a size",
}

with open(sys.argv[1]) as file:
    results = json.load(file)["realtime"]

columns = ["OK", "INFORMATIONAL", "NON-STRICT", "FAILED", "other"]
table = {}
for case, result in results.items():
    row = table.setdefault(case.split(".")[0], dict.fromkeys(columns, 0))
    # A case is good only if the connection is closed as it should be, too.
    what = {result["behavior"], result["behaviorClose"]}
    worst = next((name for name in ["FAILED", "NON-STRICT", "INFORMATIONAL", "OK"] if name in what), "other")
    if not what <= set(columns):
        worst = "other"
    row[worst] += 1

print("| Section | Cases | OK | Informational | Non-strict | Failed |")
print("|---|---|---|---|---|---|")
totals = dict.fromkeys(columns, 0)
for section in sorted(table, key=int):
    row = table[section]
    for name in columns:
        totals[name] += row[name]
    failed = row["FAILED"] + row["other"]
    name = SECTIONS.get(section, "")
    print(f"| {section} {name} | {sum(row.values())} | {row['OK']} | {row['INFORMATIONAL']} | {row['NON-STRICT']} | {failed} |")
failed = totals["FAILED"] + totals["other"]
print(f"| all | {sum(totals.values())} | {totals['OK']} | {totals['INFORMATIONAL']} | {totals['NON-STRICT']} | {failed} |")

bad = [
    f"{case}: {result['behavior']}, closing {result['behaviorClose']} ({result['remoteCloseCode']})"
    for case, result in sorted(results.items(), key=lambda item: [int(part) for part in item[0].split(".")])
    if not {result["behavior"], result["behaviorClose"]} <= {"OK", "INFORMATIONAL"}
]
print("\n".join(bad))
sys.exit(1 if bad or not results else 0)
