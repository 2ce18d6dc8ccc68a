"""The MPMC queue: slots are claimed before any index moves, several of them by one exchange.

What is modelled. A ring of `capacity` slot words (turn, state, length of the run, owner) with their
values beside them, the two shared indices which move only past multiples of K, private
cursors, tombstones, orphans and the orphan epoch, the sweep over a dead peer, and closing.
A peer claims a run of slots with one exchange of the first one's word, which alone tells of it; the run is handed on
from its last slot to its first. One step is one access to shared memory, but that the values of a run are
written in one step, and copied in one; a kill may fall before each of them, on senders, receivers and
reapers. A batch counts as sent when FULL is stored in its first slot, a message as received when
the reader gives its slot back as EMPTY. Full and Empty are retried without sleeping: the
sleeping is `eventcount.py`, the exact meaning of CLOSED is `roles.py` (here one atomic step
closes the side when the last membership is gone).

A good end. Every sender has finished or died and was reaped; every receiver still alive
has learned Disconnected; every message sent was received, or, where nothing is delivered twice, given up
by the sweep; every slot is EMPTY. If no receiver is left alive, nothing is asked.

Always required. An exchange that claims a run finds all of its slots free (or FULL), which it had looked at before;
a receiver never reads an unwritten value; no message is received twice; "Empty" is only said while nothing
published waits, "Full" not while all slots are EMPTY; no index is ahead of the first slot that is not claimed (not
taken); the first claims of one sender's messages happen in the order in which they were sent (so does copying, with a
single receiver while none has died: a redelivery is the exception to FIFO); no index distance which the queue would
call Corrupt is ever seen. That a batch is sent as a whole follows: a part of it would be lost, or overtaken by Empty.

Expected to fail, and why. There are two shorter closing orders. `empty, then flag`:
between the Empty and the flag a sender may have sent its last message and left. `flag,
then empty`: a message may be in the hands of a receiver that is about to die, and will be
an orphan when nobody looks any more. Two smaller omissions lose messages as well: a
receiver that sets `seen` without a scan that found none, and a sweep that does not move
the orphan epoch. And walkers have to help: if only the one who claims a K-th position
moves the shared index, or those who are laps behind do not, kills between the claim and the move leave the index
ever further behind, until a healthy queue is called Corrupt.

Runs: a first slot that is published, given back, or swept before the others lets others walk into the
run, or loses the rest of it when a second kill comes between. So does a walker that goes on at the next
slot, and an index that is raised to a multiple of K within a run: whoever starts there believes the slot free.
Where nothing is delivered twice, the sweep may not leave tombs in place of what a dead receiver had claimed: all others
may have passed them, nobody buries them, and senders find the queue Full for ever. It makes them EMPTY itself.
"""

from explore import GONE, Case, Lives, Model, act, add, cas, fail, load, main, raise_to, store

EMPTY, WRITING, FULL, READING, TOMB, ORPHAN = "EMPTY", "WRITING", "FULL", "READING", "TOMB", "ORPHAN"
FLAG_EMPTY_SLOTS, EMPTY_THEN_FLAG, FLAG_THEN_EMPTY = "flag, empty, slots", "empty, then flag", "flag, then empty"
ALWAYS, ONLY_WITHIN_A_LAP, NEVER = "walkers help", "walkers laps behind do not help", "walkers do not help"


def plain(lap, state):
    return (lap, state, 1, None)


def queue(capacity, messages, receivers, kills=0, reapers=0, stride=1, send=1, receive=1, claimed_become=ORPHAN,
          closing=FLAG_EMPTY_SLOTS, sweep_first=True, help=ALWAYS, scan_until_none=True, bump_epoch=True,
          first_published_last=True, first_returned_last=True, first_swept_last=True, walkers_know_runs=True,
          index_outside_runs=True, one_after_another=False, places=None, killable=None):
    """`messages` is how many each sender sends; `stride` is the K of "every K-th position". `send` and `receive` are
    how many slots a peer claims at once, at most: a number for all of them, or a list. `claimed_become` says what the
    sweep makes of a dead receiver's slots. With `one_after_another` a receiver attaches when the one before it died
    and was reaped, and takes its place: `places` is then the size of the peer table. `killable` restricts the kills
    to the named kinds of peers, for the larger cases."""
    model = Model(kills)
    senders = len(messages)
    sender_ids = range(senders)
    receiver_ids = range(senders, senders + receivers)
    names = ([f"sender{i}" for i in sender_ids] + [f"receiver{i}" for i in receiver_ids]
             + [f"reaper{i}" for i in range(senders + receivers, senders + receivers + reapers)])
    peers = len(names)
    longest = (send if isinstance(send, list) else [send] * senders) \
        + (receive if isinstance(receive, list) else [receive] * receivers)      # of each peer's runs
    first_bit = [sum(messages[:i]) for i in sender_ids]              # of a sender's messages in the sets
    of_sender = [(1 << messages[i]) - 1 << first_bit[i] for i in sender_ids]

    lives = Lives(model, names)
    head, tail = model.cell("head", 0), model.cell("tail", 0)
    orphan_epoch = model.cell("orphan epoch", 0)
    word = model.cells("word", [plain(0, EMPTY)] * capacity)         # turn, state, length of the run, owner
    value = model.cells("value", [None] * capacity)
    member = model.cells("sender joined", [True] * senders)
    closed = model.cell("senders CLOSED", False)
    # What an onlooker writes down: the properties speak of it.
    sent = model.cell("sent", 0)
    received = model.cell("received", 0)
    given_up = model.cell("given up", 0)                             # by the sweep, where nothing is delivered twice
    last_claimed = model.cells("last claimed of", [-1] * senders)
    last_copied = model.cells("last copied of", [-1] * senders)

    lag = (stride + max(longest) - 1) * ((places or peers) + 1)      # how far an index may be behind

    def has_begun(memory, receiver):
        return not one_after_another or receiver == senders or memory[lives.cells[receiver - 1]] == GONE

    def on_kill(memory, process):
        if process in receiver_ids and not has_begun(memory, process):
            return False
        return lives.on_kill(memory, process)

    model.on_kill = on_kill

    def when_begun(state, receiver):
        return [(None, ())] if has_begun(state, receiver) else []

    # -- steps that also keep the onlooker's notes

    def bit(message):
        return 1 << first_bit[message[0]] + message[1]

    def claim(state, position, run, me, old, new):
        """The one exchange that claims a run. Result: "claimed", "refused", or a complaint."""
        slot, lap = position % capacity, position // capacity
        if state[word[slot]] != plain(lap, old):
            return [("refused", ())]
        notes = {word[slot]: (lap, new, run, me)}
        for there in range(position, position + run):
            if state[word[there % capacity]] != plain(there // capacity, old):
                return [("claims a slot that is somebody else's", ())]
            if old == FULL:
                if state[value[there % capacity]] is None:
                    return [("reads an unwritten value", ())]
                sender, k = state[value[there % capacity]]
                if k <= notes.get(last_claimed[sender], state[last_claimed[sender]]):
                    return [("claims out of order", ())]
                notes[last_claimed[sender]] = k
        return [("claimed", tuple(notes.items()))]

    def write(state, position, run, me, k):
        return [(None, tuple((value[(position + i) % capacity], (me, k + i)) for i in range(run)))]

    def publish(state, position, run, me, k):
        messages = sum(bit((me, k + i)) for i in range(run))
        return [(None, ((word[position % capacity], plain(position // capacity, FULL)),
                        (sent, state[sent] | messages)))]

    def copy(state, position, run):
        """Result: the messages, or a complaint."""
        messages = tuple(state[value[(position + i) % capacity]] for i in range(run))
        notes = {}
        if receivers == 1 and state[lives.cells[receiver_ids[0]]] == "alive":
            for sender, k in messages:
                if k <= notes.get(last_copied[sender], state[last_copied[sender]]):
                    return [("copied out of order", ())]
                notes[last_copied[sender]] = k
        return [(messages, tuple(notes.items()))]

    def give_back(state, position, message):
        """Store EMPTY for the next lap: the message is received. Result: a complaint or None."""
        if state[received] & bit(message):
            return [("received twice", ())]
        return [(None, ((word[position % capacity], plain(position // capacity + 1, EMPTY)),
                        (value[position % capacity], None), (received, state[received] | bit(message))))]

    def give_up(state, slot, old, new):
        """The sweep's exchange, where a dead receiver's messages are not delivered again."""
        if state[word[slot]] != old:
            return [(None, ())]
        return [(None, ((word[slot], new), (value[slot], None), (given_up, state[given_up] | bit(state[value[slot]]))))]

    def look_for_message(state, position):
        """Load the word at a head position; complains of an Empty that is not true, and of a head that ran ahead."""
        seen = state[word[position % capacity]]
        lap = position // capacity
        nothing_here = seen[0] < lap or (seen[0] == lap and seen[1] == EMPTY)
        if nothing_here and state[head] > position:
            return [("the head ran ahead", ())]
        unclaimed = (state[sent] & of_sender[i] & -bit((i, state[last_claimed[i]] + 1)) for i in sender_ids)
        if nothing_here and any(unclaimed):
            return [("says Empty while a published message waits", ())]
        return [(seen, ())]

    def look_for_room(state, position):
        """Load the word at a tail position; complains of a Full that is not true, and of a tail that ran ahead."""
        seen = state[word[position % capacity]]
        lap = position // capacity
        if state[tail] > position and (seen[0] < lap or seen[0] == lap and seen[1] == EMPTY):
            return [("the tail ran ahead", ())]
        if seen[0] < lap and all(state[w][1] == EMPTY for w in word):
            return [("says Full while every slot is EMPTY", ())]
        return [(seen, ())]

    def close_if_last(state):
        return [(None, () if any(state[m] for m in member) else ((closed, True),))]

    # -- both sides

    def prefix(position, limit, state):
        """How many slots from `position` on are in `state`, each of its lap; the first one is."""
        run = 1
        while run < limit:
            there = position + run
            if (yield load(word[there % capacity])) != plain(there // capacity, state):
                break
            run += 1
        return run

    def move(index, position, run):
        """Whoever passes a multiple of K moves the shared index: to the end of the run."""
        end = position + run
        if end // stride > position // stride:
            yield raise_to(index, end if index_outside_runs else end // stride * stride)

    def step_over(index, position, run, is_laps_behind=False):
        """Over a run, or a slot that is laps ahead. Result: where to go on, which the index may know better."""
        if is_laps_behind or not walkers_know_runs:
            run = 1
        if help == ALWAYS or help == ONLY_WITHIN_A_LAP and not is_laps_behind:
            yield from move(index, position, run)
        shared = yield load(index)
        return max(position + run, shared)

    # -- senders

    def sender(me, count):
        position = k = 0
        while k < count:
            slot, lap = position % capacity, position // capacity
            seen = yield act(look_for_room, position)
            if isinstance(seen, str):
                yield fail(seen)
            turn, state, run, owner = seen
            if turn == lap and state == EMPTY:
                run = yield from prefix(position, min(longest[me], count - k, capacity), EMPTY)
                outcome = yield act(claim, position, run, me, EMPTY, WRITING)
                if outcome == "claimed":
                    yield from move(tail, position, run)
                    yield act(write, position, run, me, k)
                    if not first_published_last:
                        yield act(publish, position, run, me, k)
                    for back in range(1, run):
                        there = position + run - back
                        yield store(word[there % capacity], plain(there // capacity, FULL))
                    if first_published_last:
                        yield act(publish, position, run, me, k)
                    position += run
                    k += run
                elif outcome != "refused":
                    yield fail(outcome)
            elif turn == lap:                                        # claimed by somebody
                position = yield from step_over(tail, position, run)
            elif turn > lap:                                         # this walker is laps behind
                position = yield from step_over(tail, position, run, is_laps_behind=True)
            else:                                                    # Full: try again
                seen_head = yield load(head)
                if position - seen_head > capacity + lag:
                    yield fail("a sender calls the queue Corrupt")
        yield store(member[me], False)
        yield act(close_if_last)

    # -- receivers

    def take(position, run):
        """Copy the values out of slots in READING, then give the slots back."""
        messages = yield act(copy, position, run)
        if messages == "copied out of order":
            yield fail(messages)
        if not first_returned_last:
            yield from give_back_one(position, messages[0])
        for back in range(1, run):
            yield from give_back_one(position + run - back, messages[run - back])
        if first_returned_last:
            yield from give_back_one(position, messages[0])

    def give_back_one(position, message):
        complaint = yield act(give_back, position, message)
        if complaint:
            yield fail(complaint)

    def take_orphan(me, seen_epoch):
        """Scans if the epoch moved; takes one orphan if there is one. Result: (took one, seen epoch)."""
        epoch = yield load(orphan_epoch)
        if epoch == seen_epoch:
            return (False, seen_epoch)
        position = None
        for i in range(capacity):
            turn, state, run, owner = yield load(word[i])
            if state == ORPHAN and (position is None or turn * capacity + i < position):
                position = turn * capacity + i
        if position is None:
            return (False, epoch)
        lap = position // capacity
        if (yield cas(word[position % capacity], plain(lap, ORPHAN), (lap, READING, 1, me))):
            yield from take(position, 1)
            return (True, seen_epoch if scan_until_none else epoch)
        return (True, seen_epoch)                                     # lost the race: look again

    def pop(me, position):
        """Result: (what, cursor) with what in "received", "Busy", "Empty"."""
        while True:
            slot, lap = position % capacity, position // capacity
            seen = yield act(look_for_message, position)
            if isinstance(seen, str):
                yield fail(seen)
            turn, state, run, owner = seen
            if turn == lap and state == FULL:
                run = yield from prefix(position, min(longest[me], capacity), FULL)
                outcome = yield act(claim, position, run, me, FULL, READING)
                if outcome == "claimed":
                    yield from move(head, position, run)
                    yield from take(position, run)
                    return ("received", position + run)
                if outcome != "refused":
                    yield fail(outcome)
            elif turn == lap and state == TOMB:
                yield cas(word[slot], plain(lap, TOMB), plain(lap + 1, EMPTY))
            elif turn == lap and state == WRITING:
                return ("Busy", position)
            elif turn == lap and state != EMPTY:                      # READING or ORPHAN
                position = yield from step_over(head, position, run)
            elif turn > lap:
                position = yield from step_over(head, position, run, is_laps_behind=True)
            else:
                seen_tail = yield load(tail)
                if position - seen_tail > lag:
                    yield fail("a receiver calls the queue Corrupt")
                return ("Empty", position)

    def receiver(me):
        cursor, seen_epoch = 0, -1                                    # -1: a new receiver always scans
        if one_after_another:
            yield act(when_begun, me)
        while True:
            found, seen_epoch = yield from take_orphan(me, seen_epoch)
            if found:
                continue
            flag = False
            if closing != EMPTY_THEN_FLAG:
                flag = yield load(closed)
            what, cursor = yield from pop(me, cursor)
            if what != "Empty":
                continue
            if closing == EMPTY_THEN_FLAG:
                flag = yield load(closed)
                if flag:
                    return
            elif closing == FLAG_THEN_EMPTY:
                if flag:
                    return
            elif flag:
                all_empty = True
                for i in range(capacity):
                    turn, state, run, owner = yield load(word[i])
                    if state != EMPTY:
                        all_empty = False
                        break
                if all_empty:
                    return                                            # Disconnected

    # -- reapers

    def sweep_one(position, found, state):
        """The slot at `position`, whose word is `found`, of a run that the dead peer had in `state`."""
        slot, lap = position % capacity, position // capacity
        if state == WRITING:
            yield cas(word[slot], found, plain(lap, TOMB))
        elif claimed_become == ORPHAN:
            yield cas(word[slot], found, plain(lap, ORPHAN))
        else:
            yield act(give_up, slot, found, plain(lap, TOMB) if claimed_become == TOMB else plain(lap + 1, EMPTY))

    def sweep(dead):
        for i in range(capacity):
            turn, state, run, owner = yield load(word[i])
            if owner == dead:
                position = turn * capacity + i
                if not first_swept_last:
                    yield from sweep_one(position, (turn, state, run, dead), state)
                for j in range(1, run):
                    there = position + j
                    found = yield load(word[there % capacity])
                    if found == plain(there // capacity, FULL) or (
                            state == WRITING and found == plain(there // capacity, EMPTY)):
                        yield from sweep_one(there, found, state)
                if first_swept_last:
                    yield from sweep_one(position, (turn, state, run, dead), state)
        if bump_epoch:
            yield add(orphan_epoch, 1)

    def return_membership(dead):
        if dead < senders:
            yield store(member[dead], False)
            yield act(close_if_last)

    def reaper(me):
        while True:
            dead = yield lives.try_lock_dead(me)
            if sweep_first:
                yield from sweep(dead)
                yield from return_membership(dead)
            else:
                yield from return_membership(dead)
                yield from sweep(dead)
            yield lives.mark_gone(dead)

    may_be_killed = killable or ("sender", "receiver", "reaper")
    for i, name in enumerate(names):
        kind = name.rstrip("0123456789")
        program = {"sender": sender, "receiver": receiver, "reaper": reaper}[kind]
        arguments = (i, messages[i]) if kind == "sender" else (i,)
        model.peer(name, program, *arguments, killable=kind in may_be_killed)

    def good_end(state):
        living = [r for r in receiver_ids if not model.dead(state, r) and has_begun(state, r)]
        if not living:
            return True
        return (all(model.finished(state, r) for r in living)
                and all(model.finished(state, s) or state[lives.cells[s]] == GONE for s in sender_ids)
                and state[sent] & ~state[received] & ~state[given_up] == 0
                and all(state[w][1] == EMPTY for w in word))

    model.good_end = good_end
    return model


def case(name, capacity, messages, receivers, expected="ok", quick=True, **options):
    return Case("mpmc: " + name, lambda: queue(capacity, messages, receivers, **options), expected, quick)


RUNS, LONGER_RUNS = {"send": 2, "receive": 2}, {"send": 3, "receive": 3}
ONE_AFTER_ANOTHER = {"kills": 6, "reapers": 1, "killable": ("receiver",), "one_after_another": True, "places": 3}

CASES = [
    # single messages: runs of one
    case("1 slot, 1 sender of 2, 2 receivers", 1, [2], 2),
    case("2 slots, 2 senders of 2, 1 receiver", 2, [2, 2], 1),
    case("2 slots, 2 senders of 1, 2 receivers", 2, [1, 1], 2),
    case("2 slots, K=2, 2 senders of 2, 2 receivers", 2, [2, 2], 2, stride=2, quick=False),
    case("2 slots, 2 senders of 1, 1 receiver, 1 kill", 2, [1, 1], 1, kills=1, reapers=1),
    case("2 slots, 2 senders of 1, 1 receiver, 1 kill, membership first", 2, [1, 1], 1,
         kills=1, reapers=1, sweep_first=False),
    case("2 slots, K=2, 2 senders of 2 and 1, 1 receiver, 1 kill", 2, [2, 1], 1, kills=1, reapers=1, stride=2),
    case("1 slot, 1 sender of 2, 2 receivers, 1 kill", 1, [2], 2, kills=1, reapers=1),
    case("2 slots, K=2, 1 sender of 3, 2 receivers, 1 kill", 2, [3], 2, kills=1, reapers=1, stride=2),
    case("2 slots, K=2, 1 sender of 3, 1 receiver, 2 kills, 2 reapers", 2, [3], 1, kills=2, reapers=2, stride=2),
    case("2 slots, 1 sender of 1, 2 receivers, 2 kills not of senders, 2 reapers", 2, [1], 2,
         kills=2, reapers=2, killable=("receiver", "reaper")),
    case("2 slots, 2 senders of 1, 1 receiver, 2 kills, 2 reapers", 2, [1, 1], 1, kills=2, reapers=2, quick=False),
    case("1 slot, 7 receivers one after another, 6 of them killed", 1, [7], 7, **ONE_AFTER_ANOTHER),
    case("the same, walkers do not help", 1, [7], 7, "violation", help=NEVER, **ONE_AFTER_ANOTHER),
    case("the same, walkers laps behind do not help", 1, [7], 7, "violation",
         help=ONLY_WITHIN_A_LAP, **ONE_AFTER_ANOTHER),
    case("closing: empty, then flag", 2, [1], 1, "stuck", closing=EMPTY_THEN_FLAG),
    case("closing: flag, then empty, 1 kill", 2, [1], 2, "stuck", kills=1, reapers=1, closing=FLAG_THEN_EMPTY),
    case("the sweep does not move the orphan epoch, 1 kill", 1, [1], 2, "stuck",
         kills=1, reapers=1, bump_epoch=False),
    # runs
    case("runs: 2 slots, 2 senders of 2, 2 receivers", 2, [2, 2], 2, **RUNS),
    case("runs: 2 slots, K=2, 2 senders of 3 and 1, 2 receivers", 2, [3, 1], 2, stride=2, **RUNS),
    case("runs: 4 slots, K=4, 1 sender of 6 by 3, 2 receivers by 3 and 2", 4, [6], 2, stride=4, send=3, receive=[3, 2]),
    case("runs: 2 slots, 1 sender of 3, 2 receivers, 1 kill", 2, [3], 2, kills=1, reapers=1, **RUNS),
    case("runs: 2 slots, K=2, 2 senders of 2 and 1, 1 receiver, 1 kill", 2, [2, 1], 1,
         kills=1, reapers=1, stride=2, **RUNS),
    case("runs: 4 slots, K=2, 1 sender of 5 by 3, 1 receiver, 1 kill", 4, [5], 1,
         kills=1, reapers=1, stride=2, **LONGER_RUNS),
    case("runs: 2 slots, 1 sender of 3, 1 receiver, 2 kills, 2 reapers", 2, [3], 1, kills=2, reapers=2, **RUNS),
    case("runs: 4 slots, K=2, 1 sender of 5 by 3, 1 receiver, 2 kills, 2 reapers", 4, [5], 1,
         kills=2, reapers=2, stride=2, quick=False, **LONGER_RUNS),
    case("runs: 2 slots, 1 sender of 2, 2 receivers, 2 kills not of senders, 2 reapers", 2, [2], 2,
         kills=2, reapers=2, killable=("receiver", "reaper"), quick=False, **RUNS),
    case("runs: 4 slots, 1 sender of 3 by 3, 2 receivers, 2 kills not of senders", 4, [3], 2,
         kills=2, reapers=2, killable=("receiver", "reaper"), quick=False, **LONGER_RUNS),
    case("runs: the first slot published first", 2, [2], 1, "violation", first_published_last=False, **RUNS),
    case("runs: one scan is believed enough, 1 kill", 2, [2], 2, "stuck",
         kills=1, reapers=1, scan_until_none=False, **RUNS),
    case("runs: the first slot given back first, 1 kill", 2, [2], 2, "stuck",
         kills=1, reapers=1, first_returned_last=False, **RUNS),
    case("runs: the first slot given back first, K=4", 4, [4], 2, "violation",
         stride=4, first_returned_last=False, **LONGER_RUNS),
    case("runs: the first slot swept first, 1 kill", 2, [2], 2, "violation",
         kills=1, reapers=1, first_swept_last=False, **RUNS),
    case("runs: walkers ignore runs", 2, [2, 1], 1, "violation", walkers_know_runs=False, **RUNS),
    case("runs: an index points into a run", 4, [5, 1], 1, "violation",
         stride=2, index_outside_runs=False, send=3, receive=1),
    # nothing delivered twice
    case("at most once: 2 slots, 1 sender of 3, 2 receivers, 1 kill", 2, [3], 2,
         kills=1, reapers=1, claimed_become=EMPTY, **RUNS),
    case("at most once: 2 slots, 1 sender of 3, 1 receiver, 2 kills, 2 reapers", 2, [3], 1,
         kills=2, reapers=2, claimed_become=EMPTY, **RUNS),
    case("at most once: 2 slots, 1 sender of 2, 2 receivers, 2 kills not of senders", 2, [2], 2,
         kills=2, reapers=2, killable=("receiver", "reaper"), claimed_become=EMPTY, quick=False, **RUNS),
    case("at most once: the sweep leaves tombs, 1 kill", 1, [2], 2, "stuck", kills=1, reapers=1, claimed_become=TOMB),
]

if __name__ == "__main__":
    main(CASES)
