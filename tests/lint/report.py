"""report.py - how lint tests tell what they found: TAP, one point per rule or file."""

import sys


class Report:
    """Collects points; problems are printed below their point as TAP comments."""

    def __init__(self):
        self.points = 0
        self.failed = 0

    def point(self, name, problems):
        """One point: passes if there are no problems."""
        self.points += 1
        self.failed += bool(problems)
        print("%sok %d - %s" % ("not " if problems else "", self.points, name))
        for problem in problems:
            for line in str(problem).splitlines():
                print("# " + line)
        sys.stdout.flush()

    def done(self):
        """Prints the plan; the exit code of the test."""
        print("1..%d" % self.points)
        return 1 if self.failed else 0
