"""The lock for readers and writers: a word for the writer, a count for each peer's readers, and two copies of what it guards.

What is modelled. The word (owner, PENDING, DIED, CURRENT), a count for each peer, and three event counts (`eventcount.py`,
complete). To read: if the word has an owner, wait on `readers`; else raise the own count and look at the word again: without
an owner one reads the copy that CURRENT names, until one lowers the count and notifies `drained`; with one, both at once. To
write: a compare-exchange from nobody to me and PENDING, else wait on `writers`, which are woken one at a time; wait on
`drained` until every count has been zero; store the word without PENDING. From there on it is the mutex (`mutex.py`): the
other copy is written, one store names it and gives the lock back. Then all `readers` and one of the `writers` are notified.
Who only tries, or whose time is up, while PENDING stores the word as it was and notifies the same. The sweep puts back
a dead owner's word, as it was if it is PENDING, as nothing was written, else with DIED, and zeroes the dead one's count; then
all three are roused, whoever it was. Kills fall before every step, on reapers too.

A good end. Everyone living has read and written as often as it wanted, or its time was up; nobody owns the word, counts are
zero, the dead are reaped.

Always required. No reader is there together with a writer, and no second writer. Whoever has the lock reads a whole value,
that of the last store, and is told of a death of a writer if and only if there was one that nobody has made consistent
since.

Expected to fail, and why. A count that is raised after the look at the word lets a reader in beside a writer. A reader that
lowers its count without a word, because a writer was faster or because it is done, leaves the writer asleep. A writer that
gives up without a word to the readers leaves those asleep that saw it; without a word to the writers, those. Without the
sweep of its count a writer waits for a dead reader. A sweep that says DIED of a writer that was PENDING tells of a death
that harmed nothing. A word that stays PENDING hides one that did.
"""

from eventcount import WAKE_ALL, WAKE_ONE
from explore import Case, Lives, Model, act, add, choose, fail, load, main, store
from mutex import NOBODY, Copies, event_count, forgetful, wait_until


def rw_lock(reads, writes, kills=0, reapers=0, may_time_out=(), tries=(), count_first=True, roll_back_notifies=True,
            reader_notifies=True, giving_up_wakes_readers=True, giving_up_wakes_writers=True, sweeps_counts=True,
            sweep_spares_pending=True, clears_pending=True, reaper_wakes=True):
    """`reads[i]` is how often reader i wants the lock, `writes[i]` how often writer i does. The writers are numbered after the
    readers; those in `tries` do not wait for readers."""
    model = Model(kills)
    readers, writers = range(len(reads)), range(len(reads), len(reads) + len(writes))
    first_reaper = len(reads) + len(writes)
    lives = Lives(model, range(first_reaper + reapers))
    word = model.cell("word", (NOBODY, False, False, 0))             # owner, PENDING, DIED, CURRENT
    counts = model.cells("count", [0] * len(reads))
    copies = Copies(model)
    inside = model.cell("inside", ())                                # an onlooker's note
    reading, writing, drained = [event_count(model, name + "' ") for name in ("readers", "writers", "drained")]

    def note_death(memory, process):
        if memory[word][0] == process and process in memory[inside]:
            memory[copies.is_owed] = True
        memory[inside] = tuple(p for p in memory[inside] if p != process)

    forgetful(model, lives, [reading, writing, drained], note_death)

    def without(state, me):
        return ((inside, tuple(p for p in state[inside] if p != me)),)

    # -- reading

    def look(state, me):
        """The decisive look at the word."""
        seen = state[word]
        if seen[0] != NOBODY:
            return [(None, ())]
        return [(seen, ((inside, tuple(sorted(state[inside] + (me,)))),))]

    def lower(state, me):
        return [(None, ((counts[me], state[counts[me]] - 1),) + without(state, me))]

    def try_read(me):
        """Result: the word, or None."""
        if count_first:
            if (yield load(word))[0] != NOBODY:
                return None
            yield add(counts[me], 1)
        seen = yield act(look, me)
        if seen is None:
            if count_first:
                yield act(lower, me)
                if roll_back_notifies:
                    yield from drained.notify(WAKE_ALL)
            return None
        if not count_first:
            yield add(counts[me], 1)
        return seen

    def reader(me, times):
        for _time in range(times):
            seen = yield from wait_until(reading, me, try_read, me, may_give_up=me in may_time_out)
            if seen is not None:
                yield from copies.read(seen[3], seen[2])
                yield act(lower, me)
                if reader_notifies:
                    yield from drained.notify(WAKE_ALL)

    # -- writing

    def take(state, me):
        seen = state[word]
        if seen[0] != NOBODY:
            return [(None, ())]
        return [(seen, ((word, (me, True) + seen[2:]),))]

    def try_own(me):
        """Result: the word as it was, or None. (Load and exchange in one: the mutex has them apart.)"""
        return (yield act(take, me))

    def no_reader():
        for peer in range(len(counts)):
            if (yield load(counts[peer])) != 0:
                return None
        return True

    def enter(state, me, seen):
        if state[inside]:
            return [("a writer beside somebody else", ())]
        return [(None, ((word, (me, not clears_pending) + seen[2:]), (inside, (me,))))]

    def give_back(state, me, died, current, is_changed, made_consistent):
        notes = copies.committed(state, is_changed, state[copies.is_owed] and not made_consistent)
        return [(None, ((word, (NOBODY, False, died, current)),) + without(state, me) + notes)]

    def notify(of_readers=True, of_writers=True):
        if of_readers:
            yield from reading.notify(WAKE_ALL)
        if of_writers:
            yield from writing.notify(WAKE_ONE)

    def write(me):
        may_give_up = me in may_time_out
        seen = yield from wait_until(writing, me, try_own, me, may_give_up=may_give_up)
        if seen is None:
            return
        if me in tries:
            is_drained = yield from no_reader()
        else:
            is_drained = yield from wait_until(drained, me, no_reader, may_give_up=may_give_up)
        if not is_drained:
            yield store(word, seen)
            yield from notify(giving_up_wakes_readers, giving_up_wakes_writers)
            return
        complaint = yield act(enter, me, seen)
        if complaint:
            yield fail(complaint)
        died, current = seen[2], seen[3]
        value = yield from copies.read(current, died)
        makes_consistent = died
        if died:
            makes_consistent = yield choose(True, False)
        changes = yield choose(True, False)
        if changes:
            current = 1 - current
            yield from copies.write(current, value + 1)
        yield act(give_back, me, died and not makes_consistent, current, changes, makes_consistent)
        yield from notify()

    def writer(me, times):
        for _time in range(times):
            yield from write(me)

    # -- recovery

    def sweep(dead):
        owner, pending, died, current = yield load(word)
        if owner == dead:
            yield store(word, (NOBODY, False, died or not (pending and sweep_spares_pending), current))
        if sweeps_counts and dead < len(counts):
            yield store(counts[dead], 0)

    def reaper(me):
        while True:
            dead = yield lives.try_lock_dead(me)
            yield from sweep(dead)
            if reaper_wakes:
                yield from reading.wake_everybody()
                yield from writing.wake_everybody()
                yield from drained.wake_everybody()
            yield lives.mark_gone(dead)

    for i, times in zip(readers, reads):
        model.peer(f"reader{i}", reader, i, times)
    for i, times in zip(writers, writes):
        model.peer(f"writer{i}", writer, i, times)
    for i in range(first_reaper, first_reaper + reapers):
        model.peer(f"reaper{i}", reaper, i, killable=i < first_reaper + reapers - 1)     # somebody is left who reaps

    def invariant(state):
        if len(state[inside]) > 1 and any(p in writers for p in state[inside]):
            return "a writer beside somebody else"
        return None

    def good_end(state):
        if not all(model.finished(state, i) or model.dead(state, i) for i in range(first_reaper)):
            return False
        if not lives.nobody_left_to_reap(state, range(first_reaper)):
            return False
        return state[word][0] == NOBODY and not any(state[count] for count in counts)

    model.invariant, model.good_end = invariant, good_end
    return model


def case(name, reads, writes, expected="ok", quick=True, **options):
    return Case("rw_lock: " + name, lambda: rw_lock(reads, writes, **options), expected, quick)


CASES = [
    case("a reader, a writer, twice each", [2], [2]),
    case("2 readers, a writer", [1, 1], [1]),
    case("2 readers, a writer, twice", [1, 1], [2], quick=False),
    case("a reader, 2 writers", [1], [1, 1]),
    case("a reader, 2 writers, of which one only tries", [1], [1, 1], tries=(1,), quick=False),
    case("a reader, 2 writers, of which one may time out", [1], [1, 1], may_time_out=(1,), quick=False),
    case("2 readers, a writer; a reader and the writer may time out", [1, 1], [1], may_time_out=(1, 2)),
    case("a reader, twice, a writer, twice, 1 kill", [2], [2], kills=1, reapers=1),
    case("2 readers, a writer, 1 kill", [1, 1], [1], kills=1, reapers=1, quick=False),
    case("a reader, 2 writers, 1 kill", [1], [1, 1], kills=1, reapers=1, quick=False),
    case("a reader, a writer, 2 kills, 2 reapers", [1], [1], kills=2, reapers=2),
    case("counted after the look", [1], [1], "violation", count_first=False),
    case("a roll-back tells nobody", [1], [1], "stuck", roll_back_notifies=False),
    case("a reader leaves without a word", [1], [1], "stuck", reader_notifies=False),
    case("giving up tells no reader", [1, 1], [1], "stuck", tries=(2,), giving_up_wakes_readers=False),
    case("giving up tells no writer", [1], [1, 1], "stuck", tries=(1,), giving_up_wakes_writers=False),
    case("the count of the dead stays", [1], [1], "stuck", kills=1, reapers=1, sweeps_counts=False),
    case("the sweep says DIED of who was PENDING", [1], [1], "violation", kills=1, reapers=1, sweep_spares_pending=False),
    case("PENDING stays", [1], [1], "violation", kills=1, reapers=1, clears_pending=False),
    case("no wake by the reaper", [1], [1], "stuck", kills=1, reapers=1, reaper_wakes=False),
]

if __name__ == "__main__":
    main(CASES)
