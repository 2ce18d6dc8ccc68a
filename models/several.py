"""Waiting for one of several things: Select, a sleeper on two words.

What is modelled. Two event counts (`eventcount.py`), each with a counter of units; posts to either; threads that wait for
a unit of one of them in the ordinary way; and a selector, which waits until either has one. It sets W in both words, looks at
both, and sleeps on both: the kernel queues it on one word after the other, comparing each, and wakes it when any of them
is woken. Until it has run again it is in the queue of the other, and takes a second wake-up with it. So after a sleep it
sets W in all words again, and if it then finds something, it passes the baton for each word that has something, the one that it
names included: it takes nothing itself. Its user takes a unit of what was named, or waits again if somebody else was faster.

With store buffers (see there) the first sleep is short, unless one with these very words has passed undisturbed.

A good end. All posts are done and in memory, and whoever still waits does so for what there is none of.

Expected to fail, and why. A selector that passes the baton for the named word only leaves somebody asleep beside a unit of the other, whose wake-up it
took along. One that sets W again only in the word that woke it is not seen by the posts to the other. A
first sleep that is long misses a post.
"""

from eventcount import LONG, MAY_TIME_OUT, OUTLASTS_STORES, UNTIL_SERVED, WAKE_ONE, EventCount, StoreBuffers
from explore import Case, Model, act, load, main

EACH, NAMED, NONE = "each", "the named one", "none"                  # for which words the selector passes the baton
ALL, WOKEN_BY = "all", "what woke it"                                # which words it arms after a sleep


class Selector:
    """Sleeps on two words."""

    def __init__(self, me, events, available, stores, passes=EACH, arms=ALL, first_sleep=OUTLASTS_STORES):
        self._me, self._events, self._available, self._stores = me, events, available, stores
        self._passes, self._arms = passes, arms
        self._first_sleep = first_sleep if stores else LONG

    def _look(self, state):
        """Result: the number of one that has something. Which is looked at first changes from time to time."""
        return [(i, ()) for i in (0, 1) if state[self._available[i]]] or [(None, ())]

    def _without_me(self, state, i):
        cell = self._events[i].sleepers
        return (cell, tuple(p for p in state[cell] if p != self._me))

    def _queue(self, state, i, expected, short):
        event = self._events[i]
        if state[event.word] == expected:
            clock = self._stores.begin_short_sleep(state, self._me) if short else ()
            return [("asleep", clock + ((event.sleepers, tuple(sorted(state[event.sleepers] + (self._me,)))),))]
        # The first one's queue is left again; the kernel tells of a wake-up that came in between.
        was_woken = i == 1 and self._me not in state[self._events[0].sleepers]
        end = self._stores.end_sleep(self._me) if self._stores else ()
        return [("woken by 0" if was_woken else "changed", end + tuple(self._without_me(state, j) for j in range(i)))]

    def _sleep(self, state, short, may_give_up):
        end = tuple(self._without_me(state, i) for i in (0, 1))
        if self._stores:
            end += self._stores.end_sleep(self._me)
        woken = [(f"woken by {i}", end) for i in (0, 1) if self._me not in state[self._events[i].sleepers]]
        outcomes = []
        if short and self._stores.have_drained(state, self._me):
            outcomes.append(("over", end))
        if may_give_up:
            outcomes.append(("timed out", end))
        return woken or outcomes

    def wait(self, may_give_up):
        """Result: the number of one that had something, or None when the time is up."""
        words = (None, None)
        settled = None
        slept = False
        arms = (0, 1)
        timed_out = False
        while True:
            if 0 in arms:
                first = yield from self._events[0].arm()
                words = (first, words[1])
            if 1 in arms:
                second = yield from self._events[1].arm()
                words = (words[0], second)
            found = yield act(self._look)
            if found is not None:
                for i in range(2):
                    if slept and self._passes != NONE and (self._passes == EACH or i == found):
                        if (yield load(self._available[i])) > 0:
                            yield from self._events[i].notify(WAKE_ONE, self._me)
                return found
            if timed_out:
                return None
            short = self._first_sleep != LONG and settled != words
            outcome = yield act(self._queue, 0, words[0], short)
            if outcome == "asleep":
                outcome = yield act(self._queue, 1, words[1], short)
            if outcome == "asleep":
                outcome = yield act(self._sleep, short, may_give_up)
            arms = (0, 1)
            if outcome == "over":
                settled = words
            elif outcome == "timed out":
                timed_out = True
            elif outcome != "changed":
                slept = True
                if self._arms == WOKEN_BY:
                    arms = (0,) if outcome == "woken by 0" else (1,)


def selector_and_threads(posts, threads, units=1, leaving=UNTIL_SERVED, buffered=False, **options):
    """`posts[i]` is to which of the two notifier i posts a unit; `threads[i]` for a unit of which thread i waits. The selector's user
    wants so many `units`, of either kind."""
    model = Model()
    notifiers = len(posts)
    selector_id = notifiers
    thread_ids = range(notifiers + 1, notifiers + 1 + len(threads))
    available = model.cells("available", [0, 0])
    stores = None
    if buffered:
        stores = StoreBuffers(model, [available[which] for which in posts], [selector_id, *thread_ids])
    events = [EventCount(model, stores=stores, name=f"{i}'s ") for i in (0, 1)]
    selector = Selector(selector_id, events, available, stores, **options)

    def post(state, me, which):
        if buffered:
            return stores.post(state, me)
        return [(None, ((available[which], state[available[which]] + 1),))]

    def take(state, which):
        units = state[available[which]]
        return [(True, ((available[which], units - 1),))] if units else [(False, ())]

    def notifier(me, which):
        yield act(post, me, which)
        yield from events[which].notify(WAKE_ONE, me)

    def user():
        left = units
        while left:
            named = yield from selector.wait(leaving == MAY_TIME_OUT)
            if named is None:
                return
            if (yield act(take, named)):
                left -= 1

    def thread(me, which):
        was_woken = False
        settled = None
        while True:
            if (yield act(take, which)):
                break
            armed = yield from events[which].arm()
            if (yield act(take, which)):
                break
            outcome = yield from events[which].sleep(me, armed, settled)
            if outcome == "woken":
                was_woken = True
            elif outcome == "over":
                settled = armed
        if was_woken and (yield load(available[which])) > 0:
            yield from events[which].notify(WAKE_ONE, me)

    for i, which in enumerate(posts):
        model.peer(f"notifier{i} of {which}", notifier, i, which)
    selects = model.peer("selector", user)
    thread_peers = [model.peer(f"thread{i} of {which}", thread, i, which) for i, which in zip(thread_ids, threads)]
    if buffered:
        for i in range(notifiers):
            model.peer(f"core of notifier{i}", stores.core, i, killable=False)

    def good_end(state):
        if not all(model.finished(state, i) for i in range(notifiers)):
            return False
        if buffered and not all(stores.is_empty(state, i) for i in range(notifiers)):
            return False
        if not model.finished(state, selects) and any(state[cell] for cell in available):
            return False
        return all(model.finished(state, peer) or not state[available[which]] for peer, which in zip(thread_peers, threads))

    model.good_end = good_end
    return model


def case(name, posts, threads, expected="ok", quick=True, **options):
    return Case("several: " + name, lambda: selector_and_threads(posts, threads, **options), expected, quick)


def buffered(name, posts, threads, expected="ok", quick=True, **options):
    return case("stores: " + name, posts, threads, expected, quick, buffered=True, **options)


A, B = 0, 1

CASES = [
    case("posts to both, a thread on one", [A, B], [B]),
    case("2 posts to one, a thread on it", [A, A], [A]),
    case("posts to both, a thread on each", [A, B], [A, B]),
    case("2 posts to one, 1 to the other, a thread on each", [A, A, B], [A, B], quick=False),
    case("posts to both, 2 units wanted, a thread on one", [A, B, B], [B], units=2, quick=False),
    case("posts to both, it may time out, a thread on each", [A, B], [A, B], leaving=MAY_TIME_OUT),
    case("no baton for what it does not name", [A, B], [B], "stuck", passes=NAMED),
    case("no baton", [A, A], [A], "stuck", passes=NONE),
    case("only the word that woke it is armed again", [A, B], [A], "stuck", arms=WOKEN_BY),
    buffered("posts to both", [A, B], []),
    buffered("2 posts to one, a thread on it", [A, A], [A]),
    buffered("posts to both, a thread on one", [A, B], [B]),
    buffered("posts to both, a thread on each", [A, B], [A, B], quick=False),
    buffered("no short sleep first", [A], [], "stuck", first_sleep=LONG),
    buffered("no baton for what it does not name", [A, B], [B], "stuck", passes=NAMED),
]

if __name__ == "__main__":
    main(CASES)
