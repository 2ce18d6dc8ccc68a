"""Futures: the thread that sleeps for them, and the calls that it makes.

What is modelled. A process with futures and the one thread, the watcher, that sleeps for them; threads of another process that
wait in the ordinary way; one event count (`eventcount.py`, with and without store buffers) with a counter, whose units all of them
want. A future that is polled tries, sets W, tries again, and lists itself with the word as it was (under the list's lock, one step
here). Then it is polled when its waker was called, or, now and then, for another reason; it may be dropped at any time between polls. The
list has a spot for an event count: the word with which it is armed, a clock, and who waits. A future that comes with another word
renews the spot and its clock, and rings the bell if the watcher sleeps. The watcher sleeps on the word as listed, and on the bell. Under the
lock, if the word is not as listed: it sets W, lists the word anew, starts the clock, takes one future off the list and then calls it. If it is as listed
and the clock has run for as long as a short sleep takes: it stops the clock and calls one too, for the late look. Else it sleeps again. Where those who wait
want different amounts, it calls all, and so does who comes with another word.

A future that was called and succeeds passes the baton, which reaches the watcher again. One that is dropped looks, and passes on what it sees: it
may have been called, even while it was on its way to the list. (It had looked before the call, so being on the list afterwards means nothing.)
A spot whose last future is gone stays until the watcher has seen it: a wake-up that the watcher has consumed for nobody is passed on, W first, like that
of a thread which gives up. A future that lists itself again with the same word settles the spot, and stops its clock, if it looked as long
after it listed itself as a short sleep takes: the time is what it was *before* that look.

A good end. All posts are done and in memory, the dead are reaped, and whoever still waits, future or thread, wants more than there is.

Expected to fail, and why. *An empty spot goes at once*: the watcher is woken, its future is dropped or takes its unit in a poll of its own accord before the watcher
has the lock, and the watcher finds nobody to call; a thread elsewhere sleeps beside the unit. *Only who was called looks when it is dropped*: the late look of a spot is due, for which
a future is called that has just looked, in vain, and now lists itself and is dropped; the others wait for ever. *How late is asked on listing*: the look was in vain, the
store comes to memory, and a future that was held up on its way settles the spot. *The baton where all are called* wakes one, and
leaves CALLED: a post that meets it leaves everything to that one, which wants more than there is. As for threads: without W before the call, the baton, the late look, or if who is
dropped just leaves. Without the bell, the watcher does not hear of the first future at all.

Not expected to fail: a new word that does not renew the spot. The watcher finds the word changed, and calls somebody needlessly.
"""

from eventcount import WAKE_ALL, WAKE_ONE, EventCount, StoreBuffers, W
from explore import Case, Lives, Model, act, load, main, store

BEFORE_LOOKING, ON_LISTING = "before it looks", "when it lists itself"       # when a future asks how late it is
ALWAYS, IF_CALLED, NEVER = "always", "if it was called", "never"             # whether a future that leaves looks once more
SPOT = "spot"


class Watcher:
    """The list with its lock, the bell, and the generators that futures and their thread are made of. There is one event
    count, so one spot at most: None, or (word, whether its clock runs, who waits)."""

    def __init__(self, model, event, stores, me, futures, for_all, sets_w=True, late_look=True, asks=BEFORE_LOOKING,
                 empty_spot_passes=True, dropped_look=ALWAYS, baton=True,
                 enter_renews=True, enter_rings=True, enter_calls=True, passes_to_one_of_all=False):
        self.event, self._stores, self._me, self._for_all = event, stores, me, for_all
        self._sets_w, self._late_look, self._asks = sets_w, late_look, asks
        self._empty_spot_passes, self._dropped_look, self._baton = empty_spot_passes, dropped_look, baton
        self._enter_renews, self._enter_rings, self._enter_calls = enter_renews, enter_rings, enter_calls
        self._passes = not for_all or passes_to_one_of_all
        self.spot = model.cell("spot", None)
        self.is_asleep = model.cell("is asleep", False)
        self.bell = model.cell("bell", False)
        self.called = dict(zip(futures, model.cells("called", [False] * len(futures))))

    # -- time

    def _begin(self, state, clock):
        return self._stores.begin_short_sleep(state, clock) if self._stores else ()

    def _is_late(self, state, clock):
        return self._stores is not None and self._stores.have_drained(state, clock)

    # -- under the lock

    def _ring(self, state):
        return ((self.is_asleep, False), (self.bell, True)) if state[self.is_asleep] else ()

    def _enter(self, state, future, word, before, was_late):
        """Result: whom to call (where all are called)."""
        spot = state[self.spot]
        clock = ()
        if before != word:
            clock = self._begin(state, future)
            settled = (False,)
        elif self._asks == BEFORE_LOOKING:
            settled = (was_late,)
        else:
            settled = (False, True) if self._is_late(state, future) else (False,)
        is_new = spot is None
        old_word, runs, waiting = (None, False, ()) if is_new else spot
        is_changed = is_new or (old_word != word and self._enter_renews)
        called = ()
        if is_changed:
            if self._for_all and self._enter_calls:
                called = tuple(other for other in waiting if other != future)
                waiting = tuple(other for other in waiting if other == future)
            old_word, runs = word, self._stores is not None and self._late_look
            clock += self._begin(state, SPOT)
            if self._enter_rings:
                clock += self._ring(state)
        if future not in waiting:
            waiting += (future,)
        return [(called, clock + ((self.spot, (old_word, runs and not is_settled, waiting)),)) for is_settled in settled]

    def _leave(self, state, future):
        """Result: whether it was on the list."""
        if state[self.spot] is None:
            return [(False, ())]
        word, runs, waiting = state[self.spot]
        left = tuple(other for other in waiting if other != future)
        if left:
            return [(left != waiting, ((self.spot, (word, runs, left)),))]
        kept = (word, runs, ()) if self._empty_spot_passes else None
        return [(left != waiting, self._ring(state) + ((self.spot, kept),))]

    def _look(self, state):
        """Result: (whom to call, whether to pass on, what to sleep on, whether for a short time). The last two only if
        there is nobody to call and nothing to pass on."""
        word = state[self.event.word]
        spot = state[self.spot]
        outcomes = []
        if spot is not None and spot[0] != word:
            armed = (word[0], W) if self._sets_w else word
            changes = ((self.event.word, armed),)
            if not spot[2]:
                return [(((), True, None, False), changes + ((self.spot, None),))]
            called, left = self._split(spot[2])
            following = (armed, self._stores is not None and self._late_look, left) if left else None
            changes += self._begin(state, SPOT)
            return [((called, False, None, False), changes + ((self.spot, following),))]
        if spot is not None and not spot[2]:
            spot = None
        if spot is not None and spot[1] and self._is_late(state, SPOT):
            called, left = self._split(spot[2])
            outcomes.append(((called, False, None, False), ((self.spot, (word, False, left) if left else None),)))
        changes = ((self.spot, spot), (self.is_asleep, True), (self.bell, False))
        outcomes.append((((), False, None if spot is None else spot[0], spot is not None and spot[1]), changes))
        return outcomes

    def _split(self, waiting):
        return (waiting, ()) if self._for_all else (waiting[:1], waiting[1:])

    # -- the kernel, which takes several words

    def _go_to_sleep(self, state, word):
        if state[self.bell] or (word is not None and state[self.event.word] != word):
            return [(False, ())]
        if word is None:
            return [(True, ())]
        return [(True, ((self.event.sleepers, tuple(sorted(state[self.event.sleepers] + (self._me,)))),))]

    def _sleep(self, state, word, short):
        sleepers = state[self.event.sleepers]
        is_woken = word is not None and self._me not in sleepers
        if is_woken or state[self.bell] or (short and self._is_late(state, SPOT)):
            return [(None, ((self.event.sleepers, tuple(p for p in sleepers if p != self._me)),))]
        return []

    # -- the thread

    def _call(self, state, futures):
        return [(None, tuple((self.called[future], True) for future in futures))]

    def run(self, available):
        while True:
            called, passes_on, word, short = yield act(self._look)
            if called:
                yield act(self._call, called)
                continue
            if passes_on:
                if self._passes and (yield load(available)) > 0:
                    yield from self.event.notify(WAKE_ONE, self._me)
                continue
            if (yield act(self._go_to_sleep, word)):
                yield act(self._sleep, word, short)
            yield store(self.is_asleep, False)

    # -- a future

    def _ask(self, state, future):
        return [(late, ()) for late in ((False, True) if self._is_late(state, future) else (False,))]

    def leave(self, future, available, looks):
        was_listed = yield act(self._leave, future)
        if looks == NEVER or (looks == IF_CALLED and was_listed) or not self._passes:
            return
        if (yield load(available)) > 0:
            yield from self.event.notify(WAKE_ONE, self._me)

    def _pending(self, state, future, may_be_dropped, spurious):
        outcomes = []
        if state[self.called[future]]:
            outcomes.append(("poll", ((self.called[future], False),)))
        elif state[spurious]:
            outcomes.append(("poll", ((spurious, state[spurious] - 1),)))
        if may_be_dropped:
            outcomes.append(("drop", ()))
        return outcomes

    def wait(self, future, take, available, may_be_dropped, spurious):
        """Until the future is ready, or dropped."""
        before = None
        is_listed = False
        while True:
            if (yield act(take, future)):
                break
            word = yield from self.event.arm()
            was_late = False
            if self._stores and self._asks == BEFORE_LOOKING and before == word:
                was_late = yield act(self._ask, future)
            if (yield act(take, future)):
                break
            others = yield act(self._enter, future, word, before, was_late)
            before = word
            is_listed = True
            if others:
                yield act(self._call, others)
            if (yield act(self._pending, future, may_be_dropped, spurious)) == "drop":
                yield from self.leave(future, available, self._dropped_look)
                return
        if is_listed:
            yield from self.leave(future, available, IF_CALLED if self._baton else NEVER)


def futures_and_threads(posts, futures, threads, dropped=(), spurious=0, wake=WAKE_ONE, kills=0, reapers=0,
                        buffered=False, baton=True, event_options=(), **options):
    """`posts[i]` is how many units notifier i posts, one after the other; `futures[i]` how many future i of the watcher's process
    wants, `threads[i]` how many a thread of another process. The `dropped` futures may be dropped whenever they are not
    being polled; `spurious` polls come without a call."""
    model = Model(kills)
    notifiers = len(posts)
    watcher_id = notifiers
    thread_ids = range(notifiers + 1, notifiers + 1 + len(threads))
    first_reaper = notifiers + 1 + len(threads)
    future_ids = [f"future{i}" for i in range(len(futures))]
    wants = dict(zip(future_ids, futures)) | dict(zip(thread_ids, threads))
    lives = Lives(model, range(first_reaper + reapers))
    available = model.cell("available", 0)
    spurious_left = model.cell("spurious polls left", spurious)
    clocks = [*thread_ids, watcher_id, SPOT, *future_ids]
    stores = StoreBuffers(model, [available] * notifiers, clocks) if buffered else None
    event = EventCount(model, stores=stores, **dict(event_options))
    watcher = Watcher(model, event, stores, watcher_id, future_ids, wake == WAKE_ALL, baton=baton, **options)

    def on_kill(memory, process):
        lives.on_kill(memory, process)
        event.forget(memory, process)

    model.on_kill = on_kill

    def post(state, me):
        if buffered:
            return stores.post(state, me)
        return [(None, ((available, state[available] + 1),))]

    def take(state, who):
        if state[available] < wants[who]:
            return [(False, ())]
        return [(True, ((available, state[available] - wants[who]),))]

    def notifier(me, units):
        for _unit in range(units):
            yield act(post, me)
            yield from event.notify(wake, me)

    def thread(me):
        was_woken = False
        settled = None
        while True:
            if (yield act(take, me)):
                break
            armed = yield from event.arm()
            if (yield act(take, me)):
                break
            outcome = yield from event.sleep(me, armed, settled)
            if outcome == "woken":
                was_woken = True
            elif outcome == "over":
                settled = armed
        if wake == WAKE_ONE and was_woken and (yield load(available)) > 0:
            yield from event.notify(wake, me)

    def reaper(me):
        while True:
            dead = yield lives.try_lock_dead(me)
            yield from event.wake_everybody()
            yield lives.mark_gone(dead)

    for i, units in enumerate(posts):
        model.peer(f"notifier{i}", notifier, i, units)
    future_peers = [model.peer(name, watcher.wait, name, take, available, name in dropped, spurious_left, process=watcher_id)
                    for name in future_ids]
    model.peer("watcher", watcher.run, available, process=watcher_id)
    thread_peers = [model.peer(f"thread{i}", thread, i, process=i) for i in thread_ids]
    for i in range(first_reaper, first_reaper + reapers):
        model.peer(f"reaper{i}", reaper, i, process=i)
    if buffered:
        for i in range(notifiers):
            model.peer(f"core of notifier{i}", stores.core, i, process=1000 + i, killable=False)
    waiters = [(peer, futures[i]) for i, peer in enumerate(future_peers)]
    waiters += [(peer, threads[i]) for i, peer in enumerate(thread_peers)]

    def good_end(state):
        for i in range(notifiers):
            if not (model.finished(state, i) or model.dead(state, i)):
                return False
        if buffered and not all(stores.is_empty(state, i) for i in range(notifiers)):
            return False
        for peer, amount in waiters:
            if not (model.finished(state, peer) or model.dead(state, peer)) and state[available] >= amount:
                return False
        return lives.nobody_left_to_reap(state, range(first_reaper))

    model.good_end = good_end
    return model


def case(name, posts, futures, threads, expected="ok", quick=True, **options):
    return Case("watcher: " + name, lambda: futures_and_threads(posts, futures, threads, **options), expected, quick)


def buffered(name, posts, futures, threads, expected="ok", quick=True, **options):
    return case("stores: " + name, posts, futures, threads, expected, quick, buffered=True, **options)


ANY = ("future0", "future1", "future2")
FIRST = ANY[:1]

CASES = [
    case("2 posts, 1 future, 1 thread", [1, 1], [1], [1]),
    case("2 posts, 1 future, 1 thread, 1 poll without a call", [1, 1], [1], [1], spurious=1, quick=False),
    case("2 posts, 1 future which may be dropped, 1 thread", [1, 1], [1], [1], dropped=ANY),
    case("1 post, 3 futures, 1 may be dropped", [1], [1, 1, 1], [], dropped=FIRST, quick=False),
    case("2 posts, 2 futures, 1 thread", [1, 1], [1, 1], [1], quick=False),
    case("2 posts, 3 futures", [1, 1], [1, 1, 1], [], quick=False),
    case("1 notifier of 2, 2 futures, 1 may be dropped, 1 thread", [2], [1, 1], [1], dropped=FIRST, quick=False),
    case("1 post, 2 futures, 1 may be dropped, 1 thread, 1 poll more", [1], [1, 1], [1], dropped=FIRST, spurious=1, quick=False),
    case("2 posts, 2 futures which may be dropped, 1 poll more", [1, 1], [1, 1], [], dropped=ANY, spurious=1, quick=False),
    case("2 posts, 1 future, 1 thread, 1 kill", [1, 1], [1], [1], kills=1, reapers=1, quick=False),
    case("1 post, 2 futures, 1 thread, 1 kill", [1], [1, 1], [1], kills=1, reapers=1, quick=False),
    case("wake all, 2 posts, futures want 1 and 2, 1 thread", [1, 1], [1, 2], [1], wake=WAKE_ALL, quick=False),
    case("wake all, 2 posts, futures want 1 and 2, 1 may be dropped", [1, 1], [1, 2], [], wake=WAKE_ALL, dropped=FIRST),
    case("wake all, 2 posts, 1 future, threads want 1 and 2", [1, 1], [1], [1, 2], wake=WAKE_ALL, quick=False),
    case("an empty spot goes at once, 1 future dropped", [1], [1], [1], "stuck", dropped=ANY, empty_spot_passes=False),
    case("an empty spot goes at once, 1 poll without a call", [1, 1], [1], [1], "stuck", spurious=1, empty_spot_passes=False),
    case("the watcher does not set W", [1, 1], [1, 1], [], "stuck", sets_w=False),
    case("no baton by a future", [1, 1], [1], [1], "stuck", baton=False),
    case("who is dropped just leaves", [1], [1, 1], [], "stuck", dropped=FIRST, dropped_look=NEVER),
    case("no bell", [1], [1], [], "stuck", enter_rings=False),
    case("a new word does not renew the spot", [1], [1, 1], [1], spurious=1, enter_renews=False, quick=False),
    case("wake all, who comes with a new word does not call the others", [1], [1, 2], [], "stuck", spurious=1, wake=WAKE_ALL,
         enter_calls=False),
    case("wake all, a future's baton wakes one", [1, 1], [1], [1, 2], "stuck", wake=WAKE_ALL, passes_to_one_of_all=True,
         quick=False),
    # no fence for the notifier: store buffers and time
    buffered("1 post, 2 futures", [1], [1, 1], []),
    buffered("2 posts, 1 future", [1, 1], [1], []),
    buffered("1 post, 1 future which may be dropped, 1 thread", [1], [1], [1], dropped=ANY),
    buffered("1 post, 1 future, 1 thread, 1 poll without a call", [1], [1], [1], spurious=1),
    buffered("1 notifier of 2, 1 future, 1 thread", [2], [1], [1]),
    buffered("1 notifier of 2, 2 futures, 1 may be dropped", [2], [1, 1], [], dropped=FIRST, quick=False),
    buffered("1 post, 2 futures, 1 may be dropped, 1 poll more", [1], [1, 1], [], dropped=FIRST, spurious=1, quick=False),
    buffered("no late look", [1], [1], [], "stuck", late_look=False),
    buffered("how late is asked on listing", [1], [1], [], "stuck", spurious=1, asks=ON_LISTING),
    buffered("only who was called looks when it is dropped", [1], [1, 1], [], "stuck", dropped=FIRST, spurious=1,
             dropped_look=IF_CALLED, quick=False),
    buffered("a new word does not renew the spot", [1], [1, 1], [], spurious=1, enter_renews=False, quick=False),
]

if __name__ == "__main__":
    main(CASES)
