"""The mutex: a word that names its owner, and two copies of what it guards.

What is modelled. The word (owner, DIED, CURRENT) and two copies of a value, each of two halves. To lock: a compare-exchange
from nobody to me that keeps the flags; who finds an owner sleeps on the event count `released` (`eventcount.py`, complete,
waking one, without a baton: who was woken has set W again before it tries, so that its own unlocking notifies). The owner
reads the copy that CURRENT names. If it changes the value, it writes the other copy, half by half, and then one store gives
the lock back and names that copy; if it does not (or panics), the store leaves CURRENT as it was. DIED stays in the word
until an owner that was told makes it consistent. Those who may time out try once more and leave. The sweep of a dead owner
stores the word without it, with DIED, CURRENT as it was, and then everybody is woken, whoever it was that died. Kills fall
before every step, on reapers too.

A good end. Everyone living has had the lock as often as it wanted, or its time was up; nobody owns it, the dead are reaped.

Always required. One at a time has the lock. What its owner reads is whole, and is what the last store said: no change is
lost once its store was made, none is seen of which it was not. Who locks is told of a death with the lock if and only if
there was one that nobody has made consistent since.

Expected to fail, and why. Without the reaper's wake sleepers wait for the unlocking of a dead owner; if it wakes only after
the death of an owner, for the notification of one that was killed behind its store. A value written in place, or named
before it is written, is read half-written after a kill. A sweep that flips CURRENT, or clears it, brings back an old value
or a half-written one. One that sweeps without looking whose the lock is lets two in. Who unlocks without DIED that nobody
has made consistent, and a sweep that does not say DIED, leave the next one believing that all is well. If who was woken
tries before it sets W again, its own unlocking does not see that somebody else still sleeps.
"""

from eventcount import WAKE_ONE, EventCount
from explore import Case, Lives, Model, act, choose, fail, load, main, store

NOBODY = "nobody"
OTHER_COPY, IN_PLACE, FLIP_FIRST = "other copy", "in place", "flip first"          # how a change is written
KEEPS, FLIPS, CLEARS = "keeps", "flips", "clears"                                  # what a sweep does to CURRENT
ALWAYS, FOR_OWNERS, NEVER = "always", "for owners", "never"                        # when a reaper wakes


# ---- what the locks have in common --------------------------------------------------------

def event_count(model, name="", **options):
    """One for `wait_until`, which sets W itself after a sleep."""
    return EventCount(model, rearm=False, name=name, **options)


def wait_until(event, me, attempt, *arguments, may_give_up=False, more=None, sets_w_first=True):
    """`EventCount::wait_until`. Result: what `attempt`, a program, gives that is not None; or None, if the time was up and one more
    attempt has failed. With `more`, a program too, the baton is passed."""
    result = yield from attempt(*arguments)
    if result is not None:
        return result
    slept = time_is_up = False
    while True:
        if slept and not sets_w_first:
            result = yield from attempt(*arguments)
            if result is not None:
                break
        armed = yield from event.arm()
        result = yield from attempt(*arguments)
        if result is not None:
            break
        if time_is_up:
            return None
        outcome = yield from event.sleep(me, armed, may_give_up=may_give_up)
        slept = slept or outcome == "woken"
        time_is_up = outcome == "timed out"
        if may_give_up and not time_is_up:
            time_is_up = yield choose(False, True)
    if slept and more is not None:
        is_more = yield from more()
        if is_more:
            yield from event.notify(WAKE_ONE)
    return result


def forgetful(model, lives, events, and_then=None):
    """What the kernel does for the dead: their locks fall, and they sleep nowhere. `and_then(memory, process)` is an onlooker's."""
    def on_kill(memory, process):
        lives.on_kill(memory, process)
        for event in events:
            event.forget(memory, process)
        if and_then is not None:
            and_then(memory, process)

    model.on_kill = on_kill


class Copies:
    """Two copies of a value of two halves, and the number of changes that were made: each change adds one to the value, so this is what
    the value has to be. `told` is what one who locks has to be told: whether somebody died with the lock since it was consistent."""

    def __init__(self, model):
        self.halves = [model.cells(f"copy{copy}", (0, 0)) for copy in (0, 1)]
        self.changes = model.cell("changes", 0)
        self.is_owed = model.cell("a death is to be told", False)

    def read(self, current, died):
        """The value, by one who has the lock, at least for reading, and was told `died`."""
        value = yield load(self.halves[current][0])
        second = yield load(self.halves[current][1])
        complaint = yield act(self._complaint, value, second, died)
        if complaint:
            yield fail(complaint)
        return value

    def _complaint(self, state, first, second, died):
        if first != second:
            return [("the value is torn", ())]
        if first != state[self.changes]:
            return [("a change is lost, or seen that was never made", ())]
        if died != state[self.is_owed]:
            return [("a death is not told" if state[self.is_owed] else "told of a death that was not", ())]
        return [(None, ())]

    def write(self, copy, value):
        yield store(self.halves[copy][0], value)
        yield store(self.halves[copy][1], value)

    def committed(self, state, is_changed, died):
        """What an onlooker notes with the store that gives the lock back."""
        notes = ((self.changes, state[self.changes] + 1),) if is_changed else ()
        return notes if died else notes + ((self.is_owed, False),)


# ---- the mutex ---------------------------------------------------------------------------

def mutex(wants, kills=0, reapers=0, may_time_out=(), writes=OTHER_COPY, sweep_current=KEEPS, sweep_tells=True,
          sweep_looks=True, reaper_wakes=ALWAYS, unlock_keeps_died=True, sets_w_first=True):
    """`wants[i]` is how often locker i wants the lock."""
    model = Model(kills)
    lockers = len(wants)
    lives = Lives(model, range(lockers + reapers))
    word = model.cell("word", (NOBODY, False, 0))                    # owner, DIED, CURRENT
    copies = Copies(model)
    has_it = model.cell("has it", NOBODY)                            # an onlooker's note
    released = event_count(model)

    def note_death(memory, process):
        if memory[word][0] == process:
            memory[copies.is_owed] = True
        if memory[has_it] == process:
            memory[has_it] = NOBODY

    forgetful(model, lives, [released], note_death)

    # -- the protocol

    def exchange(state, seen, me):
        if state[word] != seen:
            return [(None, ())]
        if state[has_it] != NOBODY:
            return [("two have the lock", ())]
        return [("taken", ((word, (me,) + seen[1:]), (has_it, me)))]

    def take(me):
        """Result: the word as it was, or None."""
        seen = yield load(word)
        if seen[0] != NOBODY:
            return None
        outcome = yield act(exchange, seen, me)
        if outcome is None:
            return None
        if outcome != "taken":
            yield fail(outcome)
        return seen

    def give_back(state, died, current, is_changed, made_consistent):
        notes = copies.committed(state, is_changed, state[copies.is_owed] and not made_consistent)
        return [(None, ((word, (NOBODY, died, current)), (has_it, NOBODY)) + notes)]

    def lock(me):
        taken = yield from wait_until(released, me, take, me, may_give_up=me in may_time_out, sets_w_first=sets_w_first)
        return taken

    def work(me, died, current):
        """With the lock, until it is given back."""
        value = yield from copies.read(current, died)
        makes_consistent = died
        if died:
            makes_consistent = yield choose(True, False)
        changes = yield choose(True, False)
        if changes:
            if writes == IN_PLACE:
                yield from copies.write(current, value + 1)
            else:
                current = 1 - current
                if writes == FLIP_FIRST:
                    yield store(word, (me, died, current))
                yield from copies.write(current, value + 1)
        died = died and not makes_consistent and unlock_keeps_died
        yield act(give_back, died, current, changes, makes_consistent)

    def locker(me, times):
        for _time in range(times):
            taken = yield from lock(me)
            if taken is not None:
                yield from work(me, taken[1], taken[2])
                yield from released.notify(WAKE_ONE)

    def sweep(dead):
        """Result: whether the dead one had the lock."""
        seen = yield load(word)
        if seen[0] != dead and sweep_looks:
            return False
        current = {KEEPS: seen[2], FLIPS: 1 - seen[2], CLEARS: 0}[sweep_current]
        yield store(word, (NOBODY, sweep_tells, current))
        return True

    def reaper(me):
        while True:
            dead = yield lives.try_lock_dead(me)
            was_owner = yield from sweep(dead)
            if reaper_wakes == ALWAYS or (reaper_wakes == FOR_OWNERS and was_owner):
                yield from released.wake_everybody()
            yield lives.mark_gone(dead)

    for i, times in enumerate(wants):
        model.peer(f"locker{i}", locker, i, times)
    for i in range(lockers, lockers + reapers):
        model.peer(f"reaper{i}", reaper, i)

    def good_end(state):
        if not all(model.finished(state, i) or model.dead(state, i) for i in range(lockers)):
            return False
        return state[word][0] == NOBODY and lives.nobody_left_to_reap(state, range(lockers))

    model.good_end = good_end
    return model


def case(name, wants, expected="ok", quick=True, **options):
    return Case("mutex: " + name, lambda: mutex(wants, **options), expected, quick)


CASES = [
    case("2 lockers, twice each", [2, 2]),
    case("3 lockers", [1, 1, 1]),
    case("3 lockers, twice each", [2, 2, 2], quick=False),
    case("2 lockers, twice each, 1 kill", [2, 2], kills=1, reapers=1),
    case("3 lockers, 1 kill", [1, 1, 1], kills=1, reapers=1),
    case("3 lockers, two of which may time out", [1, 1, 1], may_time_out=(0, 1)),
    case("3 lockers, one of which may time out, 1 kill", [1, 1, 1], may_time_out=(0,), kills=1, reapers=1),
    case("2 lockers, 2 kills, 2 reapers", [1, 1], kills=2, reapers=2),
    case("lockers of 2 and 1, 2 kills, 2 reapers", [2, 1], kills=2, reapers=2),
    case("3 lockers, 2 kills, 2 reapers", [1, 1, 1], kills=2, reapers=2, quick=False),
    case("no wake by the reaper", [1, 1], "stuck", kills=1, reapers=1, reaper_wakes=NEVER),
    case("the reaper wakes only after an owner's death", [1, 1], "stuck", kills=1, reapers=1, reaper_wakes=FOR_OWNERS),
    case("who was woken tries before it sets W again", [1, 1, 1], "stuck", sets_w_first=False),
    case("written in place", [1, 1], "violation", kills=1, reapers=1, writes=IN_PLACE),
    case("flipped before it is written", [1, 1], "violation", kills=1, reapers=1, writes=FLIP_FIRST),
    case("the sweep flips CURRENT", [1, 1], "violation", kills=1, reapers=1, sweep_current=FLIPS),
    case("the sweep clears CURRENT", [2, 1], "violation", kills=1, reapers=1, sweep_current=CLEARS),
    case("the sweep does not say DIED", [1, 1], "violation", kills=1, reapers=1, sweep_tells=False),
    case("the sweep does not look whose the lock is", [1, 1, 1], "violation", kills=1, reapers=1, sweep_looks=False),
    case("unlocking forgets DIED", [1, 1, 1], "violation", kills=1, reapers=1, unlock_keeps_died=False),
]

if __name__ == "__main__":
    main(CASES)
