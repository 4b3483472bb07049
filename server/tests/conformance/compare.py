"""What Autobahn|Testsuite found, against what it found before.

    compare.py REPORT GOLDEN --profile PROFILE [--write-golden]

A case has a behaviour and a behaviour at its close. It fails when either is FAILED, UNIMPLEMENTED
or anything this page does not know, and when either is worse than in GOLDEN. A case that GOLDEN
does not know fails as well, and so does one that GOLDEN has and the profile `full` did not run.
"""

import argparse
import collections
import json
import sys

# Best first. UNCLEAN and WRONG CODE are only said of closes.
RANKS = {"OK": 0, "INFORMATIONAL": 0, "NON-STRICT": 1}
SECTIONS = {
    "1": "framing", "2": "pings and pongs", "3": "reserved bits", "4": "opcodes",
    "5": "fragmentation", "6": "UTF-8", "7": "close handshake", "9": "limits and performance",
    "10": "miscellaneous", "12": "deflate, different payloads",
    "13": "deflate, different parameters",
}


def number(case):
    return [int(part) for part in case.split(".")]


def read_report(path):
    """Case to its two behaviours."""
    with open(path, encoding="utf-8") as file:
        agents = json.load(file)
    (cases,) = agents.values()
    return {
        case: [result["behavior"], result["behaviorClose"]] for case, result in cases.items()
    }


def judge(found, expected):
    """Why a case fails, or nothing."""
    if expected is None:
        return "not in the golden result"
    for what, now, before in zip(("", " at the close"), found, expected):
        if now not in RANKS:
            return f"{now}{what}"
        if RANKS[now] > RANKS.get(before, 0):
            return f"{now}{what}, was {before}"
    return None


def print_table(found):
    columns = ["OK", "INFORMATIONAL", "NON-STRICT", "FAILED", "UNIMPLEMENTED", "other"]
    rows = collections.defaultdict(collections.Counter)
    for case, (behaviour, close) in found.items():
        worse = behaviour if behaviour not in ("OK", "INFORMATIONAL") else close
        shown = behaviour if worse == "OK" else worse
        rows[case.split(".")[0]][shown if shown in columns else "other"] += 1
    print(f"{'section':<34}{'cases':>6}" + "".join(f"{name:>15}" for name in columns))
    for section in sorted(rows, key=int):
        counts = rows[section]
        name = f"{section} {SECTIONS.get(section, '')}"
        cells = "".join(f"{counts[name] or '-':>15}" for name in columns)
        print(f"{name:<34}{sum(counts.values()):>6}{cells}")


def write_golden(path, cases):
    lines = [f'  "{case}": {json.dumps(cases[case])}' for case in sorted(cases, key=number)]
    with open(path, "w", encoding="utf-8") as file:
        file.write("{\n" + ",\n".join(lines) + "\n}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report")
    parser.add_argument("golden")
    parser.add_argument("--profile", required=True)
    parser.add_argument("--write-golden", action="store_true")
    args = parser.parse_args()
    found = read_report(args.report)
    with open(args.golden, encoding="utf-8") as file:
        golden = json.load(file)
    if args.write_golden:
        # What fails is no standard to keep to.
        passed = {case: both for case, both in found.items() if all(one in RANKS for one in both)}
        golden.update(passed)
        write_golden(args.golden, golden)
        print(f"{args.golden} has {len(golden)} cases now")

    print_table(found)
    failures = {case: judge(found[case], golden.get(case)) for case in found}
    if args.profile == "full":
        failures.update({case: "did not run" for case in golden if case not in found})
    failures = {case: reason for case, reason in failures.items() if reason}
    for case in sorted(failures, key=number):
        print(f"case {case}: {failures[case]}")
    if not found:
        print("verdict: nothing was tested")
        return 1
    if failures:
        print(f"verdict: {len(failures)} of {len(found)} cases are not as they should be")
        return 1
    print(f"verdict: all {len(found)} cases are as they should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
