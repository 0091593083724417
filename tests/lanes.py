"""How the tests are spread over processes, and the line that says what has been tested and what is being
tested now.

A unit of work is one notebook, one test of a file that mostly waits (for a server that stalls, for a
process that is killed), or else a whole test file, whose fixtures are made once that way. With `-n 3` two
processes take whatever takes the processor, so that notebooks run two at a time, and the third takes what
waits.
"""
import time
from pathlib import PurePosixPath

from xdist.scheduler.loadscope import LoadScopeScheduling

WAITING = 'test_fetch.py', 'test_download.py'
SILENCE = 30  # seconds after which a line comes even if no unit has ended
LONG = 'test_site.py', 'test_package.py'  # begun first, as one process has to do the whole of each
NOTEBOOKS = 'test_notebooks.py::test_runs_and_reaches_its_figures['


def file_of(nodeid): return PurePosixPath(nodeid.partition('::')[0]).name


def unit_of(nodeid):
    return nodeid if file_of(nodeid) in WAITING or NOTEBOOKS in nodeid else nodeid.partition('::')[0]


def told(nodeid):
    "The unit as it is called in a line: a notebook by its name, a test by its file's."
    return nodeid.rpartition('[')[2].rstrip(']') if NOTEBOOKS in nodeid else file_of(nodeid)


def rank(unit):
    "Units in the order in which they begin: the long files, the notebooks, the rest."
    return 0 if file_of(unit) in LONG else 1 if NOTEBOOKS in unit else 2


class Lanes(LoadScopeScheduling):
    "Gives each process the next unit that is for its lane."
    def __init__(self, config, log, plan):
        super().__init__(config, log)
        config.option.loadscopereorder = False  # `rank` says what comes first
        self.plan = plan  # is told the tests once they are known
        # processes for what takes the processor
        self.working = self.numnodes - 1 if self.numnodes > 2 else self.numnodes
        self.lanes = {}  # process -> whether it takes only what waits

    def _split_scope(self, nodeid): return unit_of(nodeid)

    def add_node(self, node):
        super().add_node(node)
        self.lanes[node] = sum(not waits for waits in self.lanes.values()) >= self.working

    def remove_node(self, node):
        "As in the base class, but the test that broke its process is not given to the next one."
        self.lanes.pop(node, None)
        work = self.assigned_work.pop(node)
        left = {unit: tests for unit, tests in work.items() if not all(tests.values())}
        broken = next((nodeid for tests in left.values() for nodeid, done in tests.items() if not done), None)
        for unit, tests in left.items():
            if broken in tests: tests[broken] = True
            if not all(tests.values()): self.workqueue[unit] = tests
        for other in self.nodes: self._reschedule(other)
        return broken

    def next_unit(self, node):
        "The unit that `node` is to get next; None if there is nothing more for its lane."
        waits, rest = [], []
        for u in self.workqueue: (waits if file_of(u) in WAITING else rest).append(u)
        return min(waits if self.lanes[node] else rest or waits, key=rank, default=None)

    def _assign_work_unit(self, node):
        unit = self.next_unit(node)
        if unit is None: return
        self.workqueue.move_to_end(unit, last=False)
        super()._assign_work_unit(node)

    def _reschedule(self, node):
        # nothing more for its lane
        if not node.shutting_down and self.workqueue and self.next_unit(node) is None: node.shutdown()
        else: super()._reschedule(node)

    def schedule(self):
        if self.collection is None and self._check_nodes_have_same_collection():
            self.plan(next(iter(self.registered_collections.values())))
        super().schedule()


class Progress:
    "One line a unit, as it ends: the time so far, how many are done, how it went, what runs now."
    def __init__(self, terminal):
        self.terminal, self.start = terminal, time.time()
        self.units, self.began, self.bad = {}, {}, {}
        self.total = self.done = 0
        self.sizes, self.last = {}, self.start

    def plan(self, nodeids):
        for n in nodeids: self.units.setdefault(self.name(n), set()).add(n)
        self.total, self.sizes = len(self.units), {name: len(tests) for name, tests in self.units.items()}

    def name(self, nodeid): return told(nodeid)

    def pytest_collection_finish(self, session):
        # one process; with several the scheduler tells
        if not self.units: self.plan([i.nodeid for i in session.items])

    def pytest_runtest_logstart(self, nodeid): self.began.setdefault(self.name(nodeid), time.time())

    def pytest_runtest_logreport(self, report):
        name = self.name(report.nodeid)
        if report.failed:
            self.bad[name] = self.bad.get(name, 0) + 1
            self.write(f'FAILED {report.nodeid}')
        if report.when not in ('teardown', '???') or name not in self.units: return
        self.units[name].discard(report.nodeid)
        if self.units[name]:
            if time.time() - self.last <= SILENCE: return
            return self.write(f'{self.clock()}  [{self.done}/{self.total}] {self.now()}')
        del self.units[name]
        self.done += 1
        took = time.time() - self.began.pop(name, time.time())
        said = f'{self.bad[name]} failed' if name in self.bad else 'ok'
        self.write(f'{self.clock()}  [{self.done}/{self.total}] {name:<22}{took:6.1f} s   {said}{self.now()}')

    def now(self):
        "What is being tested, and how far it is where that is known."
        def far(name):
            n = self.sizes.get(name, 1)
            return f' ({n - len(self.units[name])} of {n})' if n > 1 and name in self.units else ''
        return '   now: ' + ', '.join(name + far(name) for name in self.began) if self.began else ''

    def clock(self):
        seconds = time.time() - self.start
        return f'{int(seconds//60):3}:{int(seconds%60):02}'

    def write(self, line):
        self.last = time.time()
        self.terminal.ensure_newline()
        self.terminal.write(line + '\n', flush=True)
