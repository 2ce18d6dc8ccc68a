"""The condvar: a slot for each waiter, a ticket in each slot, and an event count beside it.

What is modelled. Slots (ticket, FREE, WAITING or NOTIFIED, owner), an event count for each of them (`eventcount.py`,
complete), `high` above all slots that were ever used, and a counter of tickets. To wait, with the mutex: take a ticket,
raise `high` above a FREE slot, claim it by compare-exchange, unlock, sleep until the slot is NOTIFIED, make it FREE, lock.
If the time is up: a compare-exchange from WAITING to FREE, and if that fails one was notified after all. To notify one: of
the WAITING slots below `high` that with the smallest ticket becomes NOTIFIED by compare-exchange (else look again), and its
event count is notified. To notify all: every WAITING one. A reaper first says that somebody died, which makes NOTIFIED all
that are WAITING, then makes FREE what the dead one had, then wakes everybody.

Producers put units under the mutex and notify; consumers wait until there is one and take it. One whose time is up leaves
without another look, as it may: it was not notified. The mutex is taken at its word (`mutex.py`): locking waits until nobody
living has it, unlocking makes all of a change or nothing, and it is swept independently of the condvar, which may be in
another segment. Kills fall before every step.

A good end. The producers are done or dead, the dead are reaped and have no slot, and who still sleeps does so while there is
nothing.

Always required. Nobody who waited before a notification of one began, and still does, is passed over for one with a later
ticket. Without deaths, notifications of one wake no more waiters than there were notifications. With as many slots as
consumers there is always a free one.

Expected to fail, and why. A slot that is claimed after the unlocking, or comes below `high` after it, is not there for a
notification in between. If a death notifies nobody, a notification goes to the grave with the consumer that it was meant
for, and another sleeps beside the unit. Without the reaper's wake, one is NOTIFIED by a producer that was killed before it
woke it, and sleeps. Whoever gives up and stores FREE without comparing takes along a notification that was meant for whoever
still waits. The first slot is not that of the first waiter. Whoever stores NOTIFIED without comparing notifies one that has
gone, and its slot is lost. A sweep without the slots of the dead loses those.
"""

from eventcount import WAKE_ALL, WAKE_ONE
from explore import ALIVE, Case, Lives, Model, act, add, cas, fail, load, main, raise_to, store
from mutex import NOBODY, event_count, forgetful, wait_until

FREE, WAITING, NOTIFIED = "free", "waiting", "notified"
UNUSED = (0, FREE, NOBODY)


def condvar(posts, wants, kills=0, reapers=0, wake=WAKE_ONE, together=1, may_time_out=(), notifies_inside=False,
            claims_first=True, raises_first=True, by_ticket=True, exchanges=True, gives_up_by_exchange=True,
            death_notifies=True, sweeps_first=True, sweeps=True, reaper_wakes=True, immortals=False):
    """`posts[i]` is how often producer i puts so many units `together` and notifies; `wants[i]` how many units consumer i wants, one by one."""
    model = Model(kills)
    producers, consumers = range(len(posts)), range(len(posts), len(posts) + len(wants))
    first_reaper = len(posts) + len(wants)
    lives = Lives(model, range(first_reaper + reapers))
    owner = model.cell("mutex", NOBODY)
    units = model.cell("units", 0)
    tickets = model.cell("tickets", 0)
    high = model.cell("high", 0)
    slots = model.cells("slot", [UNUSED] * len(wants))
    to_wake = model.cell("notifications not consumed", 0)             # an onlooker's note, without kills
    events = [event_count(model, f"slot {i}'s ") for i in range(len(wants))]
    forgetful(model, lives, events)

    # -- the mutex

    def lock(state, me):
        has_it = state[owner]
        return [(None, ((owner, me),))] if has_it == NOBODY or state[lives.cells[has_it]] != ALIVE else []

    def unlock(state, change):
        return [(None, ((owner, NOBODY), (units, state[units] + change)))]

    # -- waiting

    def claim(me):
        """Result: the slot and its word."""
        ticket = yield add(tickets, 1)
        word = (ticket, WAITING, me)
        for slot in range(len(slots)):
            if (yield load(slots[slot])) == UNUSED:
                if raises_first:
                    yield raise_to(high, slot + 1)
                if (yield cas(slots[slot], UNUSED, word)):
                    return slot, word
        yield fail("no slot is free")

    def is_notified(slot, word):
        if (yield load(slots[slot])) == word:
            return None
        return True

    def leave_notified(state, slot):
        return [(None, ((slots[slot], UNUSED),) + (() if kills else ((to_wake, state[to_wake] - 1),)))]

    def wait(me):
        """With the mutex. Result: whether one was notified, rather than the time up."""
        if claims_first:
            slot, word = yield from claim(me)
        yield act(unlock, 0)
        if not claims_first:
            slot, word = yield from claim(me)
        if not raises_first:
            yield raise_to(high, slot + 1)
        notified = yield from wait_until(events[slot], me, is_notified, slot, word, may_give_up=me in may_time_out)
        if notified is None:
            if not gives_up_by_exchange:
                yield store(slots[slot], UNUSED)
            elif not (yield cas(slots[slot], word, UNUSED)):
                notified = True
        if notified:
            yield act(leave_notified, slot)
        yield act(lock, me)
        return notified

    # -- notifying

    def begin(state):
        """Result: `high`; and what an onlooker notes, the tickets of those who wait now."""
        waiting = frozenset(state[slot][0] for slot in slots if state[slot][1] == WAITING)
        return [((state[high], waiting), () if kills else ((to_wake, state[to_wake] + 1),))]

    def make_notified(state, slot, seen, first_come):
        if state[slots[slot]] != seen and exchanges:
            return [(False, ())]
        still_waiting = (state[s][0] for s in slots if state[s][1] == WAITING and state[s][0] in first_come)
        if min(still_waiting, default=seen[0]) < seen[0]:
            return [("one was passed over for a later one", ())]
        return [(True, ((slots[slot], (seen[0], NOTIFIED, seen[2])),))]

    def notify_one():
        below, first_come = yield act(begin)
        while True:
            chosen = chosen_word = None
            for slot in range(len(slots)):
                if slot >= below:
                    break
                seen = yield load(slots[slot])
                if seen[1] == WAITING and (chosen is None or (by_ticket and seen < chosen_word)):
                    chosen, chosen_word = slot, seen
            if chosen is None:
                return
            outcome = yield act(make_notified, chosen, chosen_word, first_come)
            if outcome is True:
                yield from events[chosen].notify(WAKE_ALL)
                return
            if outcome:
                yield fail(outcome)
            below = yield load(high)

    def notify_all(wakes=True):
        below = yield load(high)
        for slot in range(len(slots)):
            if slot >= below:
                break
            seen = yield load(slots[slot])
            if seen[1] == WAITING:
                done = yield cas(slots[slot], seen, (seen[0], NOTIFIED, seen[2]))
                if done and wakes:
                    yield from events[slot].notify(WAKE_ALL)

    # -- who does it

    def notify():
        if wake == WAKE_ONE:
            yield from notify_one()
        else:
            yield from notify_all()

    def producer(me, times):
        for _time in range(times):
            yield act(lock, me)
            if notifies_inside:
                yield from notify()
            yield act(unlock, together)
            if not notifies_inside:
                yield from notify()

    def consumer(me, wanted):
        for _unit in range(wanted):
            yield act(lock, me)
            while (yield load(units)) == 0:
                notified = yield from wait(me)
                if not notified:
                    yield act(unlock, 0)
                    return
            yield act(unlock, -1)

    def reaper(me):
        while True:
            dead = yield lives.try_lock_dead(me)
            if death_notifies and not sweeps_first:
                yield from notify_all(wakes=False)
            for slot in range(len(slots)):
                if sweeps and (yield load(slots[slot]))[2] == dead:
                    yield store(slots[slot], UNUSED)
            if death_notifies and sweeps_first:
                yield from notify_all(wakes=False)
            for slot in range(len(slots)):
                if reaper_wakes:
                    yield from events[slot].wake_everybody()
            yield lives.mark_gone(dead)

    for i, times in zip(producers, posts):
        model.peer(f"producer{i}", producer, i, times, killable=not immortals)
    for i, wanted in zip(consumers, wants):
        model.peer(f"consumer{i}", consumer, i, wanted)
    for i in range(first_reaper, first_reaper + reapers):
        model.peer(f"reaper{i}", reaper, i, killable=i < first_reaper + reapers - 1)     # somebody is left who reaps

    def sleeps(state, me):
        return any(me in state[event.sleepers] for event in events)

    def good_end(state):
        if not all(model.finished(state, i) or model.dead(state, i) for i in producers):
            return False
        for i in consumers:
            if not (model.finished(state, i) or model.dead(state, i)) and (state[units] > 0 or not sleeps(state, i)):
                return False
        if not lives.nobody_left_to_reap(state, range(first_reaper)):
            return False
        return all(state[slot] == UNUSED or not model.dead(state, state[slot][2]) for slot in slots)

    def invariant(state):
        return "more were woken than notified" if state[to_wake] < 0 else None

    model.good_end = good_end
    if not kills and wake == WAKE_ONE:
        model.invariant = invariant
    return model


def case(name, posts, wants, expected="ok", quick=True, **options):
    return Case("condvar: " + name, lambda: condvar(posts, wants, **options), expected, quick)


CASES = [
    case("2 producers, 2 consumers", [1, 1], [1, 1]),
    case("a producer of 2, 2 consumers", [2], [1, 1]),
    case("a producer of 2, 2 consumers, notified with the mutex", [2], [1, 1], notifies_inside=True),
    case("a producer of 3, consumers of 2 and 1", [3], [2, 1]),
    case("2 producers, 3 consumers", [1, 1], [1, 1, 1], quick=False),
    case("a producer of 2, 3 consumers, one of which may time out", [2], [1, 1, 1], may_time_out=(1,), quick=False),
    case("2 producers, 2 consumers, one of which may time out", [1, 1], [1, 1], may_time_out=(2,)),
    case("2 together, all notified, 2 consumers", [1], [1, 1], wake=WAKE_ALL, together=2),
    case("2 together, all notified, 2 consumers, 1 kill", [1], [1, 1], wake=WAKE_ALL, together=2, kills=1, reapers=1),
    case("a producer of 1, 2 consumers, 1 kill", [1], [1, 1], kills=1, reapers=1),
    case("a producer of 2, 2 consumers, 1 kill", [2], [1, 1], kills=1, reapers=1),
    case("a producer of 1, 2 consumers, one of which may time out, 1 kill", [1], [1, 1], may_time_out=(1,), kills=1, reapers=1),
    case("a producer of 1, 2 consumers, 2 kills of consumers and a reaper", [1], [1, 1], kills=2, reapers=2,
         immortals=True, quick=False),
    case("claimed after unlocking", [1], [1], "stuck", claims_first=False),
    case("`high` is raised after unlocking", [1], [1], "stuck", raises_first=False),
    case("the first slot instead of the first ticket", [3], [2, 2], "violation", by_ticket=False),
    case("notified without comparing", [1], [1, 1], "stuck", may_time_out=(1,), exchanges=False),
    case("who gives up stores FREE without comparing", [1], [1, 1], "stuck", may_time_out=(1,),
         gives_up_by_exchange=False),
    case("a death notifies nobody", [1], [1, 1], "stuck", kills=1, reapers=1, death_notifies=False),
    case("a death notifies before the dead one's slots are swept", [1], [1, 1], "stuck", kills=1, reapers=1,
         sweeps_first=False),
    case("the slots of the dead stay", [1], [1], "stuck", kills=1, reapers=1, sweeps=False),
    case("no wake by the reaper", [1], [1], "stuck", kills=1, reapers=1, reaper_wakes=False),
]

if __name__ == "__main__":
    main(CASES)
