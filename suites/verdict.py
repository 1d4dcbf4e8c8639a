"""What a foreign suite found: one line a case as it is known, then `N of M passed` and what did not.

In: (case, what is wrong with it or nothing). Out: stdout and an exit status, 0 when only what is listed in known.json
did not pass. A listed case that passes fails the run too: the list is to stay true.
"""

import json
from pathlib import Path


class Verdict:
    def __init__(self, suite, server):
        self.suite, self.server = suite, server
        self.known = json.loads(Path(__file__).with_name("known.json").read_text()).get(suite, {}).get(server, {})
        self.passed, self.failed = [], {}
        print(f"{suite} against {server}", flush=True)

    def case(self, name, wrong=None):
        if wrong:
            self.failed[name] = wrong
        else:
            self.passed.append(name)
        print(f"  {'FAIL' if wrong else 'pass'}  {name}", flush=True)

    def end(self):
        total = len(self.passed) + len(self.failed)
        print(f"\n{self.suite} against {self.server}: {len(self.passed)} of {total} passed")
        unexpected = 0
        for name, wrong in self.failed.items():
            reason = self.known.get(name)
            unexpected += reason is None
            print(f"  did not pass: {name}: {wrong}" + (f" (known: {reason})" if reason else ""))
        for name in set(self.known) & set(self.passed):
            unexpected += 1
            print(f"  listed in known.json as not passing, and passes: {name}")
        return 1 if unexpected or not total else 0
