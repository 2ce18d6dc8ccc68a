"""The barrier: one word, and who passed is told so whatever comes next.

What is modelled. The word (generation, arrived, BROKEN, since), `since` being how many generations were passed since the
last one that was given up: broken, or begun, and then reset. To wait: BROKEN is an error. If all have arrived, somebody runs
the action: wait until the word says something else. If others are missing: count oneself in by compare-exchange, and wait
until the generation has moved or is BROKEN. The last one counts itself in, runs the action, and moves the generation on,
`since` too, by a compare-exchange that fails if the barrier was broken meanwhile; then it wakes all. What a waiter
concludes: the same generation, BROKEN: broken. A later generation: passed if `since` covers all that came since its own,
that one included; else broken. If its time is up, it breaks its generation, if that is still the current one. To abort
breaks the current generation, and so does any death. A reset moves the generation on, if it is broken or somebody has
arrived, with `since` 0. Each of these wakes all (`eventcount.py`, complete). In two cases `since` is full early, and stays
so. Kills fall before every step, on reapers too.

A good end. Everyone is done, or died and was reaped; or sleeps because others will not come, in a generation that is neither
broken nor complete, and during which nobody died.

Always required. Nobody passes unless all parties have arrived in its generation, and the action has run; their numbers are 0
to n - 1, each once. Nobody is told that a generation was passed that was given up or is broken, nor the other way round,
unless a later generation has been given up, or more have gone by than `since` counts, before it woke up.

Expected to fail, and why. Who looks at BROKEN before the generation takes the next one's end for its own. If a death does
not break, the others wait for the dead. If a reset counts as a pass, or `since` begins at 1 after it, some pass without the
others. If `since` does not count, nobody passes but the last one. If a full `since` passes for enough, a waiter is told that
it passed what was given up long ago. If the last one does not compare, it opens what was broken while it ran the action.
Without the reaper's wake, or that of who breaks, others sleep on in front of a broken barrier.
"""

from eventcount import WAKE_ALL
from explore import Case, Lives, Model, act, choose, fail, load, main
from mutex import event_count, forgetful, wait_until

PASSED, BROKEN, TIMEOUT = "passed", "broken", "timeout"
OPEN = "open"                                                        # a generation's fate, before it is decided
WAITS_FOR_NONE = -1


def barrier(parties, rounds, kills=0, reapers=0, aborts=0, resets=0, may_time_out=(), action_may_fail=False, most_since=1 << 15,
            saturated_is_passed=False, given_up_at=0, generation_first=True, death_breaks=True, reset_gives_up=True, since_counts=True, last_compares=True,
            breaker_wakes=True, reaper_wakes=True):
    """`rounds[i]` is how often peer i waits, errors or not. One more peer aborts, and one resets, so many times and whenever it likes."""
    model = Model(kills)
    peers = len(rounds)
    aborter, resetter, first_reaper = peers, peers + 1, peers + 2
    lives = Lives(model, range(first_reaper + reapers))
    word = model.cell("word", (0, 0, False, 0))                      # generation, arrived, BROKEN, since
    event = event_count(model)
    # An onlooker's notes.
    fate = model.cell("fate", (OPEN,))                               # of each generation
    here = model.cell("arrived", ())                                 # the numbers of those in the current generation
    waits_for = model.cells("waits for", [WAITS_FOR_NONE] * peers)   # a generation
    struck = model.cell("struck", WAITS_FOR_NONE)                    # the last generation in which somebody died

    def note_death(memory, process):
        if process < first_reaper:
            memory[struck] = memory[word][0]

    forgetful(model, lives, [event], note_death)

    # -- the word

    def decided(state, how):
        return ((fate, state[fate][:-1] + (how, OPEN)), (here, ()))

    def arrive(state, me, seen):
        if state[word] != seen:
            return [(False, ())]
        generation, arrived, broken, since = seen
        if arrived in state[here]:
            return [("a number is given twice", ())]
        return [(True, ((word, (generation, arrived + 1, broken, since)), (here, state[here] + (arrived,)),
                        (waits_for[me], generation)))]

    def open_it(state, me, generation):
        """By the last one, after the action."""
        now = state[word]
        if now[0] != generation or now[1] != parties or (last_compares and now[2]):
            return [(False, ())]
        if state[here] != tuple(range(parties)):
            return [("opened without all of them", ())]
        if now[2]:
            return [("opened though it was broken", ())]
        since = min(now[3] + 1, most_since) if since_counts else now[3]
        return [(True, ((word, (generation + 1, 0, False, since)), (waits_for[me], WAITS_FOR_NONE)) + decided(state, PASSED))]

    def break_it(state):
        generation, arrived, _, since = state[word]
        return [(None, ((word, (generation, arrived, True, since)),))]

    def break_own(state, mine):
        """Result: whether it is the current generation."""
        if state[word][0] != mine:
            return [(False, ())]
        return [(True, break_it(state)[0][1])]

    def give_up(state, seen):
        if state[word] != seen:
            return [(False, ())]
        since = given_up_at if reset_gives_up else seen[3] + 1
        return [(True, ((word, (seen[0] + 1, 0, False, since)),) + decided(state, BROKEN))]

    def conclude(state, me, mine, told):
        """What is to be true of it when one is told of one's generation."""
        noted = ((waits_for[me], WAITS_FOR_NONE),)
        how = state[fate][mine]
        if told == PASSED and how != PASSED:
            return [("passed without the others", noted)]
        overslept = state[word][0] - mine > most_since
        if told != PASSED and how == PASSED and BROKEN not in state[fate][mine + 1:] and not overslept:
            return [("called broken, but it passed", noted)]
        return [(None, noted)]

    # -- the protocol

    def is_decided(mine):
        generation, arrived, broken, since = yield load(word)
        if broken and not generation_first:
            return BROKEN
        if generation == mine:
            return BROKEN if broken else None
        age = generation - mine
        return PASSED if since >= (min(age, most_since) if saturated_is_passed else age) else BROKEN

    def says_something_else(seen):
        if (yield load(word)) == seen:
            return None
        return True

    def wait(me):
        """Result: PASSED, BROKEN or TIMEOUT."""
        while True:
            seen = yield load(word)
            if seen[2]:
                return BROKEN
            if seen[1] == parties:
                other = yield from wait_until(event, me, says_something_else, seen, may_give_up=me in may_time_out)
                if other is None:
                    return TIMEOUT
                continue
            arrived = yield act(arrive, me, seen)
            if arrived is True:
                break
            if arrived:
                yield fail(arrived)
        mine = seen[0]
        if seen[1] + 1 == parties:
            told = yield from be_last(me, mine)
        else:
            told = yield from wait_until(event, me, is_decided, mine, may_give_up=me in may_time_out)
            while told is None:
                if (yield act(break_own, mine)):
                    told = TIMEOUT
                    if breaker_wakes:
                        yield from event.notify(WAKE_ALL)
                else:
                    told = yield from is_decided(mine)
        complaint = yield act(conclude, me, mine, told)
        if complaint:
            yield fail(complaint)
        return told

    def be_last(me, mine):
        if action_may_fail and (yield choose(True, False)):
            yield from abort()
            return BROKEN
        opened = yield act(open_it, me, mine)
        if opened is True:
            yield from event.notify(WAKE_ALL)
            return PASSED
        if opened:
            yield fail(opened)
        return BROKEN

    def abort():
        yield act(break_it)
        if breaker_wakes:
            yield from event.notify(WAKE_ALL)

    def reset():
        while True:
            seen = yield load(word)
            if not seen[2] and seen[1] == 0:
                return
            if (yield act(give_up, seen)):
                break
        yield from event.notify(WAKE_ALL)

    # -- who does it

    def member(me, times):
        for _time in range(times):
            yield from wait(me)

    def aborting(times):
        for _time in range(times):
            yield from abort()

    def resetting(times):
        for _time in range(times):
            yield from reset()

    def reaper(me):
        while True:
            dead = yield lives.try_lock_dead(me)
            if death_breaks:
                yield act(break_it)
            if reaper_wakes:
                yield from event.wake_everybody()
            yield lives.mark_gone(dead)

    for i, times in enumerate(rounds):
        model.peer(f"member{i}", member, i, times)
    others = []
    if aborts:
        others.append(model.peer("aborter", aborting, aborts, process=aborter))
    if resets:
        others.append(model.peer("resetter", resetting, resets, process=resetter))
    for i in range(first_reaper, first_reaper + reapers):
        model.peer(f"reaper{i}", reaper, i, process=i, killable=i < first_reaper + reapers - 1)     # somebody is left who reaps

    def good_end(state):
        generation, arrived, broken, _ = state[word]
        for i in range(peers):
            if model.finished(state, i) or model.dead(state, i):
                continue
            if i not in state[event.sleepers] or broken or arrived == parties or generation == state[struck]:
                return False
            if state[waits_for[i]] != generation:
                return False
        if not all(model.finished(state, peer) or model.dead(state, peer) for peer in others):
            return False
        return lives.nobody_left_to_reap(state, range(first_reaper))

    model.good_end = good_end
    return model


def case(name, parties, rounds, expected="ok", quick=True, **options):
    return Case("barrier: " + name, lambda: barrier(parties, rounds, **options), expected, quick)


CASES = [
    case("2 parties, 3 times", 2, [3, 3]),
    case("3 parties, twice", 3, [2, 2, 2]),
    case("2 parties, 3 members", 2, [2, 1, 1]),
    case("2 parties, twice, aborted, reset", 2, [2, 2], aborts=1, resets=1),
    case("2 parties, twice, aborted, 2 resets", 2, [2, 2], aborts=1, resets=2, quick=False),
    case("3 parties, aborted, reset", 3, [1, 1, 1], aborts=1, resets=1, quick=False),
    case("2 parties, twice, one may time out, reset", 2, [2, 2], may_time_out=(0,), resets=1),
    case("2 parties, twice, the action may fail, reset", 2, [2, 2], action_may_fail=True, resets=1),
    case("2 parties, 3 members, one may time out, reset", 2, [1, 1, 1], may_time_out=(0,), resets=1),
    case("2 parties, twice, reset, 1 kill", 2, [2, 2], resets=1, kills=1, reapers=1),
    case("3 parties, 1 kill", 3, [1, 1, 1], kills=1, reapers=1),
    case("2 parties, twice, 2 kills, 2 reapers", 2, [2, 2], kills=2, reapers=2),
    case("2 parties, reset, 2 kills, 2 reapers", 2, [1, 1], resets=1, kills=2, reapers=2, quick=False),
    case("2 parties, 3 members, reset, 1 kill", 2, [1, 1, 1], resets=1, kills=1, reapers=1, quick=False),
    case("2 parties, 3 members, reset, `since` up to 1", 2, [1, 2, 2], resets=1, most_since=1, quick=False),
    case("a reset counts as the first pass", 2, [1, 1], "violation", resets=1, given_up_at=1),
    case("full, `since` says passed", 2, [1, 2, 2], "violation", resets=1, most_since=1,
         saturated_is_passed=True),
    case("BROKEN before the generation", 2, [1, 1], "violation", aborts=1, generation_first=False),
    case("a death does not break", 2, [1, 1], "stuck", kills=1, reapers=1, death_breaks=False),
    case("a reset is a pass like others", 2, [1, 1], "violation", resets=1, reset_gives_up=False),
    case("`since` does not count on", 2, [2, 2], "violation", since_counts=False),
    case("the last one does not compare", 2, [1, 1], "violation", aborts=1, last_compares=False),
    case("who breaks wakes nobody", 2, [1, 1], "stuck", aborts=1, breaker_wakes=False),
    case("no wake by the reaper", 2, [1, 1], "stuck", kills=1, reapers=1, reaper_wakes=False),
]

if __name__ == "__main__":
    main(CASES)
