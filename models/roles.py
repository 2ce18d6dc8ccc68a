"""Roles: who sends, who receives, and when CLOSED may be believed.

What is modelled. One role of a segment: a count of handles for each peer, and the side
word (epoch, state). To join: add to the own count, then move the side to OPEN of the next
epoch, always. To leave: subtract; if that gave zero, read the side, find every count zero,
and move that very word to CLOSED, then wake all. A cloned handle only adds to the count: the
handle it comes from is a member all the while. Handing over: the parent holds the lock of
the child's place, marks it live, joins on the child's behalf, and only then makes the
child; the lock falls when neither has it any more. Reaping: set the count to zero, go on
as a leaver, wake all. Threads of one process share a count and die together. A watcher
sleeps until it reads CLOSED. One step is one access to shared memory; kills may fall
before each of them, on reapers too; a second reaper repeats what the first had begun.

Claiming, for a role that one handle has at a time. Look at the side. Not OPEN: add to the own
count, then move that very side to OPEN of the next epoch; if somebody else moved it, leave
again as a leaver does, and look again. OPEN: find somebody with a count; nobody: close it
(whoever should have was killed, or is about to), wake all, look again; somebody dead: reap,
look again; somebody alive: taken. A claimer here looks again then too, until it gets the role.

A good end. Everyone has left, or died and was reaped; the side is CLOSED if it was ever
OPEN; and then the watcher has learned it.

Always required. CLOSED is never to be seen while somebody whose joining is complete has
not begun to leave and lives. And of those who claim, one has the role at a time.

Expected to fail, and why. `first handle only`: of two threads that take the role at once
the second finds a count above zero and believes the side moved, while the first has not
moved it yet: its membership is complete and the side still goes, or is still, CLOSED. `no
epoch`: a leaver's compare-exchange succeeds although somebody joined since its look at the
counts. `look, then subtract`: of two who leave at once neither sees the other gone (this is
what a subtraction does that is not yet visible when the counts are loaded: the code needs
sequential consistency there). `count after the child`: the child may be alone, and is not
counted. `count, then mark live`: a parent killed in between leaves a count that nobody
reaps. `no wake by the reaper`: a leaver killed between CLOSED and its wake. `claim an OPEN
side`: two have it. `move, then count`: a closer comes in between, and the role is had twice.
`the loser only subtracts`: the holder that left meanwhile had not closed because of it. `the
claimer does not close`: a leaver was killed before it did, and had no count any more. `the
claimer does not reap`: it waits for a dead holder.
"""

from explore import GONE, NOT_REAPED, Case, Model, act, add, cas, load, main, store

NEVER, OPEN, CLOSED = "NEVER", "OPEN", "CLOSED"
FREE = "free"


def role(threads=(), rounds=1, clones=False, hand_over=False, child_rounds=0, reapers=0, kills=0,
         first_handle_only=False, epochs=True, subtract_first=True, count_first=True,
         live_first=True, reaper_wakes=True, claims=False, claims_open=False, claim_counts_first=True,
         loser_closes=True, claimer_closes=True, claimer_reaps=True, successor=False):
    """`threads[p]` is how many threads of process p join and leave, `rounds` times each.
    With `hand_over` two more processes: a parent that joins and hands a handle to a child.
    With `successor`, only the living must come to an end.
    With `claims` they all claim instead of joining, and so does the parent."""
    model = Model(kills)
    members = len(threads) + (2 if hand_over else 0)
    parent, child = (members - 2, members - 1) if hand_over else (None, None)
    processes = members + reapers
    thread_processes = [p for p, number in enumerate(threads) for _ in range(number)]
    if hand_over:
        thread_processes += [parent, child]

    count = model.cells("count", [0] * members)
    side = model.cell("side", (0, NEVER))
    wakes = model.cell("wakes", 0)
    asleep = model.cell("watcher asleep", False)
    # The processes that have a place's lock open; or FREE, NOT_REAPED, ("reaped by", r), GONE.
    life = model.cells("life", [FREE if p == child else frozenset([p]) for p in range(processes)])
    # Is a member: its joining is complete, its leaving has not begun. An onlooker's note.
    is_member = model.cells("is a member", [False] * len(thread_processes))
    # A parent that hands its handle over, and its child, are one after the other: both count, and one uses it.
    alone, in_turn = (is_member[:-2], is_member[-2:]) if hand_over else (is_member, [])

    def holds(lock, process):
        return isinstance(lock, frozenset) and process in lock

    def without(lock, process):
        if lock == ("reaped by", process):
            return NOT_REAPED
        return (lock - {process} or NOT_REAPED) if holds(lock, process) else lock

    def on_kill(memory, process):
        if process == child and not holds(memory[life[process]], process):
            return False                                             # does not exist yet
        for place in life:
            memory[place] = without(memory[place], process)
        for thread, its_process in enumerate(thread_processes):
            if its_process == process:
                memory[is_member[thread]] = False
        return True

    model.on_kill = on_kill

    # -- the protocol

    def next_side(seen, state):
        return (seen[0] + 1 if epochs else 1, state)

    def move_to_open():
        while True:
            seen = yield load(side)
            if (yield cas(side, seen, next_side(seen, OPEN))):
                return

    def join(process):
        now = yield add(count[process], 1)
        if now > 1 and first_handle_only:
            return
        yield from move_to_open()

    def close_if_empty():
        """Result: whether this closed the side."""
        while True:
            seen = yield load(side)
            if seen[1] != OPEN:
                return False
            for p in range(members):
                if (yield load(count[p])) != 0:
                    return False
            if (yield cas(side, seen, next_side(seen, CLOSED))):
                return True

    def lock_dead(state, place, me):
        if state[life[place]] == NOT_REAPED:
            return [(True, ((life[place], ("reaped by", me)),))]
        return [(False, ())]

    def recover(dead):
        yield store(count[dead], 0)
        yield from close_if_empty()
        if reaper_wakes:
            yield act(wake_all)

    def claim(process):
        while True:
            seen = yield load(side)
            if seen[1] != OPEN or claims_open:
                if claim_counts_first:
                    yield add(count[process], 1)
                moved = yield cas(side, seen, next_side(seen, OPEN))
                if not claim_counts_first and moved:
                    yield add(count[process], 1)
                if moved:
                    return
                if claim_counts_first:
                    if loser_closes:
                        yield from leave(process)
                    else:
                        yield add(count[process], -1)
                continue
            other = None
            for p in range(members):
                if other is None and (yield load(count[p])) != 0:
                    other = p
            if other is None:
                if claimer_closes and (yield from close_if_empty()):
                    yield act(wake_all)
            elif other != process and claimer_reaps and (yield act(lock_dead, other, process)):
                yield from recover(other)
                yield store(life[other], GONE)

    def leave(process):
        if not subtract_first:
            yield from leave_looking_first(process)
            return
        now = yield add(count[process], -1)
        if now == 0:
            closed = yield from close_if_empty()
            if closed:
                yield act(wake_all)

    def leave_looking_first(process):
        alone = True
        for p in range(members):
            if p != process and (yield load(count[p])) != 0:
                alone = False
        yield add(count[process], -1)
        if alone:
            closed = yield from close_if_empty()
            if closed:
                yield act(wake_all)

    def wake_all(state):
        return [(None, ((wakes, state[wakes] + 1), (asleep, False)))]

    # -- who does it

    def member(thread, process):
        for _round in range(rounds):
            yield from claim(process) if claims else join(process)
            yield store(is_member[thread], True)
            if clones:
                yield add(count[process], 1)                          # a clone, which outlives the original
                yield from leave(process)
            yield store(is_member[thread], False)
            yield from leave(process)

    def make_child(state):
        return [(None, ((life[child], frozenset([parent, child])), (is_member[-1], True)))]

    def close_copy(state):
        return [(None, ((life[child], without(state[life[child]], parent)),))]

    def parent_program(thread):
        yield from claim(parent) if claims else join(parent)
        yield store(is_member[thread], True)
        if count_first:
            if live_first:
                yield store(life[child], frozenset([parent]))
                yield from join(child)
            else:
                yield from join(child)
                yield store(life[child], frozenset([parent]))
            yield act(make_child)
        else:
            yield store(life[child], frozenset([parent]))
            yield act(make_child)
            yield store(is_member[thread], False)
            yield from leave(parent)
            yield from join(child)
            yield act(close_copy)
            return
        yield act(close_copy)
        yield store(is_member[thread], False)
        yield from leave(parent)

    def when_it_exists(state):
        return [(None, ())] if holds(state[life[child]], child) else []

    def child_program(thread):
        yield act(when_it_exists)
        yield store(is_member[thread], False)
        yield from leave(child)
        for _round in range(child_rounds):
            yield from join(child)
            yield store(is_member[thread], True)
            yield store(is_member[thread], False)
            yield from leave(child)

    def sleep_unless_woken(state, seen_wakes):
        return [(None, ((asleep, True),) if state[wakes] == seen_wakes else ())]

    def when_awake(state):
        return [] if state[asleep] else [(None, ())]

    def watcher():
        while True:
            seen_wakes = yield load(wakes)
            seen = yield load(side)
            if seen[1] == CLOSED:
                return
            yield act(sleep_unless_woken, seen_wakes)
            yield act(when_awake)

    def lock_any_dead(state, me):
        return [(p, ((life[p], ("reaped by", me)),)) for p in range(processes) if state[life[p]] == NOT_REAPED]

    def reaper(me):
        while True:
            dead = yield act(lock_any_dead, me)
            if dead < members:
                yield from recover(dead)
            yield store(life[dead], GONE)

    peers = []
    for thread, process in enumerate(thread_processes):
        if process == parent:
            peers.append(model.peer("parent", parent_program, thread, process=process))
        elif process == child:
            peers.append(model.peer("child", child_program, thread, process=process))
        else:
            peers.append(model.peer(f"thread{thread} of process{process}", member, thread, process, process=process))
    for me in range(members, processes):
        model.peer(f"reaper{me}", reaper, me, process=me)
    watching = model.peer("watcher", watcher, process=processes, killable=False)

    def invariant(state):
        if state[side][1] == CLOSED and any(state[m] for m in is_member):
            return "CLOSED while there is a member"
        if claims and sum(state[m] for m in alone) + any(state[m] for m in in_turn) > 1:
            return "two have the role"
        return None

    def good_end(state):
        if successor:
            # Nobody reaps but claimers: whoever lives gets through, whatever the dead have left.
            return all(model.finished(state, peer) or model.dead(state, peer) for peer in peers)
        for peer, process in zip(peers, thread_processes):
            if not model.finished(state, peer) and state[life[process]] != GONE:
                if process != child or state[life[child]] != FREE:
                    return False
        if any(state[c] for c in count):
            return False
        return state[side][1] == NEVER or (state[side][1] == CLOSED and model.finished(state, watching))

    model.invariant, model.good_end = invariant, good_end
    return model


def case(name, expected="ok", quick=True, **options):
    return Case("roles: " + name, lambda: role(**options), expected, quick)


CASES = [
    case("2 processes, 2 rounds", threads=[1, 1], rounds=2),
    case("3 processes", threads=[1, 1, 1]),
    case("2 threads of a process and another process", threads=[2, 1]),
    case("2 threads of a process and another process, cloning", threads=[2, 1], clones=True),
    case("2 processes, cloning, 1 kill", threads=[1, 1], clones=True, kills=1, reapers=1),
    case("2 processes, 2 rounds, 1 kill", threads=[1, 1], rounds=2, kills=1, reapers=1),
    case("2 threads of a process and another process, 1 kill", threads=[2, 1], kills=1, reapers=1),
    case("2 processes, 2 kills, 2 reapers", threads=[1, 1], kills=2, reapers=2),
    case("2 processes, 2 rounds, 2 kills, 2 reapers", threads=[1, 1], rounds=2, kills=2, reapers=2, quick=False),
    case("3 processes, 1 kill", threads=[1, 1, 1], kills=1, reapers=1, quick=False),
    case("hand-over, 2 kills, 2 reapers", hand_over=True, kills=2, reapers=2),
    case("hand-over, child joins again, 2 kills, 2 reapers", hand_over=True, child_rounds=1, kills=2, reapers=2),
    case("hand-over, another process, 1 kill", threads=[1], hand_over=True, kills=1, reapers=1),
    case("hand-over, another process, 2 kills, 2 reapers", threads=[1], hand_over=True,
         kills=2, reapers=2, quick=False),
    case("2 claim, 2 rounds", threads=[1, 1], rounds=2, claims=True),
    case("3 claim", threads=[1, 1, 1], claims=True),
    case("2 threads of a process and another process claim", threads=[2, 1], claims=True),
    case("2 claim, 1 kill", threads=[1, 1], claims=True, kills=1, reapers=1),
    case("2 claim and reap, 2 rounds, 1 kill", threads=[1, 1], rounds=2, claims=True, kills=1, reapers=0, successor=True),
    case("2 claim, 2 kills, 2 reapers", threads=[1, 1], claims=True, kills=2, reapers=2, quick=False),
    case("3 claim, 1 kill", threads=[1, 1, 1], claims=True, kills=1, reapers=1, quick=False),
    case("1 claims, hand-over", threads=[1], hand_over=True, claims=True),
    case("1 claims, hand-over, 1 kill", threads=[1], hand_over=True, claims=True, kills=1, reapers=1),
    case("claim an OPEN side", "violation", threads=[1, 1], claims=True, claims_open=True),
    case("move, then count", "violation", threads=[1, 1, 1], claims=True, claim_counts_first=False),
    case("the loser only subtracts", "stuck", threads=[1, 1], claims=True, claimer_closes=False, loser_closes=False),
    case("the claimer does not close, 1 kill", "stuck", threads=[1, 1], claims=True, claimer_closes=False, kills=1,
         successor=True),
    case("the claimer does not reap, 1 kill", "stuck", threads=[1, 1], claims=True, claimer_reaps=False, kills=1,
         successor=True),
    case("first handle only, 2 threads, 2 rounds", "violation", threads=[2], rounds=2, first_handle_only=True),
    case("first handle only, 2 threads and another process", "violation", threads=[2, 1], first_handle_only=True),
    case("no epoch", "violation", threads=[1, 1], rounds=2, epochs=False),
    case("look, then subtract", "stuck", threads=[1, 1], subtract_first=False),
    case("count after the child exists", "violation", hand_over=True, count_first=False),
    case("count, then mark live, 1 kill", "stuck", hand_over=True, live_first=False, kills=1, reapers=1),
    case("no wake by the reaper, 1 kill", "stuck", threads=[1, 1], kills=1, reapers=1, reaper_wakes=False),
]

if __name__ == "__main__":
    main(CASES)
