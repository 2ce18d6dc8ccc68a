"""The semaphore: one word a permit, and the word says whose it is.

What is modelled. Permit words FREE or owner; a holder takes one by compare-exchange, walking
from a private cursor, and gives it back by storing FREE and notifying one; who finds none
sleeps on the event count (`eventcount.py`, complete, with the baton). A holder of several
looks whether enough are FREE, takes all or rolls back, and then everybody is woken, by
releases and by a roll-back that held something. Kills fall before every step; the sweep frees what the dead owned and wakes
everybody, and a second reaper repeats it.

A good end. Everyone has had the permits as often as it wanted, or died and was reaped; all
permits are FREE: their number has not drifted, and nobody is left waiting.

Always required. A permit is never given back by somebody who does not own it.

Expected to fail, and why. A shared count of permits in place of the words drifts: nobody
knows whether the dead had one. Without the reaper's wake the permits are free again and
nobody hears of it. A roll-back that tells nobody leaves two that need both permits asleep,
each having seen the other's half. One that takes without looking whether enough are FREE
never sleeps: its own roll-back moves the epoch that it would sleep on. Without the baton a permit lies free while somebody
sleeps; the next release would repair that, but here nobody releases before both have one.

What is not excluded: two that need several permits may roll back for each other for ever. A
scheduler that is not for ever hostile ends it; nothing else does.
"""

from eventcount import WAKE_ALL, WAKE_ONE, EventCount
from explore import Case, Lives, Model, act, cas, fail, load, main, store

FREE = "free"


def semaphore(permits, wants, repeats=1, kills=0, reapers=0, wake=WAKE_ONE, baton=True, reaper_wakes=True,
              roll_back_notifies=True, owner_words=True, count_first=True, together=(), patient=(),
              epochs=1 << 31):
    """`wants[i]` is how many permits holder i takes at once, `repeats` times. The holders in
    `together` keep theirs until all of them have some; the `patient` ones until each of the
    others had some or sleeps."""
    model = Model(kills)
    holders = len(wants)
    lives = Lives(model, range(holders + reapers))
    owner = model.cells("owner of permit", [FREE] * (permits if owner_words else 0))
    count = None if owner_words else model.cell("count", permits)
    event = EventCount(model, epochs=epochs)
    holds = model.cells("holds", [False] * holders)                 # what an onlooker sees

    def on_kill(memory, process):
        lives.on_kill(memory, process)
        event.forget(memory, process)

    model.on_kill = on_kill

    # -- permits as words

    def give_back(state, permit, me):
        if state[owner[permit]] != me:
            return [("gives back what it does not own", ())]
        return [(None, ((owner[permit], FREE),))]

    def return_all(me, taken):
        for permit in taken:
            complaint = yield act(give_back, permit, me)
            if complaint:
                yield fail(complaint)

    def try_acquire(me, wanted, cursor):
        """Result: the permits, or None."""
        if wanted > 1 and count_first:
            enough = yield from are_free(wanted)
            if not enough:
                return None
        taken = ()
        for step in range(permits):
            permit = (cursor + step) % permits
            if (yield load(owner[permit])) == FREE:
                if (yield cas(owner[permit], FREE, me)):
                    taken += (permit,)
                    if len(taken) == wanted:
                        return taken
        if taken:
            yield from return_all(me, taken)
            if roll_back_notifies:
                yield from event.notify(wake)
        return None

    def are_free(wanted):
        for permit in range(permits):
            if (yield load(owner[permit])) == FREE:
                wanted -= 1
                if wanted == 0:
                    return True
        return False

    # -- permits as a shared count

    def take_from_count(state, wanted):
        if state[count] < wanted:
            return [(None, ())]
        return [((wanted,), ((count, state[count] - wanted),))]

    def add_to_count(state, amount):
        return [(None, ((count, state[count] + amount),))]

    # -- who does it

    def attempt(me, wanted):
        if owner_words:
            taken = yield from try_acquire(me, wanted, me % permits)
            return taken
        return (yield act(take_from_count, wanted))

    def acquire(me, wanted):
        slept = False
        while True:
            taken = yield from attempt(me, wanted)
            if taken:
                break
            armed = yield from event.arm()
            taken = yield from attempt(me, wanted)
            if taken:
                break
            outcome = yield from event.sleep(me, armed)
            if outcome == "woken":
                slept = True
        if baton and slept:
            more = yield from are_free(1) if owner_words else more_in_count()
            if more:
                yield from event.notify(wake)
        return taken

    def more_in_count():
        return (yield load(count)) > 0

    def all_hold(state):
        return [(None, ())] if all(state[holds[i]] for i in together) else []

    def others_sleep(state, me):
        others = (i for i in range(holders) if i != me)
        return [(None, ())] if all(state[holds[i]] or i in state[event.sleepers] for i in others) else []

    def holder(me, wanted):
        for _time in range(repeats):
            taken = yield from acquire(me, wanted)
            if together or patient:
                yield store(holds[me], True)
            if me in together:
                yield act(all_hold)
            if me in patient:
                yield act(others_sleep, me)
            if owner_words:
                yield from return_all(me, taken)
            else:
                yield act(add_to_count, wanted)
            yield from event.notify(wake)

    def reaper(me):
        while True:
            dead = yield lives.try_lock_dead(me)
            for permit in range(len(owner)):
                if (yield load(owner[permit])) == dead:
                    yield store(owner[permit], FREE)
            if reaper_wakes:
                yield from event.wake_everybody()
            yield lives.mark_gone(dead)

    for i, wanted in enumerate(wants):
        model.peer(f"holder{i}", holder, i, wanted)
    for i in range(holders, holders + reapers):
        model.peer(f"reaper{i}", reaper, i)

    def good_end(state):
        for i in range(holders):
            if not (model.finished(state, i) or model.dead(state, i)):
                return False
        if not lives.nobody_left_to_reap(state, range(holders)):
            return False
        return all(state[o] == FREE for o in owner) if owner_words else state[count] == permits

    model.good_end = good_end
    return model


def case(name, permits, wants, expected="ok", quick=True, **options):
    return Case("semaphore: " + name, lambda: semaphore(permits, wants, **options), expected, quick)


CASES = [
    case("1 permit, 2 holders, twice", 1, [1, 1], repeats=2),
    case("1 permit, 3 holders", 1, [1, 1, 1]),
    case("2 permits, 3 holders", 2, [1, 1, 1], quick=False),
    case("1 permit, 2 holders, 1 kill", 1, [1, 1], kills=1, reapers=1),
    case("1 permit, 3 holders, 1 kill", 1, [1, 1, 1], kills=1, reapers=1, quick=False),
    case("1 permit, 2 holders, 2 kills, 2 reapers", 1, [1, 1], kills=2, reapers=2),
    case("2 permits, 3 holders, 2 kills, 2 reapers", 2, [1, 1, 1], kills=2, reapers=2, quick=False),
    case("2 permits, 2 holders of both, 2 kills, 2 reapers", 2, [2, 2], wake=WAKE_ALL, baton=False,
         kills=2, reapers=2, epochs=8, quick=False),
    case("2 permits, 4 holders, the last two together", 2, [1, 1, 1, 1], together=(2, 3)),
    case("2 permits, 2 holders of both", 2, [2, 2], wake=WAKE_ALL, baton=False, epochs=8),
    case("2 permits, holders of 2 and 1, 1 kill", 2, [2, 1], wake=WAKE_ALL, baton=False, kills=1, reapers=1, epochs=8),
    case("2 permits, one held until the holder of both sleeps", 2, [1, 2], wake=WAKE_ALL, baton=False,
         patient=(0,), epochs=8),
    case("the same, taking without looking first", 2, [1, 2], "stuck", wake=WAKE_ALL, baton=False,
         patient=(0,), epochs=8, count_first=False),
    case("a shared count", 1, [1, 1], "stuck", kills=1, reapers=1, owner_words=False),
    case("no wake by the reaper", 1, [1, 1], "stuck", kills=1, reapers=1, reaper_wakes=False),
    case("roll-back tells nobody", 2, [2, 2], "stuck", wake=WAKE_ALL, baton=False,
         roll_back_notifies=False, epochs=8),
    case("no baton", 2, [1, 1, 1, 1], "stuck", baton=False, together=(2, 3)),
]

if __name__ == "__main__":
    main(CASES)
