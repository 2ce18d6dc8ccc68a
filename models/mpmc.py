"""The MPMC queue: slots are claimed before any index moves.

What is modelled. A ring of `capacity` slot words (turn, state, owner) with their values
beside them, the two shared indices of which only every K-th position is written, private
cursors, tombstones, orphans and the orphan epoch, the sweep over a dead peer, and closing.
One step is one access to shared memory; a kill may fall before each of them, on senders,
receivers and reapers. A message counts as sent when FULL is stored and as received when
the reader gives its slot back as EMPTY. Full and Empty are retried without sleeping: the
sleeping is `eventcount.py`, the exact meaning of CLOSED is `roles.py` (here one atomic step
closes the side when the last membership is gone).

A good end. Every sender has finished or died and was reaped; every receiver still alive
has learned Disconnected; every message sent was received; every slot is EMPTY. If no
receiver is left alive, nothing is asked.

Always required. A receiver never reads an unwritten value; no message is received twice;
"Empty" is only said while nothing published waits; the first claims of one sender's
messages happen in the order in which they were sent (so does reception, with a single
receiver while none has died: a redelivery is the exception to FIFO); no index distance
which the queue would call Corrupt is ever seen.

Expected to fail, and why. There are two shorter closing orders. `empty, then flag`:
between the Empty and the flag a sender may have sent its last message and left. `flag,
then empty`: a message may be in the hands of a receiver that is about to die, and will be
an orphan when nobody looks any more. Two smaller omissions lose messages as well: a
receiver that sets `seen` without a scan that found none, and a sweep that does not move
the orphan epoch. And walkers have to help: if only the one who claims a K-th position
moves the shared index, kills between the claim and the move leave the index ever further
behind, until a healthy queue is called Corrupt.
"""

from explore import GONE, Case, Lives, Model, act, add, cas, fail, load, main, raise_to, store

EMPTY, WRITING, FULL, READING, TOMB, ORPHAN = "EMPTY", "WRITING", "FULL", "READING", "TOMB", "ORPHAN"
FLAG_EMPTY_SLOTS, EMPTY_THEN_FLAG, FLAG_THEN_EMPTY = "flag, empty, slots", "empty, then flag", "flag, then empty"


def queue(capacity, messages, receivers, kills=0, reapers=0, stride=1, closing=FLAG_EMPTY_SLOTS,
          sweep_first=True, help_on_skip=True, scan_until_none=True, bump_epoch=True,
          one_after_another=False, places=None, killable=None):
    """`messages` is how many each sender sends; `stride` is the K of "every K-th position".
    With `one_after_another` a receiver attaches when the one before it died and was reaped,
    and takes its place: `places` is then the size of the peer table. `killable` restricts
    the kills to the named kinds of peers, for the larger cases."""
    model = Model(kills)
    senders = len(messages)
    sender_ids = range(senders)
    receiver_ids = range(senders, senders + receivers)
    names = ([f"sender{i}" for i in sender_ids] + [f"receiver{i}" for i in receiver_ids]
             + [f"reaper{i}" for i in range(senders + receivers, senders + receivers + reapers)])
    peers = len(names)
    first_bit = [sum(messages[:i]) for i in sender_ids]              # of a sender's messages in the sets

    lives = Lives(model, names)
    head, tail = model.cell("head", 0), model.cell("tail", 0)
    orphan_epoch = model.cell("orphan epoch", 0)
    word = model.cells("word", [(0, EMPTY, None)] * capacity)
    value = model.cells("value", [None] * capacity)
    member = model.cells("sender joined", [True] * senders)
    closed = model.cell("senders CLOSED", False)
    # What an onlooker writes down: the properties speak of it.
    sent = model.cell("sent", 0)
    received = model.cell("received", 0)
    last_claimed = model.cells("last claimed of", [-1] * senders)
    last_received = model.cells("last received of", [-1] * senders)
    check_reception = receivers == 1

    lag = stride * ((places or peers) + 1)                           # how far an index may be behind

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

    def publish(state, slot, lap, me, k):
        return [(None, ((word[slot], (lap, FULL, None)), (sent, state[sent] | 1 << first_bit[me] + k)))]

    def claim_full(state, slot, lap, me):
        """CAS FULL -> READING; result: "claimed", "refused", or a complaint."""
        if state[word[slot]] != (lap, FULL, None):
            return [("refused", ())]
        if state[value[slot]] is None:
            return [("reads an unwritten value", ())]
        sender, k = state[value[slot]]
        if k <= state[last_claimed[sender]]:
            return [("claims out of order", ())]
        return [("claimed", ((word[slot], (lap, READING, me)), (last_claimed[sender], k)))]

    def give_back(state, slot, lap, message):
        """Store EMPTY for the next lap: the message is received. Result: a complaint or None."""
        sender, k = message
        bit = 1 << first_bit[sender] + k
        if state[received] & bit:
            return [("received twice", ())]
        notes = ((word[slot], (lap + 1, EMPTY, None)), (received, state[received] | bit))
        if check_reception and not any(state[lives.cells[r]] != "alive" for r in receiver_ids):
            if k <= state[last_received[sender]]:
                return [("received out of order", ())]
            notes += ((last_received[sender], k),)
        return [(None, notes)]

    def look_for_message(state, position):
        """Load the word at a head position; complains of an Empty that is not true."""
        seen = state[word[position % capacity]]
        lap = position // capacity
        nothing_here = seen[0] < lap or (seen[0] == lap and seen[1] == EMPTY)
        if nothing_here and any(state[w][1] == FULL for w in word):
            return [("false Empty", ())]
        return [(seen, ())]

    def close_if_last(state):
        return [(None, () if any(state[m] for m in member) else ((closed, True),))]

    # -- senders

    def sender(me, count):
        cursor = 0
        for k in range(count):
            position = yield load(tail)
            position = max(position, cursor)
            while True:
                slot, lap = position % capacity, position // capacity
                turn, state, owner = yield load(word[slot])
                if turn == lap and state == EMPTY:
                    if (yield cas(word[slot], (lap, EMPTY, None), (lap, WRITING, me))):
                        break
                elif turn == lap:                                    # claimed by somebody
                    if help_on_skip and (position + 1) % stride == 0:
                        yield raise_to(tail, position + 1)
                    position += 1
                elif turn > lap:                                     # this walker is laps behind
                    if help_on_skip and (position + 1) % stride == 0:
                        yield raise_to(tail, position + 1)
                    shared = yield load(tail)
                    position = max(position + 1, shared)
                else:                                                # Full: try again
                    seen_head = yield load(head)
                    if position - seen_head > capacity + lag:
                        yield fail("a sender calls the queue Corrupt")
                    shared = yield load(tail)
                    position = max(position, shared)
            if (position + 1) % stride == 0:
                yield raise_to(tail, position + 1)
            yield store(value[slot], (me, k))
            yield act(publish, slot, lap, me, k)
            cursor = position + 1
        yield store(member[me], False)
        yield act(close_if_last)

    # -- receivers

    def take(slot, lap):
        """Copy the value out of a slot in READING, then give the slot back."""
        message = yield load(value[slot])
        complaint = yield act(give_back, slot, lap, message)
        if complaint:
            yield fail(complaint)

    def take_orphan(me, seen_epoch):
        """Scans if the epoch moved; takes one orphan if there is one. Result: (took one, seen epoch)."""
        epoch = yield load(orphan_epoch)
        if epoch == seen_epoch:
            return (False, seen_epoch)
        slot = None
        for i in range(capacity):
            turn, state, owner = yield load(word[i])
            if state == ORPHAN and (slot is None or turn * capacity + i < lap * capacity + slot):
                slot, lap = i, turn
        if slot is None:
            return (False, epoch)
        if (yield cas(word[slot], (lap, ORPHAN, None), (lap, READING, me))):
            yield from take(slot, lap)
            return (True, seen_epoch if scan_until_none else epoch)
        return (True, seen_epoch)                                     # lost the race: look again

    def pop(me, cursor):
        """Result: (what, cursor) with what in "received", "Busy", "Empty"."""
        position = yield load(head)
        position = max(position, cursor)
        while True:
            slot, lap = position % capacity, position // capacity
            seen = yield act(look_for_message, position)
            if seen == "false Empty":
                yield fail("says Empty while a published message waits")
            turn, state, owner = seen
            if turn == lap and state == FULL:
                outcome = yield act(claim_full, slot, lap, me)
                if outcome == "claimed":
                    if (position + 1) % stride == 0:
                        yield raise_to(head, position + 1)
                    yield from take(slot, lap)
                    return ("received", position + 1)
                if outcome != "refused":
                    yield fail(outcome)
            elif turn == lap and state == TOMB:
                yield cas(word[slot], (lap, TOMB, None), (lap + 1, EMPTY, None))
            elif turn == lap and state == WRITING:
                return ("Busy", position)
            elif turn == lap and state != EMPTY:                      # READING or ORPHAN
                if help_on_skip and (position + 1) % stride == 0:
                    yield raise_to(head, position + 1)
                position += 1
            elif turn > lap:
                if help_on_skip and (position + 1) % stride == 0:
                    yield raise_to(head, position + 1)
                shared = yield load(head)
                position = max(position + 1, shared)
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
                    turn, state, owner = yield load(word[i])
                    if state != EMPTY:
                        all_empty = False
                        break
                if all_empty:
                    return                                            # Disconnected

    # -- reapers

    def sweep(dead):
        for i in range(capacity):
            turn, state, owner = yield load(word[i])
            if owner == dead and state == WRITING:
                yield cas(word[i], (turn, WRITING, dead), (turn, TOMB, None))
            elif owner == dead and state == READING:
                yield cas(word[i], (turn, READING, dead), (turn, ORPHAN, None))
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
                and state[sent] & ~state[received] == 0
                and all(state[w][1] == EMPTY for w in word))

    model.good_end = good_end
    return model


def case(name, capacity, messages, receivers, expected="ok", quick=True, **options):
    return Case("mpmc: " + name, lambda: queue(capacity, messages, receivers, **options), expected, quick)


CASES = [
    case("1 slot, 1 sender of 2, 2 receivers", 1, [2], 2),
    case("2 slots, 2 senders of 2, 1 receiver", 2, [2, 2], 1),
    case("2 slots, 2 senders of 1, 2 receivers", 2, [1, 1], 2),
    case("2 slots, K=2, 2 senders of 2, 2 receivers", 2, [2, 2], 2, stride=2, quick=False),
    case("2 slots, 2 senders of 1, 1 receiver, 1 kill", 2, [1, 1], 1, kills=1, reapers=1),
    case("2 slots, 2 senders of 1, 1 receiver, 1 kill, membership first", 2, [1, 1], 1,
         kills=1, reapers=1, sweep_first=False),
    case("2 slots, K=2, 2 senders of 2 and 1, 1 receiver, 1 kill", 2, [2, 1], 1, kills=1, reapers=1, stride=2),
    case("1 slot, 1 sender of 2, 2 receivers, 1 kill", 1, [2], 2, kills=1, reapers=1),
    case("2 slots, 1 sender of 2, 2 receivers, 1 kill", 2, [2], 2, kills=1, reapers=1),
    case("2 slots, K=2, 1 sender of 3, 2 receivers, 1 kill", 2, [3], 2, kills=1, reapers=1, stride=2),
    case("2 slots, 2 senders of 1, 2 receivers, 1 kill", 2, [1, 1], 2, kills=1, reapers=1, quick=False),
    case("2 slots, 1 sender of 2, 1 receiver, 2 kills, 2 reapers", 2, [2], 1, kills=2, reapers=2),
    case("2 slots, K=2, 1 sender of 3, 1 receiver, 2 kills, 2 reapers", 2, [3], 1, kills=2, reapers=2, stride=2),
    case("2 slots, 1 sender of 1, 2 receivers, 2 kills not of senders, 2 reapers", 2, [1], 2,
         kills=2, reapers=2, killable=("receiver", "reaper")),
    case("1 slot, 1 sender of 1, 2 receivers, 2 kills, 2 reapers", 1, [1], 2, kills=2, reapers=2, quick=False),
    case("2 slots, 2 senders of 1, 1 receiver, 2 kills, 2 reapers", 2, [1, 1], 1, kills=2, reapers=2, quick=False),
    case("2 slots, 1 sender of 2, 3 receivers, 2 of them killed", 2, [2], 3,
         kills=2, reapers=1, killable=("receiver",), quick=False),
    case("1 slot, 7 receivers one after another, 6 of them killed", 1, [7], 7, kills=6, reapers=1,
         killable=("receiver",), one_after_another=True, places=3),
    case("the same, walkers do not help", 1, [7], 7, "violation", kills=6, reapers=1,
         killable=("receiver",), one_after_another=True, places=3, help_on_skip=False),
    case("closing: empty, then flag", 2, [1], 1, "stuck", closing=EMPTY_THEN_FLAG),
    case("closing: flag, then empty, 1 kill", 2, [1], 2, "stuck", kills=1, reapers=1, closing=FLAG_THEN_EMPTY),
    case("the sweep does not move the orphan epoch, 1 kill", 1, [1], 2, "stuck",
         kills=1, reapers=1, bump_epoch=False),
    case("one scan is believed enough, 2 receivers killed", 2, [2], 3, "stuck",
         kills=2, reapers=1, killable=("receiver",), scan_until_none=False, quick=False),
]

if __name__ == "__main__":
    main(CASES)
