"""The event count: sleeping on a shared futex and being woken.

What is modelled. One word (epoch, flag) with the kernel's queue of sleepers; posts, which put
one unit into a counter and notify; waiters, which want some units and sleep while there are
too few. A notifier that sees W unset makes no system call; else it moves the epoch, clears W
and wakes one sleeper, or all. A waiter sets W, looks again, and sleeps if the word is still
the one it saw. A woken waiter sets W again, because others may sleep too, and then looks.
One that was woken and then succeeded looks whether more is there, and notifies one: the
baton, for posts that saw W unset between the wake and the re-arming. Where waiters of one
word want different amounts, all are woken. A waiter with a timeout may give up at any time: it
looks once more and leaves; a cancelled one may not even take, and passes its wake on. Kills
fall before every step; a reaper moves the epoch, with W set, and wakes everybody, whoever it was
that died.

Stores and time. So far a post is seen at once, as a fence between it and the look at the word would have it. The
cases named `stores` are those without that fence. A post stands in its notifier's store buffer and reaches memory
later, in order, even if the notifier is killed; the look at the word is done meanwhile and sees memory as it is. Compare-exchanges
and fences wait until the buffer is empty. A notifier may then miss a W that is set after its look, while
the waiter's look misses the post. Therefore the first sleep with a word is short, and time is one axiom: when that sleep is
over, whatever stood in a buffer when it began has reached memory. If the word is the same, the waiter looks again and
then sleeps as long as it takes. It may: whoever missed W had posted before the short sleep began, which the second look
sees, and whoever comes later finds W.

This is about notifiers that come before a waiter sets W. The baton is for those that come later, between a wake and the
re-arming, and those who already sleep long depend on it. A post that finds W gone may reach memory only after the look that
decides about the baton. So who wakes one leaves CALLED in place of W (and takes it away if there was nobody to be woken), and a
notifier that finds CALLED waits for its store (a fence) and looks at the word again. If CALLED is still there, the re-arming
and the look after it are still to come, and see the post; if W is, the notifier wakes somebody itself. The fence is
paid only while a wake is under way.

A good end. All posts are done and in memory, the dead are reaped, and whoever still sleeps wants more than
there is.

Expected to fail, and why. Without the baton, a post that falls between a wake and the
re-arming is seen by nobody. The same without re-arming. A cancelled waiter that just leaves
takes somebody else's wake with it. Clearing W when a wake found nobody hits a waiter that is
about to sleep (no crash needed). Waking one where wants differ wakes the wrong one, and so
does a baton there, although posts wake all: a post that finds W cleared by the baton leaves everything to the one that the baton wakes. Without
the reaper's wake, a notifier killed between clearing W and waking, or a woken waiter killed
before it looked, leaves others asleep. A reaper that clears W and is killed before its wake
leaves sleepers whom no later post sees, until one more reaper comes. One that does not move
the epoch misses whoever looked before the dead notifier's post and is about to sleep.

With store buffers: a first sleep that is long, or over before the stores have drained, misses a post. Without CALLED,
or if who finds it does not wait for its store, or does not look again, two posts wake one of two sleepers, and the
other sleeps on beside the second.
"""

from explore import Case, Lives, Model, act, cas, choose, load, main

NOBODY, W, CALLED = "", "W", "CALLED"                                # the word's flag
WAKE_ONE, WAKE_ALL = 1, 1000
UNTIL_SERVED, MAY_TIME_OUT = "until served", "may time out"
CANCEL_PASSES_ON, CANCEL_JUST_LEAVES = "cancelled passes on", "cancelled just leaves"
OUTLASTS_STORES, OVER_AT_ANY_TIME, LONG = "outlasts stores", "over at any time", "long"       # a first sleep
FENCE_AND_LOOK, LOOK, FENCE = "fence and look", "look", "fence"      # what who finds CALLED does


class StoreBuffers:
    """What the first peers, the `notifiers`, post reaches a counter later: notifier i's is in `cells[i]`. And how many stores
    of each of them a waiter has to outlast that sleeps for a short time, or any other clock among the `waiters`."""

    def __init__(self, model, cells, waiters):
        notifiers = len(cells)
        self._cells = cells
        self.buffered = model.cells("buffered by", [0] * notifiers)
        self._outlasts = dict(zip(waiters, model.cells("outlasts", [(0,) * notifiers] * len(waiters))))

    def post(self, state, me):
        return [(None, ((self.buffered[me], state[self.buffered[me]] + 1),))]

    def is_empty(self, state, me):
        return me >= len(self.buffered) or state[self.buffered[me]] == 0

    def _drain(self, state, me):
        if self.is_empty(state, me):
            return []
        changes = [(self.buffered[me], state[self.buffered[me]] - 1), (self._cells[me], state[self._cells[me]] + 1)]
        for cell in self._outlasts.values():
            left = state[cell]
            if left[me]:
                changes.append((cell, left[:me] + (left[me] - 1,) + left[me + 1:]))
        return [(None, tuple(changes))]

    def core(self, me):
        """A program: nobody kills it."""
        while True:
            yield act(self._drain, me)

    def begin_short_sleep(self, state, me):
        return ((self._outlasts[me], tuple(state[cell] for cell in self.buffered)),)

    def have_drained(self, state, me):
        return not any(state[self._outlasts[me]])

    def end_sleep(self, me):
        return ((self._outlasts[me], (0,) * len(self.buffered)),)


class EventCount:
    """The word, the kernel's queue, and the generators that waiters and notifiers are made of.
    Where notifications may go on for ever, few `epochs` keep the exploration finite. Short sleeps and CALLED are there
    only with `stores`, which are StoreBuffers."""

    def __init__(self, model, rearm=True, clear_when_nobody=False, reaper_clears=False,
                 reaper_moves_epoch=True, leaves_called=None, on_called=FENCE_AND_LOOK, first_sleep=OUTLASTS_STORES,
                 stores=None, epochs=1 << 31, name=""):
        self.word = model.cell(name + "word", (0, NOBODY))
        self.sleepers = model.cell(name + "sleepers", ())
        self._stores, self._first_sleep = stores, first_sleep if stores else LONG
        self._rearm, self._clear_when_nobody = rearm, clear_when_nobody
        self._reaper_clears, self._reaper_moves_epoch = reaper_clears, reaper_moves_epoch
        self._leaves_called = stores is not None if leaves_called is None else leaves_called
        self._on_called = on_called
        self._epochs = epochs

    # -- the kernel

    def _futex_wait(self, state, me, expected, short):
        if state[self.word] != expected:
            return [("changed", ())]
        asleep = ((self.sleepers, tuple(sorted(state[self.sleepers] + (me,)))),)
        return [("asleep", asleep + (self._stores.begin_short_sleep(state, me) if short else ()))]

    def _sleep(self, state, me, short, may_give_up):
        end = self._stores.end_sleep(me) if short else ()
        if me not in state[self.sleepers]:
            return [("woken", end)]
        end += ((self.sleepers, tuple(p for p in state[self.sleepers] if p != me)),)
        outcomes = [("timed out", end)] if may_give_up else []
        if short and (self._first_sleep == OVER_AT_ANY_TIME or self._stores.have_drained(state, me)):
            outcomes.append(("over", end))
        return outcomes

    def _wake(self, state, limit):
        """Result: how many. Which one is woken is the kernel's choice."""
        sleepers = state[self.sleepers]
        if len(sleepers) <= limit:
            return [(len(sleepers), ((self.sleepers, ()),))]
        return [(1, ((self.sleepers, tuple(p for p in sleepers if p != woken)),)) for woken in sleepers]

    def forget(self, memory, process):
        if process in memory[self.sleepers]:
            memory[self.sleepers] = tuple(p for p in memory[self.sleepers] if p != process)
            if self._stores:
                for cell, value in self._stores.end_sleep(process):
                    memory[cell] = value

    # -- the core

    def _exchange(self, state, me, old, new):
        if self._stores and not self._stores.is_empty(state, me):
            return []
        return [(True, ((self.word, new),))] if state[self.word] == old else [(False, ())]

    def _fence(self, state, me):
        return [] if self._stores and not self._stores.is_empty(state, me) else [(None, ())]

    # -- the protocol

    def notify(self, limit, me=None):
        on_called = self._on_called
        while True:
            seen = yield load(self.word)
            if seen[1] == CALLED and on_called:
                if on_called != LOOK:
                    yield act(self._fence, me)
                if on_called == FENCE:
                    return
                on_called = None                                      # once is enough
                continue
            if seen[1] != W:
                return
            if self._clear_when_nobody:
                flag = W
            else:
                flag = CALLED if self._leaves_called and limit == WAKE_ONE else NOBODY
            following = ((seen[0] + 1) % self._epochs, flag)
            if (yield act(self._exchange, me, seen, following)):
                break
        woken = yield act(self._wake, limit)
        if woken == 0 and following[1] != NOBODY:
            yield act(self._exchange, me, following, (following[0], NOBODY))

    def arm(self):
        """Sets W; result: the word to sleep on."""
        while True:
            seen = yield load(self.word)
            if seen[1] == W:
                return seen
            if (yield cas(self.word, seen, (seen[0], W))):
                return (seen[0], W)

    def _set_waiting(self, state):
        return [(None, ((self.word, (state[self.word][0], W)),))]

    def sleep(self, me, word, settled=None, may_give_up=False):
        """Result: "changed", "woken" (and armed again), "timed out", or "over", which was a short sleep: the word with
        which one has passed is `settled`."""
        short = self._first_sleep != LONG and word != settled
        outcome = yield act(self._futex_wait, me, word, short)
        if outcome == "changed":
            return outcome
        outcome = yield act(self._sleep, me, short, may_give_up)
        if outcome == "woken" and self._rearm:
            yield act(self._set_waiting)
        return outcome

    def _move_epoch(self, state):
        flag = NOBODY if self._reaper_clears else W
        return [(None, ((self.word, ((state[self.word][0] + 1) % self._epochs, flag)),))]

    def wake_everybody(self):
        """A reaper's: it cannot know whether the flag is right, and may be killed before it wakes."""
        if self._reaper_moves_epoch:
            yield act(self._move_epoch)
        yield act(self._wake, WAKE_ALL)


def posts_and_waiters(posts, wants, kills=0, reapers=0, wake=WAKE_ONE, leaving=UNTIL_SERVED, baton=True,
                      baton_wakes=None, reaper_wakes=True, repeats=1, buffered=False, **options):
    """`posts[i]` is how many units notifier i posts, one after the other; `wants[i]` how many
    waiter i wants at once, `repeats` times. The baton wakes as many as a post, unless `baton_wakes` says otherwise."""
    model = Model(kills)
    notifiers, first_reaper = len(posts), len(posts) + len(wants)
    waiter_ids = range(notifiers, first_reaper)
    lives = Lives(model, range(first_reaper + reapers))
    available = model.cell("available", 0)
    stores = StoreBuffers(model, [available] * notifiers, waiter_ids) if buffered else None
    event = EventCount(model, stores=stores, **options)

    def on_kill(memory, process):
        lives.on_kill(memory, process)
        event.forget(memory, process)

    model.on_kill = on_kill

    def post(state, me):
        if buffered:
            return stores.post(state, me)
        return [(None, ((available, state[available] + 1),))]

    def take(state, amount):
        if state[available] < amount:
            return [(False, ())]
        return [(True, ((available, state[available] - amount),))]

    def notifier(me, units):
        for _unit in range(units):
            yield act(post, me)
            yield from event.notify(wake, me)

    def wait_for(me, amount):
        was_woken = False
        settled = None
        while True:
            if (yield act(take, amount)):
                break
            armed = yield from event.arm()
            if (yield act(take, amount)):
                break
            outcome = yield from event.sleep(me, armed, settled, leaving == MAY_TIME_OUT)
            if outcome == "woken":
                was_woken = True
                if leaving in (CANCEL_PASSES_ON, CANCEL_JUST_LEAVES):
                    if (yield choose("go on", "cancelled")) == "cancelled":
                        if leaving == CANCEL_PASSES_ON and (yield load(available)) > 0:
                            yield from event.notify(wake, me)
                        return
                if leaving == MAY_TIME_OUT:
                    outcome = yield choose("woken", "timed out")
            elif outcome == "over":
                settled = armed
            if outcome == "timed out":
                if (yield act(take, amount)):
                    break
                return
        if baton and was_woken and (yield load(available)) > 0:
            yield from event.notify(wake if baton_wakes is None else baton_wakes, me)

    def waiter(me, amount):
        for _time in range(repeats):
            yield from wait_for(me, amount)

    def reaper(me):
        while True:
            dead = yield lives.try_lock_dead(me)
            if reaper_wakes:
                yield from event.wake_everybody()
            yield lives.mark_gone(dead)

    for i, units in enumerate(posts):
        model.peer(f"notifier{i}", notifier, i, units)
    for i, amount in zip(waiter_ids, wants):
        model.peer(f"waiter{i}", waiter, i, amount)
    for i in range(first_reaper, first_reaper + reapers):
        model.peer(f"reaper{i}", reaper, i)
    if buffered:
        for i in range(notifiers):
            model.peer(f"core of notifier{i}", stores.core, i, killable=False)

    def good_end(state):
        for i in range(notifiers):
            if not (model.finished(state, i) or model.dead(state, i)):
                return False
        for i, amount in zip(waiter_ids, wants):
            if model.finished(state, i) or model.dead(state, i):
                continue
            if i not in state[event.sleepers] or state[available] >= amount:
                return False
        if buffered and not all(stores.is_empty(state, i) for i in range(notifiers)):
            return False
        return lives.nobody_left_to_reap(state, range(first_reaper))

    model.good_end = good_end
    return model


def case(name, posts, wants, expected="ok", quick=True, **options):
    return Case("eventcount: " + name, lambda: posts_and_waiters(posts, wants, **options), expected, quick)


def buffered(name, posts, wants, expected="ok", quick=True, **options):
    return case("stores: " + name, posts, wants, expected, quick, buffered=True, **options)


CASES = [
    case("2 posts, 2 waiters", [1, 1], [1, 1]),
    case("3 posts, 3 waiters", [1, 1, 1], [1, 1, 1], quick=False),
    case("2 notifiers of 2, 2 waiters, twice each", [2, 2], [1, 1], repeats=2),
    case("2 posts, 2 waiters, 1 kill", [1, 1], [1, 1], kills=1, reapers=1),
    case("1 notifier of 2, 2 waiters, 2 kills, 2 reapers", [2], [1, 1], kills=2, reapers=2),
    case("2 posts, 2 waiters which may time out, 1 kill", [1, 1], [1, 1], leaving=MAY_TIME_OUT, kills=1, reapers=1),
    case("3 posts, 3 waiters which may time out", [2, 1], [1, 1, 1], leaving=MAY_TIME_OUT, quick=False),
    case("2 posts, 2 waiters, cancelled ones pass on", [1, 1], [1, 1], leaving=CANCEL_PASSES_ON),
    case("3 posts, 3 waiters, cancelled ones pass on", [2, 1], [1, 1, 1], leaving=CANCEL_PASSES_ON, quick=False),
    case("2 posts, wants of 1 and 2, wake all, 1 kill", [1, 1], [1, 2], wake=WAKE_ALL, baton=False,
         kills=1, reapers=1),
    case("2 notifiers of 2, wants of 1, 2, 1, wake all", [2, 2], [1, 2, 1], wake=WAKE_ALL, baton=False, quick=False),
    case("no baton", [1, 1], [1, 1], "stuck", baton=False),
    case("no re-arming", [1, 1], [1, 1], "stuck", rearm=False),
    case("cancelled waiters just leave", [1], [1, 1], "stuck", leaving=CANCEL_JUST_LEAVES),
    case("clear W when the wake found nobody", [1, 1], [1, 1], "stuck", clear_when_nobody=True),
    case("wake one, 1 post, wants of 1 and 2", [1], [1, 2], "stuck"),
    case("2 posts, wants of 1, 2, 1, wake all, baton to all", [1, 1], [1, 2, 1], wake=WAKE_ALL, quick=False),
    case("2 posts, wants of 1, 2, 1, wake all, baton to one", [1, 1], [1, 2, 1], "stuck", wake=WAKE_ALL,
         baton_wakes=WAKE_ONE),
    case("the reaper clears W, 2 kills, 2 reapers", [1], [1], "stuck", kills=2, reapers=2, reaper_clears=True),
    case("the reaper does not move the epoch, 1 kill", [1], [1], "stuck", kills=1, reapers=1, reaper_moves_epoch=False),
    case("no wake by the reaper, 1 kill", [1, 1], [1, 1], "stuck", kills=1, reapers=1, reaper_wakes=False),
    # no fence for the notifier: store buffers and time
    buffered("1 notifier of 2, 1 waiter, twice, 2 kills, 2 reapers", [2], [1], repeats=2, kills=2, reapers=2),
    buffered("2 posts, 2 waiters", [1, 1], [1, 1]),
    buffered("1 notifier of 2, 2 waiters, 1 kill", [2], [1, 1], kills=1, reapers=1),
    buffered("2 posts, 2 waiters, 1 kill", [1, 1], [1, 1], kills=1, reapers=1, quick=False),
    buffered("1 notifier of 2, 2 waiters, 2 kills, 2 reapers", [2], [1, 1], kills=2, reapers=2, quick=False),
    buffered("2 posts, 1 waiter, 2 kills, 2 reapers", [1, 1], [1], kills=2, reapers=2, quick=False),
    buffered("2 posts, 2 waiters which may time out", [1, 1], [1, 1], leaving=MAY_TIME_OUT),
    buffered("2 posts, 2 waiters, cancelled ones pass on", [1, 1], [1, 1], leaving=CANCEL_PASSES_ON),
    buffered("1 notifier of 2, wants of 1 and 2, wake all, 1 kill", [2], [1, 2], wake=WAKE_ALL, baton=False,
             kills=1, reapers=1),
    buffered("2 posts, wants of 1 and 2, wake all", [1, 1], [1, 2], wake=WAKE_ALL, baton=False),
    buffered("2 posts, wants of 1, 2, 1, wake all, baton to one", [1, 1], [1, 2, 1], "stuck", wake=WAKE_ALL,
             baton_wakes=WAKE_ONE, quick=False),
    buffered("no short sleep first", [1], [1], "stuck", first_sleep=LONG),
    buffered("a first sleep that is too short", [1], [1], "stuck", first_sleep=OVER_AT_ANY_TIME),
    buffered("no CALLED", [2], [1, 1], "stuck", leaves_called=False),
    buffered("who finds CALLED does not wait for its store", [2], [1, 1], "stuck", on_called=LOOK),
    buffered("who finds CALLED does not look again", [2], [1, 1], "stuck", on_called=FENCE),
]

if __name__ == "__main__":
    main(CASES)
