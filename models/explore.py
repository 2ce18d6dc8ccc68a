"""Explorer of small concurrent models: every interleaving, with kills.

A model is some shared memory cells and some peers. A peer's program is a Python
generator that yields one atomic operation at a time and is sent back its result, so a
program reads like the pseudo-code of the protocol:

    seen = yield load(word)
    if (yield cas(word, seen, (seen[0], WRITING, me))):
        ...

What is explored is the sequentially consistent product of all programs, breadth first.
While the kill budget lasts, every process that is alive may be killed before each of its
operations. Verdicts:

    ok         every reachable state can still reach a good end
    violation  a program yielded `fail(...)`, or the model's invariant does not hold
    stuck      some reachable state cannot reach a good end: a deadlock, a lost message,
               a lost wake-up, or spinning for ever
    limit      too many states, nothing was decided

"Can still reach a good end" is the right notion for protocols that retry: it assumes that
a scheduler is not for ever hostile, and nothing else.
"""

import argparse
import gc
import time
from typing import NamedTuple

from automata import DONE, Automata

LOAD, STORE, CAS, ACT, FAIL = range(5)
DEAD = -1                                        # a peer's node when it is dead; see automata.DONE
KILLS_LEFT = 0                                   # cell 0 of every model: the kill budget


# ---- atomic operations ---------------------------------------------------------------

def load(cell):
    return (LOAD, cell)


def store(cell, value):
    return (STORE, cell, value)


def cas(cell, old, new):
    """Result: whether the cell held `old`, and now holds `new`."""
    return (CAS, cell, old, new)


def act(function, *arguments):
    """Any atomic step: function(state, *arguments) returns the possible outcomes, each a
    pair (result, ((cell, new value), ...)). No outcome: the peer is blocked."""
    return (ACT, function, arguments)


def fail(message):
    return (FAIL, message)


def _add(state, cell, amount):
    return [(state[cell] + amount, ((cell, state[cell] + amount),))]


def add(cell, amount):
    """Atomic addition. Result: the new value."""
    return act(_add, cell, amount)


def _raise_to(state, cell, value):
    return [(None, ((cell, value),) if state[cell] < value else ())]


def raise_to(cell, value):
    """fetch_max."""
    return act(_raise_to, cell, value)


def _choose(state, options):
    return [(option, ()) for option in options]


def choose(*options):
    """A step that may go several ways."""
    return act(_choose, options)


# ---- models ---------------------------------------------------------------------------

class Model:
    """Cells, peers, and what has to hold. `invariant(state)` returns a complaint or None;
    `good_end(state)` says whether the run may end here; `on_kill(memory, process)` does
    what the kernel does for a killed process, on a list of the cells."""

    def __init__(self, kills=0):
        self.cell_names, self.start_values = ["kills left"], [kills]
        self.peer_names, self.processes, self.programs = [], [], []
        self.killable = []
        self.invariant = None
        self.good_end = None
        self.on_kill = None

    def cell(self, name, value):
        self.cell_names.append(name)
        self.start_values.append(value)
        return len(self.start_values) - 1

    def cells(self, name, values):
        return [self.cell(f"{name}[{i}]", value) for i, value in enumerate(values)]

    def peer(self, name, program, *arguments, process=None, killable=True):
        """Peers with one process number are its threads: they are killed together."""
        number = len(self.programs)
        self.peer_names.append(name)
        self.processes.append(number if process is None else process)
        self.programs.append((program, arguments))
        self.killable.append(killable)
        return number

    def finished(self, state, peer):
        return state[len(self.start_values) + peer] == DONE

    def dead(self, state, peer):
        return state[len(self.start_values) + peer] == DEAD


class Verdict(NamedTuple):
    name: str
    detail: str
    states: int
    trace: list


# ---- the exploration -----------------------------------------------------------------------

def explore(model, limit=3_000_000):
    gc.disable()                                    # millions of tuples, and none of them in a cycle
    automata = Automata(model.programs)
    follow, operations, known_next = automata.follow, automata.operations, automata.known_next
    memory_size = len(model.start_values)
    peers = range(len(model.programs))
    start = tuple(model.start_values) + tuple(automata.entry(peer) for peer in peers)
    invariant, good_end = model.invariant, model.good_end
    threads = {}
    for peer in peers:
        if model.killable[peer]:
            threads.setdefault(model.processes[peer], []).append(memory_size + peer)
    places = tuple(range(memory_size, len(start)))
    number = {start: 0}
    states = [start]
    came_from = [[]]
    good = []

    def finish(name, detail, at=None):
        trace = [] if at is None else _trace(model, automata, states, came_from, at)
        return Verdict(name, detail, len(states), trace)

    here = 0
    while here < len(states):
        state = states[here]
        if invariant is not None:
            complaint = invariant(state)
            if complaint:
                return finish("violation", complaint, here)
        if good_end(state):
            good.append(here)
        following = []
        for place in places:
            node = state[place]
            if node < 0:
                continue
            operation = operations[node]
            kind = operation[0]
            if kind == LOAD:
                result = state[operation[1]]
                changed = list(state)
            elif kind == CAS:
                cell = operation[1]
                result = state[cell] == operation[2]
                changed = list(state)
                if result:
                    changed[cell] = operation[3]
            elif kind == STORE:
                result = None
                changed = list(state)
                changed[operation[1]] = operation[2]
            elif kind == ACT:
                for result, updates in operation[1](state, *operation[2]):
                    changed = list(state)
                    for cell, value in updates:
                        changed[cell] = value
                    changed[place] = follow(node, result)
                    following.append(tuple(changed))
                continue
            else:
                return finish("violation", operation[1], here)
            target = known_next.get((node, result))
            changed[place] = follow(node, result) if target is None else target
            following.append(tuple(changed))
        if state[KILLS_LEFT]:
            for process, its in threads.items():
                changed = list(state)
                killed = False
                for place in its:
                    if changed[place] >= 0:
                        changed[place] = DEAD
                        killed = True
                if killed and model.on_kill(changed, process) is not False:
                    changed[KILLS_LEFT] -= 1
                    following.append(tuple(changed))
        for target in following:
            n = number.get(target)
            if n is None:
                number[target] = len(states)
                states.append(target)
                came_from.append([here])
            elif n != here:
                came_from[n].append(here)
        here += 1
        if len(states) > limit:
            return finish("limit", f"more than {limit} states")

    reaches = bytearray(len(states))
    for n in good:
        reaches[n] = 1
    while good:
        for n in came_from[good.pop()]:
            if not reaches[n]:
                reaches[n] = 1
                good.append(n)
    lost = reaches.find(0)
    if lost >= 0:
        # Breadth first, so the first lost state is a nearest one: the step that loses everything.
        return finish("stuck", f"{reaches.count(0)} states without a way to a good end", lost)
    return finish("ok", "")


def _trace(model, automata, states, came_from, at):
    """A shortest way to a state, one line a step: who stood where, and what changed."""
    path = [at]
    while path[-1]:
        path.append(came_from[path[-1]][0])
    path.reverse()
    memory_size = len(model.start_values)
    lines = []
    for before, after in zip(path, path[1:]):
        old, new = states[before], states[after]
        movers = [p for p in range(len(model.programs)) if old[memory_size + p] != new[memory_size + p]]
        killed = [p for p in movers if new[memory_size + p] == DEAD]
        changes = ", ".join(f"{model.cell_names[c]}: {old[c]} -> {new[c]}"
                            for c in range(1, memory_size) if old[c] != new[c])
        who = ", ".join(model.peer_names[p] for p in (killed or movers)) or "(same place)"
        what = "KILLED" if killed else ", ".join(automata.places[old[memory_size + p]] for p in movers)
        lines.append(f"{who}: {what}" + (f"   {changes}" if changes else ""))
    last = states[at]
    for p, name in enumerate(model.peer_names):
        node = last[memory_size + p]
        lines.append(f"  in the end {name} is " + ("dead" if node == DEAD else "done" if node == DONE else
                                                   f"at {automata.places[node]}"))
    return lines


# ---- liveness and reaping: shared by the models with kills -----------------------------------

ALIVE, NOT_REAPED, GONE = "alive", "not reaped", "gone"


class Lives:
    """One cell a process: its lock on the segment, as the kernel keeps it. ALIVE, then NOT_REAPED
    once killed (the lock is free), then ("reaped by", r) while r holds the lock, then GONE. A
    reaper that is killed lets go of what it held."""

    def __init__(self, model, names):
        self.cells = model.cells("life", [ALIVE] * len(names))
        model.on_kill = self.on_kill

    def on_kill(self, memory, process):
        for cell in self.cells:
            if memory[cell] == ("reaped by", process):
                memory[cell] = NOT_REAPED
        memory[self.cells[process]] = NOT_REAPED

    def try_lock_dead(self, me):
        """Blocks until somebody is dead; result: who. A reaper may pick any of the dead."""
        return act(self._lock_any, me)

    def try_lock_dead_or_none(self, me):
        return act(self._lock_any_or_none, me)

    def _lock_any(self, state, me):
        return [(process, ((cell, ("reaped by", me)),))
                for process, cell in enumerate(self.cells) if state[cell] == NOT_REAPED]

    def _lock_any_or_none(self, state, me):
        return self._lock_any(state, me) or [(None, ())]

    def mark_gone(self, process):
        return store(self.cells[process], GONE)

    def nobody_left_to_reap(self, state, among=None):
        cells = self.cells if among is None else [self.cells[p] for p in among]
        return all(state[cell] in (ALIVE, GONE) for cell in cells)


# ---- cases ---------------------------------------------------------------------------------

class Case(NamedTuple):
    name: str
    build: object                 # () -> Model
    expected: str = "ok"
    quick: bool = True            # part of the quick run


def run_cases(cases, quick=False, show_traces=False, limit=6_000_000):
    """Prints a line a case. Result: the cases whose verdict was not the expected one."""
    unexpected = []
    for case in cases:
        if quick and not case.quick:
            continue
        began = time.perf_counter()
        verdict = explore(case.build(), limit)
        seconds = time.perf_counter() - began
        as_expected = verdict.name == case.expected
        text = verdict.name + (", as expected" if as_expected and case.expected != "ok" else "")
        if not as_expected:
            text += f", EXPECTED {case.expected}"
            unexpected.append(case)
        print(f"{case.name:<76} {text:<22} {verdict.states:>9} states {seconds:6.1f} s", flush=True)
        if not as_expected or (show_traces and verdict.trace):
            for line in [verdict.detail] + verdict.trace:
                print(f"    {line}")
    return unexpected


def main(cases):
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="only the smaller cases")
    parser.add_argument("--trace", action="store_true", help="show how the failing cases fail")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    arguments = parser.parse_args()
    chosen = [case for case in cases if arguments.only in case.name]
    raise SystemExit(1 if run_cases(chosen, arguments.quick, arguments.trace) else 0)
