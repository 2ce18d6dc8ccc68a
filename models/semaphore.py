"""The semaphore: one word a permit, and the word says whose it is; or a number, whose units are nobody's.

What is modelled. Permit words FREE or owner; a holder takes one by compare-exchange, walking from a private cursor, and
gives it back by storing FREE. A holder of several looks whether enough are FREE, takes all or rolls back. Who finds too few
sleeps on one of two event counts (`eventcount.py`, complete): `one` for those who want one permit, of whom one is woken and
passes the baton if another permit is FREE, and `many` for those who want several, all of whom are woken, without a baton. A
release of one permit notifies one of the former and all of the latter; a release of several, or a roll-back, everybody.
Kills fall before every step; the sweep frees what the dead owned and wakes everybody, and a second reaper repeats it.

The other mode counts. Acquiring subtracts by compare-exchange if there is enough, and again if somebody else was faster;
posting adds, unless that would exceed the bound. It has the same two event counts. Units belong to nobody: a death changes
nothing but who is awake.

A good end. Permits: everyone has had them as often as it wanted, or its time was up, or it died and was reaped; all permits
are FREE: their number has not drifted, and nobody is left waiting. Units: the posts are done, and who still sleeps wants
more than there is.

Always required. A permit is never given back by somebody who does not own it. There are never more units than the bound.

Expected to fail, and why. A shared count of permits in place of the words drifts: nobody knows whether the dead had one.
Without the reaper's wake the permits are free again and nobody hears of it. A roll-back that tells nobody leaves two that
need both permits asleep, each having seen the other's half; one that tells only those who want several, somebody who wants
one. One that takes without looking whether enough are FREE never sleeps: its own roll-back moves the epoch that it would
sleep on. Without the baton a permit lies free while somebody sleeps; the next release would repair that, but here nobody
releases before both have one. A release of one that does not tell those who want several leaves them asleep though it was
the last that they lacked; one that wakes only one of them may wake the wrong one. Who takes a lost exchange for too few
units sleeps beside enough of them: the one that was faster took some, and tells nobody.

What is not excluded: two that need several permits may roll back for each other for ever. A scheduler that is not for ever
hostile ends it; nothing else does.
"""

from eventcount import WAKE_ALL, WAKE_ONE
from explore import Case, Lives, Model, act, cas, fail, load, main, store
from mutex import event_count, forgetful, wait_until

FREE = "free"
EVERYBODY, ONLY_MANY, NOBODY = "everybody", "only many", "nobody"     # who is told of a roll-back


class TwoEvents:
    """`one`, and `many`; and who is told of what."""

    def __init__(self, model, baton=True, one_tells_many=True, many_are_woken=WAKE_ALL, epochs=1 << 31):
        self.one, self.many = [event_count(model, name + ": ", epochs=epochs) for name in ("one", "many")]
        self._baton, self._one_tells_many, self._many_are_woken = baton, one_tells_many, many_are_woken

    def wait(self, me, wanted, attempt, is_more, may_give_up=False):
        event = self.one if wanted == 1 else self.many
        more = is_more if wanted == 1 and self._baton else None
        result = yield from wait_until(event, me, attempt, me, wanted, may_give_up=may_give_up, more=more)
        return result

    def notify(self, permits, tells_one=True):
        if tells_one:
            yield from self.one.notify(WAKE_ONE if permits == 1 else WAKE_ALL)
        if permits > 1 or self._one_tells_many:
            yield from self.many.notify(self._many_are_woken)

    def wake_everybody(self):
        yield from self.one.wake_everybody()
        yield from self.many.wake_everybody()

    def sleeps(self, state, process):
        return process in state[self.one.sleepers] or process in state[self.many.sleepers]


def semaphore(permits, wants, repeats=1, kills=0, reapers=0, reaper_wakes=True, roll_back_tells=EVERYBODY,
              owner_words=True, count_first=True, together=(), patient=(), may_time_out=(), **options):
    """`wants[i]` is how many permits holder i takes at once, `repeats` times. The holders in
    `together` keep theirs until all of them have some; the `patient` ones until each of the
    others had some or sleeps."""
    model = Model(kills)
    holders = len(wants)
    lives = Lives(model, range(holders + reapers))
    owner = model.cells("owner of permit", [FREE] * (permits if owner_words else 0))
    count = None if owner_words else model.cell("count", permits)
    events = TwoEvents(model, **options)
    holds = model.cells("holds", [False] * holders)                 # what an onlooker sees
    forgetful(model, lives, [events.one, events.many])

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

    def try_acquire(me, wanted):
        """Result: the permits, or None."""
        if wanted > 1 and count_first:
            enough = yield from are_free(wanted)
            if not enough:
                return None
        taken = ()
        for step in range(permits):
            permit = (me + step) % permits                              # the cursor
            if (yield load(owner[permit])) == FREE:
                if (yield cas(owner[permit], FREE, me)):
                    taken += (permit,)
                    if len(taken) == wanted:
                        return taken
        if taken:
            yield from return_all(me, taken)
            if roll_back_tells != NOBODY:
                yield from events.notify(wanted, roll_back_tells == EVERYBODY)
        return None

    def are_free(wanted=1):
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

    def try_count(me, wanted):
        return (yield act(take_from_count, wanted))

    def add_to_count(state, amount):
        return [(None, ((count, state[count] + amount),))]

    def more_in_count():
        return (yield load(count)) > 0

    # -- who does it

    def all_hold(state):
        return [(None, ())] if all(state[holds[i]] for i in together) else []

    def others_sleep(state, me):
        others = (i for i in range(holders) if i != me)
        return [(None, ())] if all(state[holds[i]] or events.sleeps(state, i) for i in others) else []

    def holder(me, wanted):
        attempt, is_more = (try_acquire, are_free) if owner_words else (try_count, more_in_count)
        for _time in range(repeats):
            taken = yield from events.wait(me, wanted, attempt, is_more, me in may_time_out)
            if taken is None:
                return
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
            yield from events.notify(wanted)

    def reaper(me):
        while True:
            dead = yield lives.try_lock_dead(me)
            for permit in range(len(owner)):
                if (yield load(owner[permit])) == dead:
                    yield store(owner[permit], FREE)
            if reaper_wakes:
                yield from events.wake_everybody()
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


def counting(posts, wants, start=0, bound=4, kills=0, reapers=0, repeats=1, may_time_out=(), reaper_wakes=True, tries_again=True,
             heeds_bound=True, **options):
    """`posts[i]` are the amounts that poster i posts, `wants[i]` how many units acquirer i takes at once, `repeats` times."""
    model = Model(kills)
    posters, acquirers = range(len(posts)), range(len(posts), len(posts) + len(wants))
    first_reaper = len(posts) + len(wants)
    lives = Lives(model, range(first_reaper + reapers))
    units = model.cell("units", start)
    events = TwoEvents(model, **options)
    forgetful(model, lives, [events.one, events.many])

    def try_acquire(me, wanted):
        while True:
            seen = yield load(units)
            if seen < wanted:
                return None
            if (yield cas(units, seen, seen - wanted)):
                return wanted
            if not tries_again:
                return None

    def are_there():
        return (yield load(units)) > 0

    def poster(me, amounts):
        for time in range(len(amounts)):
            posted = False
            while not posted:
                seen = yield load(units)
                if heeds_bound and seen + amounts[time] > bound:
                    break
                posted = yield cas(units, seen, seen + amounts[time])
            if posted:
                yield from events.notify(amounts[time])

    def acquirer(me, wanted):
        for _time in range(repeats):
            taken = yield from events.wait(me, wanted, try_acquire, are_there, me in may_time_out)
            if taken is None:
                return

    def reaper(me):
        while True:
            dead = yield lives.try_lock_dead(me)
            if reaper_wakes:
                yield from events.wake_everybody()
            yield lives.mark_gone(dead)

    for i, amounts in zip(posters, posts):
        model.peer(f"poster{i}", poster, i, amounts)
    for i, wanted in zip(acquirers, wants):
        model.peer(f"acquirer{i}", acquirer, i, wanted)
    for i in range(first_reaper, first_reaper + reapers):
        model.peer(f"reaper{i}", reaper, i, killable=i < first_reaper + reapers - 1)     # somebody is left who reaps

    def invariant(state):
        return "more units than the bound" if state[units] > bound else None

    def good_end(state):
        if not all(model.finished(state, i) or model.dead(state, i) for i in posters):
            return False
        for i, wanted in zip(acquirers, wants):
            if model.finished(state, i) or model.dead(state, i):
                continue
            if not events.sleeps(state, i) or state[units] >= wanted:
                return False
        return lives.nobody_left_to_reap(state, range(first_reaper))

    model.invariant, model.good_end = invariant, good_end
    return model


def case(name, permits, wants, expected="ok", quick=True, **options):
    return Case("semaphore: " + name, lambda: semaphore(permits, wants, **options), expected, quick)


def units(name, posts, wants, expected="ok", quick=True, **options):
    return Case("semaphore: units: " + name, lambda: counting(posts, wants, **options), expected, quick)


CASES = [
    case("1 permit, 2 holders, twice", 1, [1, 1], repeats=2),
    case("1 permit, 3 holders", 1, [1, 1, 1]),
    case("2 permits, 3 holders", 2, [1, 1, 1], quick=False),
    case("1 permit, 2 holders, 1 kill", 1, [1, 1], kills=1, reapers=1),
    case("1 permit, 3 holders, 1 kill", 1, [1, 1, 1], kills=1, reapers=1, quick=False),
    case("1 permit, 2 holders, 2 kills, 2 reapers", 1, [1, 1], kills=2, reapers=2),
    case("2 permits, 3 holders, 2 kills, 2 reapers", 2, [1, 1, 1], kills=2, reapers=2, quick=False),
    case("2 permits, 2 holders of both, 2 kills, 2 reapers", 2, [2, 2], kills=2, reapers=2, epochs=8, quick=False),
    case("2 permits, 4 holders, the last two together", 2, [1, 1, 1, 1], together=(2, 3)),
    case("2 permits, 2 holders of both", 2, [2, 2], epochs=8),
    case("2 permits, holders of 2 and 1, 1 kill", 2, [2, 1], kills=1, reapers=1, epochs=8),
    case("2 permits, holders of 2, 1, 1", 2, [2, 1, 1], epochs=8),
    case("2 permits, holders of 2, 1, 1, 1 kill", 2, [2, 1, 1], kills=1, reapers=1, epochs=8, quick=False),
    case("2 permits, holders of 2, 1, 1, of 2 may time out", 2, [2, 1, 1], may_time_out=(0,), epochs=8),
    case("2 permits, one held until the holder of both sleeps", 2, [1, 2], patient=(0,), epochs=8),
    case("the same, taking without looking first", 2, [1, 2], "stuck", patient=(0,), epochs=8, count_first=False),
    case("a shared count", 1, [1, 1], "stuck", kills=1, reapers=1, owner_words=False),
    case("no wake by the reaper", 1, [1, 1], "stuck", kills=1, reapers=1, reaper_wakes=False),
    case("roll-back tells nobody", 2, [2, 2], "stuck", roll_back_tells=NOBODY, epochs=8),
    case("roll-back tells only those who want several", 2, [2, 1, 1], "stuck", roll_back_tells=ONLY_MANY,
         together=(1, 2), epochs=8),
    case("a release of one tells only those who want one", 2, [1, 2], "stuck", one_tells_many=False, epochs=8),
    case("no baton", 2, [1, 1, 1, 1], "stuck", baton=False, together=(2, 3)),
    units("posts of 2 and 1, wants of 1, 1, 1", [(2,), (1,)], [1, 1, 1], quick=False),
    units("posts of 1, 1 and 1, wants of 1 and 2", [(1, 1), (1,)], [1, 2]),
    units("posts of 1, 1 and 2, wants of 1 and 3", [(1, 1), (2,)], [1, 3]),
    units("posts of 2 and 1, wants of 2, 1, one may time out", [(2,), (1,)], [1, 2, 1], may_time_out=(2,), quick=False),
    units("posts of 1, 1, 1, bound 2, wants of 1, twice, and 2", [(1, 1), (1,)], [1, 2], bound=2, repeats=2, quick=False),
    units("posts of 1, 1 and 1, bound 2, wants of 1 and 1", [(1, 1), (1,)], [1, 1], bound=2),
    units("posts of 2 and 1, wants of 1 and 1, 1 kill", [(2,), (1,)], [1, 1], kills=1, reapers=1, quick=False),
    units("posts of 1 and 1, wants of 1 and 1, 1 kill", [(1, 1)], [1, 1], kills=1, reapers=1),
    units("posts of 1 and 1, wants of 1 and 2, 1 kill", [(1, 1)], [1, 2], kills=1, reapers=1),
    units("posts of 1 and 1, wants of 1 and 1, 2 kills, 2 reapers", [(1, 1)], [1, 1], kills=2, reapers=2, quick=False),
    units("no baton", [(1,), (1,)], [1, 1], "stuck", baton=False),
    units("a post of one tells only those who want one", [(1, 1)], [2], "stuck", one_tells_many=False),
    units("one of those who want several is woken", [(1, 1)], [2, 3], "stuck", many_are_woken=WAKE_ONE),
    units("a lost exchange is taken for too few", [], [1, 1, 1], "stuck", start=3, tries_again=False),
    units("no bound", [(1, 1), (1,)], [1], "violation", bound=2, heeds_bound=False),
    units("no wake by the reaper", [(1,)], [1, 1], "stuck", kills=1, reapers=1, reaper_wakes=False),
]

if __name__ == "__main__":
    main(CASES)
