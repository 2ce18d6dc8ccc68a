"""The event count: sleeping on a shared futex and being woken.

What is modelled. One word (epoch, W) with the kernel's queue of sleepers; posts, which put
one unit into a counter and notify; waiters, which want some units and sleep while there are
too few. A notifier that sees W unset makes no system call; else it moves the epoch, clears W
and wakes one sleeper, or all. A waiter sets W, looks again, and sleeps if the word is still
the one it saw. A woken waiter sets W again, because others may sleep too, and then looks.
One that has slept and then succeeded looks whether more is there, and notifies one: the
baton, for posts that saw W unset between the wake and the re-arming. Where waiters of one
word want different amounts, all are woken. A waiter with a timeout may give up at any time: it
looks once more and leaves; a cancelled one may not even take, and passes its wake on. Kills
fall before every step; a reaper moves the epoch, with W set, and wakes everybody, whoever it was
that died.

A good end. All posts are done, the dead are reaped, and whoever still sleeps wants more than
there is.

Expected to fail, and why. Without the baton, a post that falls between a wake and the
re-arming is seen by nobody. The same without re-arming. A cancelled waiter that just leaves
takes somebody else's wake with it. Clearing W when a wake found nobody hits a waiter that is
about to sleep (no crash needed). Waking one where wants differ wakes the wrong one. Without
the reaper's wake, a notifier killed between clearing W and waking, or a woken waiter killed
before it looked, leaves others asleep. A reaper that clears W and is killed before its wake
leaves sleepers whom no later post sees, until one more reaper comes. One that does not move
the epoch misses whoever looked before the dead notifier's post and is about to sleep.
"""

from explore import Case, Lives, Model, act, cas, choose, load, main

WAKE_ONE, WAKE_ALL = 1, 1000
UNTIL_SERVED, MAY_TIME_OUT = "until served", "may time out"
CANCEL_PASSES_ON, CANCEL_JUST_LEAVES = "cancelled passes on", "cancelled just leaves"


class EventCount:
    """The word, the kernel's queue, and the generators that waiters and notifiers are made of.
    Where notifications may go on for ever, few `epochs` keep the exploration finite."""

    def __init__(self, model, rearm=True, clear_when_nobody=False, reaper_clears=False,
                 reaper_moves_epoch=True, epochs=1 << 31):
        self.word = model.cell("word", (0, False))
        self.sleepers = model.cell("sleepers", ())
        self._rearm, self._clear_when_nobody = rearm, clear_when_nobody
        self._reaper_clears, self._reaper_moves_epoch = reaper_clears, reaper_moves_epoch
        self._epochs = epochs

    # -- the kernel

    def _futex_wait(self, state, me, expected):
        if state[self.word] != expected:
            return [("changed", ())]
        return [("asleep", ((self.sleepers, tuple(sorted(state[self.sleepers] + (me,)))),))]

    def _sleep(self, state, me, may_give_up):
        if me not in state[self.sleepers]:
            return [("woken", ())]
        rest = tuple(p for p in state[self.sleepers] if p != me)
        return [("timed out", ((self.sleepers, rest),))] if may_give_up else []

    def _wake(self, state, limit):
        """Result: how many. Which one is woken is the kernel's choice."""
        sleepers = state[self.sleepers]
        if len(sleepers) <= limit:
            return [(len(sleepers), ((self.sleepers, ()),))]
        return [(1, ((self.sleepers, tuple(p for p in sleepers if p != woken)),)) for woken in sleepers]

    def forget(self, memory, process):
        memory[self.sleepers] = tuple(p for p in memory[self.sleepers] if p != process)

    # -- the protocol

    def notify(self, limit):
        while True:
            seen = yield load(self.word)
            if not seen[1]:
                return
            following = ((seen[0] + 1) % self._epochs, self._clear_when_nobody)
            if (yield cas(self.word, seen, following)):
                break
        woken = yield act(self._wake, limit)
        if self._clear_when_nobody and woken == 0:
            yield cas(self.word, following, (following[0], False))

    def arm(self):
        """Sets W; result: the word to sleep on."""
        while True:
            seen = yield load(self.word)
            if seen[1]:
                return seen
            if (yield cas(self.word, seen, (seen[0], True))):
                return (seen[0], True)

    def _set_waiting(self, state):
        return [(None, ((self.word, (state[self.word][0], True)),))]

    def sleep(self, me, word, may_give_up=False):
        """Result: "changed", "woken" (and armed again) or "timed out"."""
        outcome = yield act(self._futex_wait, me, word)
        if outcome == "changed":
            return outcome
        outcome = yield act(self._sleep, me, may_give_up)
        if outcome == "woken" and self._rearm:
            yield act(self._set_waiting)                              # fetch_or
        return outcome

    def _move_epoch(self, state):
        return [(None, ((self.word, ((state[self.word][0] + 1) % self._epochs, not self._reaper_clears)),))]

    def wake_everybody(self):
        """A reaper's: it cannot know whether W is right, and may be killed before it wakes."""
        if self._reaper_moves_epoch:
            yield act(self._move_epoch)
        yield act(self._wake, WAKE_ALL)


def posts_and_waiters(posts, wants, kills=0, reapers=0, wake=WAKE_ONE, leaving=UNTIL_SERVED, baton=True,
                      reaper_wakes=True, repeats=1, **options):
    """`posts[i]` is how many units notifier i posts, one after the other; `wants[i]` how many
    waiter i wants at once, `repeats` times."""
    model = Model(kills)
    notifiers, first_reaper = len(posts), len(posts) + len(wants)
    waiter_ids = range(notifiers, first_reaper)
    lives = Lives(model, range(first_reaper + reapers))
    available = model.cell("available", 0)
    event = EventCount(model, **options)

    def on_kill(memory, process):
        lives.on_kill(memory, process)
        event.forget(memory, process)

    model.on_kill = on_kill

    def post(state):
        return [(None, ((available, state[available] + 1),))]

    def take(state, amount):
        if state[available] < amount:
            return [(False, ())]
        return [(True, ((available, state[available] - amount),))]

    def notifier(units):
        for _unit in range(units):
            yield act(post)
            yield from event.notify(wake)

    def wait_for(me, amount):
        slept = False
        while True:
            if (yield act(take, amount)):
                break
            armed = yield from event.arm()
            if (yield act(take, amount)):
                break
            outcome = yield from event.sleep(me, armed, leaving == MAY_TIME_OUT)
            if outcome != "changed":
                slept = True
            if outcome == "timed out":
                if (yield act(take, amount)):
                    break
                return
            if outcome == "woken" and leaving in (CANCEL_PASSES_ON, CANCEL_JUST_LEAVES):
                if (yield choose("go on", "cancelled")) == "cancelled":
                    if leaving == CANCEL_PASSES_ON and (yield load(available)) > 0:
                        yield from event.notify(wake)
                    return
        if baton and slept and (yield load(available)) > 0:
            yield from event.notify(wake)

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
        model.peer(f"notifier{i}", notifier, units)
    for i, amount in zip(waiter_ids, wants):
        model.peer(f"waiter{i}", waiter, i, amount)
    for i in range(first_reaper, first_reaper + reapers):
        model.peer(f"reaper{i}", reaper, i)

    def good_end(state):
        for i in range(notifiers):
            if not (model.finished(state, i) or model.dead(state, i)):
                return False
        for i, amount in zip(waiter_ids, wants):
            if model.finished(state, i) or model.dead(state, i):
                continue
            if i not in state[event.sleepers] or state[available] >= amount:
                return False
        return lives.nobody_left_to_reap(state, range(first_reaper))

    model.good_end = good_end
    return model


def case(name, posts, wants, expected="ok", quick=True, **options):
    return Case("eventcount: " + name, lambda: posts_and_waiters(posts, wants, **options), expected, quick)


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
    case("the reaper clears W, 2 kills, 2 reapers", [1], [1], "stuck", kills=2, reapers=2, reaper_clears=True),
    case("the reaper does not move the epoch, 1 kill", [1], [1], "stuck", kills=1, reapers=1, reaper_moves_epoch=False),
    case("no wake by the reaper, 1 kill", [1, 1], [1, 1], "stuck", kills=1, reapers=1, reaper_wakes=False),
]

if __name__ == "__main__":
    main(CASES)
