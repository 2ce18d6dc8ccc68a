"""The value that is set once: whoever comes first makes it, and a death gives the next one its turn.

What is modelled. The word EMPTY, MAKING (by whom) or DONE, and a value of two halves. Whoever finds EMPTY moves it to MAKING
by compare-exchange, makes the value, which may fail, writes it half by half, stores DONE and wakes all; after a failure it
stores EMPTY and wakes all. Who finds MAKING sleeps (`eventcount.py`, complete) until the word says something else, and
begins again. The sweep of a dead one that was MAKING stores EMPTY; then everybody is woken, whoever it was that died. Who
may time out leaves while another is MAKING. Kills fall before every step, on reapers too.

A good end. Everyone living has read the value, or has failed to make it, or its time was up; nobody is MAKING, the dead are
reaped.

Always required. One at a time makes the value. Who finds DONE reads a whole value, the one that was stored; it never
changes, nor is it taken away.

Expected to fail, and why. If DONE is stored first, half a value is read. If only one is woken by DONE, others sleep on
beside it, as nobody passes anything on here; and so they do after a failure that wakes nobody. Without the sweep, or the
reaper's wake, they wait for the dead. A sweep that does not look who is MAKING it lets a second one in, or takes a value
away.
"""

from eventcount import WAKE_ALL, WAKE_ONE
from explore import Case, Lives, Model, act, choose, fail, load, main, store
from mutex import event_count, forgetful, wait_until

EMPTY, MAKING, DONE = "empty", "making", "done"


def once(callers, may_fail=True, kills=0, reapers=0, may_time_out=(), writes_first=True, wake=WAKE_ALL, failure_wakes=True,
         sweeps=True, sweep_looks=True, reaper_wakes=True):
    """So many callers want the value, and make it if need be."""
    model = Model(kills)
    lives = Lives(model, range(callers + reapers))
    word = model.cell("word", (EMPTY, None))
    halves = model.cells("half", [None, None])
    done = event_count(model)
    # An onlooker's notes.
    made_by = model.cell("made by", None)                            # DONE was stored
    making = model.cell("making", None)

    def note_death(memory, process):
        if memory[making] == process:
            memory[making] = None

    forgetful(model, lives, [done], note_death)

    def begin(state, me):
        """Result: what the word was."""
        seen = state[word]
        if seen[0] != EMPTY:
            return [(seen[0], ())]
        if state[making] is not None:
            return [("two make it", ())]
        return [(EMPTY, ((word, (MAKING, me)), (making, me)))]

    def end(state, me, how):
        notes = ((making, None),) if how == EMPTY else ((made_by, me), (making, None))
        return [(None, ((word, (how, None)),) + notes)]

    def not_making(me):
        """Result: what there is to be done, or None while another is at it."""
        seen = yield act(begin, me)
        return None if seen == MAKING else seen

    def run(me):
        """Result: whether there is a value."""
        if may_fail and (yield choose(True, False)):
            yield act(end, me, EMPTY)
            if failure_wakes:
                yield from done.notify(wake)
            return False
        if not writes_first:
            yield act(end, me, DONE)
        yield store(halves[0], me)
        yield store(halves[1], me)
        if writes_first:
            yield act(end, me, DONE)
        yield from done.notify(wake)
        return True

    def compare(state, first, second):
        if first != second:
            return [("the value is torn", ())]
        return [(None if first == state[made_by] else "another value", ())]

    def caller(me):
        found = yield from wait_until(done, me, not_making, me, may_give_up=me in may_time_out)
        if found is None:
            return
        if found == EMPTY:
            is_there = yield from run(me)
            if not is_there:
                return
        elif found != DONE:
            yield fail(found)
        first = yield load(halves[0])
        second = yield load(halves[1])
        complaint = yield act(compare, first, second)
        if complaint:
            yield fail(complaint)

    def reaper(me):
        while True:
            dead = yield lives.try_lock_dead(me)
            if sweeps and ((yield load(word)) == (MAKING, dead) or not sweep_looks):
                yield store(word, (EMPTY, None))
            if reaper_wakes:
                yield from done.wake_everybody()
            yield lives.mark_gone(dead)

    for i in range(callers):
        model.peer(f"caller{i}", caller, i)
    for i in range(callers, callers + reapers):
        model.peer(f"reaper{i}", reaper, i, killable=i < callers + reapers - 1)     # somebody is left who reaps

    def invariant(state):
        return "the value was taken away" if state[made_by] is not None and state[word][0] != DONE else None

    def good_end(state):
        if not all(model.finished(state, i) or model.dead(state, i) for i in range(callers)):
            return False
        return state[word][0] != MAKING and lives.nobody_left_to_reap(state, range(callers))

    model.invariant, model.good_end = invariant, good_end
    return model


def case(name, callers, expected="ok", quick=True, **options):
    return Case("once: " + name, lambda: once(callers, **options), expected, quick)


CASES = [
    case("3 callers", 3),
    case("3 callers, one of which may time out", 3, may_time_out=(1,)),
    case("3 callers, 1 kill", 3, kills=1, reapers=1),
    case("3 callers, one of which may time out, 1 kill", 3, may_time_out=(1,), kills=1, reapers=1),
    case("2 callers, 2 kills, 2 reapers", 2, kills=2, reapers=2),
    case("3 callers, 2 kills, 2 reapers", 3, kills=2, reapers=2, quick=False),
    case("DONE before it is written", 2, "violation", writes_first=False),
    case("one is woken by DONE", 3, "stuck", may_fail=False, wake=WAKE_ONE),
    case("a failure wakes nobody", 2, "stuck", failure_wakes=False),
    case("no sweep", 2, "stuck", kills=1, reapers=1, sweeps=False),
    case("the sweep does not look who is MAKING", 3, "violation", kills=1, reapers=1, sweep_looks=False),
    case("no wake by the reaper", 2, "stuck", kills=1, reapers=1, reaper_wakes=False),
]

if __name__ == "__main__":
    main(CASES)
