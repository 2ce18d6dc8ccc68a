"""The buffer queue: buffers are owned throughout, and published last.

What is modelled. Buffers with a word (generation, state, owner), a ring of cells (turn, buffer and
generation, of which only the remainder by `modulus` is compared, as the code has so many bits), the two
indices, which move only past multiples of K, and private cursors. Senders take a FREE buffer, fill it, mark it
READY and put it into the first cell that is not filled in this lap; or they think better of it. Receivers find it there,
read the cell again, take the buffer by compare-exchange on its word, use it in place, and free it or give it back. Nobody clears a cell:
a cell is alive while its buffer's word says READY of its generation; one that is dead is stepped over, and overwritten in the
next lap. The sweep notes in one pass over the ring which messages of the dead are in it, then frees what a dead sender was
filling and publishes again, under a new generation, what a dead peer had not yet put into the ring or not
yet acknowledged. Sleeping and statistics are left out; Full and Empty are retried. One step is one access to shared
memory; kills may fall before each, on reapers too. A message counts as sent when its cell is
filled, as received when its buffer is freed.

Either reapers are peers of their own, or receivers reap when they find nothing: the only receiver may then
be the only reaper. Onlookers ask whether there is a message, and whether all buffers wait to be received: sleepers depend on that.

A good end. Every sender has finished or died, the dead are reaped, every message sent was
received, and all buffers are FREE. If no receiver is left alive, nothing is asked.

Always required. The cells that are alive are neighbours, up to the last that was filled, so messages are taken in the order in which they
were published; none is overwritten that is alive; each index is at most K behind the first cell that is not filled (that is alive), and
never ahead of it. Nothing is taken before it was published, and no unwritten buffer; a buffer keeps its content as long as it is read; no
message is received twice, nor taken twice if nobody has died or given one back; one sender's messages are first taken
in their order; "Empty" is said only while nothing waits. An onlooker says "empty" only if no message waited all the time, "full" only if
no buffer was free all the time.

Expected to fail, and why. With fewer cells than buffers, a message is overwritten. A reaper that frees an unpublished
READY buffer loses a message when it sweeps after another reaper, which was publishing a dead receiver's. One that does not look
into the ring publishes a message a second time. A cell that is filled before its buffer is READY is stepped over, and its message
never found. What was TAKEN comes to life in its old cell, if it becomes READY in the same generation. If the cell is not read again, it may have been
overwritten since, and the word belong to a later generation that looks the same: it is taken before it is published, or
before older ones, or an onlooker takes it for what it looked for. Walkers have to help, or an index stays behind by more than onlookers look.
These have to ask the index at each step, since others may go round while they look.

Generations: one value more than there are cells is enough, kills or not, as each message that is published takes one and no more. So
a loan that is thought better of must take none, and the reaper of who was publishing goes on in the generation that it found.
"""

from explore import GONE, KILLS_LEFT, Case, Lives, Model, act, cas, choose, fail, load, main, raise_to, store

MESSAGE, ROOM = "is there a message", "is there room"
FREE, OWNED, READY, TAKEN = "FREE", "OWNED", "READY", "TAKEN"


def queue(cells, buffers, messages, receivers, kills=0, reapers=0, receivers_reap=False, onlookers=(), stride=1,
          modulus=None, better_thoughts=0, given_back=0, killable=None, read_again=True, ready_first=True,
          walkers_help=True, ask_again=True, look_again=True, republish_ready=True, look_into_ring=True,
          new_when_better=False, new_when_taken=True):
    """`messages` is how many each sender sends; `stride` is the K of "every K-th position"; a cell tells generations
    apart by their remainders by `modulus`. Each sender may think better of so many loans, each receiver give so
    many messages back. `killable` restricts the kills to kinds of peers. The rest are the rules; `new_when...` say when
    a new generation begins."""
    model = Model(kills)
    modulus = modulus or cells + 1
    senders = len(messages)
    counts = {"sender": senders, "receiver": receivers, "reaper": reapers, "onlooker": len(onlookers)}
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    names = [f"{kind}{i}" for i, kind in enumerate(kinds)]
    receiver_ids = range(senders, senders + receivers)
    reaper_ids = receiver_ids if receivers_reap else range(senders + receivers, senders + receivers + reapers)
    first_bit = [sum(messages[:i]) for i in range(senders)]

    lives = Lives(model, names)
    head, tail = model.cell("head", 0), model.cell("tail", 0)
    cell = model.cells("cell", [(0, None, None)] * cells)             # turn, buffer, generation
    word = model.cells("buffer", [(0, FREE, None)] * buffers)         # generation, state, owner
    content = model.cells("content", [None] * buffers)
    # What an onlooker writes down: the properties speak of it.
    sent, received = model.cell("sent", 0), model.cell("received", 0)
    last_taken = model.cells("last taken of", [-1] * senders)

    def is_alive(found, seen):
        """Whether a cell seems to refer to a message, going by its buffer's word."""
        return seen[1] == READY and (found[2] - seen[0]) % modulus == 0

    def waits(state, found):
        """Whether it does: the onlooker knows the whole generation."""
        return found[1] is not None and state[word[found[1]]][:2] == (found[2], READY)

    def positions(state):
        """The position at which each cell was filled last."""
        return [(state[there][0] - 1) * cells + place for place, there in enumerate(cell)]

    def waiting(state):
        return [position for position, there in zip(positions(state), cell) if waits(state, state[there])]

    def invariant(state):
        filled, alive = positions(state), waiting(state)
        end = max(filled) + 1
        first = min(alive, default=end)
        if min(filled) != end - cells:
            return "a cell was left out"
        if len(alive) != end - first:
            return "the cells alive are not neighbours"
        if not state[tail] <= end <= state[tail] + stride:
            return "the tail is ahead, or too far behind"
        if not state[head] <= first <= state[head] + stride:
            return "the head is ahead, or too far behind"
        return None

    # -- steps that also keep the onlooker's notes

    def fill(state, position, found, buffer, generation):
        """CAS of a cell that is free for this lap: the message is sent. Result: "filled", "refused", or a complaint."""
        there = cell[position % cells]
        if state[there] != found:
            return [("refused", ())]
        if waits(state, found):
            return [("overwrites a message that waits", ())]
        sender, k = state[content[buffer]]
        return [("filled", ((there, (position // cells + 1, buffer, generation)),
                            (sent, state[sent] | 1 << first_bit[sender] + k)))]

    def look_for_message(state, position):
        """Load the cell at a head position. Result: the cell, or a complaint."""
        found = state[cell[position % cells]]
        if found[0] <= position // cells and waiting(state):
            return [("says Empty while a message waits", ())]
        return [(found, ())]

    def take(state, buffer, seen, me):
        """CAS READY -> TAKEN. Result: "taken", "refused", or a complaint."""
        if state[word[buffer]] != seen:
            return [("refused", ())]
        if all(state[there][1:] != (buffer, seen[0]) for there in cell):
            return [("takes a message before it is published", ())]
        if state[content[buffer]] is None:
            return [("takes an unwritten buffer", ())]
        sender, k = state[content[buffer]]
        last = state[last_taken[sender]]
        if k > last + 1:
            return [("takes out of order", ())]
        if k <= last and not given_back and state[KILLS_LEFT] == kills:
            return [("takes a message for the second time", ())]
        return [("taken", ((word[buffer], (seen[0], TAKEN, me)), (last_taken[sender], max(k, last))))]

    def acknowledge(state, buffer, generation, message):
        """Store FREE. Result: a complaint or None."""
        if state[content[buffer]] != message:
            return [("a message changes while it is read", ())]
        sender, k = message
        bit = 1 << first_bit[sender] + k
        if state[received] & bit:
            return [("receives a message twice", ())]
        return [(None, ((word[buffer], (generation + 1, FREE, None)), (content[buffer], None),
                        (received, state[received] | bit)))]

    def free_for_dead(state, buffer, old, generation):
        """CAS to FREE by a reaper."""
        if state[word[buffer]] != old:
            return [(None, ())]
        return [(None, ((word[buffer], (generation, FREE, None)), (content[buffer], None)))]

    def note_waiting(state):
        return [(tuple(waiting(state)), ())]

    def note_free(state):
        return [(tuple((w, state[w]) for w in word if state[w][1] == FREE), ())]

    def still_waits(state, noted):
        return [(any(position in noted for position in waiting(state)), ())]

    def still_free(state, noted):
        return [(any(state[w] == seen for w, seen in noted), ())]

    # -- both sides

    def move(index, position):
        """Whoever passes a multiple of K moves the shared index there."""
        if (position + 1) % stride == 0:
            yield raise_to(index, position + 1)

    def step_over(index, position):
        """Result: where to go on, which the index may know better."""
        if walkers_help:
            yield from move(index, position)
        shared = yield load(index)
        return max(position + 1, shared)

    # -- publishing: senders, whoever gives back, and reapers on behalf of the dead

    def publish(buffer, generation, position):
        """Result: the new cursor."""
        while True:
            found = yield load(cell[position % cells])
            ahead = found[0] - position // cells
            if ahead == 0:
                outcome = yield act(fill, position, found, buffer, generation)
                if outcome == "filled":
                    yield from move(tail, position)
                    return position + 1
                if outcome != "refused":
                    yield fail(outcome)
            elif ahead < 0:
                yield fail("a sender calls the queue Corrupt")
            else:
                position = yield from step_over(tail, position)

    # -- senders

    def sender(me, count):
        cursor = k = 0
        loans_to_return = better_thoughts
        while k < count:
            buffer = 0
            while True:
                generation, state, owner = yield load(word[buffer])
                if state == FREE and (yield cas(word[buffer], (generation, FREE, None), (generation, OWNED, me))):
                    break
                buffer = (buffer + 1) % buffers
            if loans_to_return:
                thinks_better = yield choose(True, False)
                if thinks_better:
                    yield store(word[buffer], (generation + new_when_better, FREE, None))
                    loans_to_return -= 1
                    continue
            yield store(content[buffer], (me, k))
            if ready_first:
                yield store(word[buffer], (generation, READY, me))
            cursor = yield from publish(buffer, generation, cursor)
            if not ready_first:
                yield store(word[buffer], (generation, READY, me))
            k += 1

    # -- receivers

    def pop(me, position):
        """Result: (buffer and generation taken or None, cursor)."""
        while True:
            found = yield act(look_for_message, position)
            if isinstance(found, str):
                yield fail(found)
            ahead = found[0] - position // cells
            if ahead <= 0:
                shared = yield load(head)
                if shared > position:
                    position = shared
                    continue
                return (None, position)
            if ahead == 1:
                buffer = found[1]
                seen = yield load(word[buffer])
                if is_alive(found, seen):
                    if read_again:
                        again = yield load(cell[position % cells])
                        if again != found:
                            continue
                    outcome = yield act(take, buffer, seen, me)
                    if outcome == "taken":
                        yield from move(head, position)
                        return ((buffer, seen[0]), position + 1)
                    if outcome != "refused":
                        yield fail(outcome)
                    continue
            position = yield from step_over(head, position)

    def receiver(me):
        cursor = 0
        to_give_back = given_back
        while True:
            taken, cursor = yield from pop(me, cursor)
            if taken is None:
                if receivers_reap:
                    dead = yield lives.try_lock_dead_or_none(me)
                    if dead is not None:
                        yield from reap(me, dead)
                continue
            buffer, generation = taken
            if to_give_back:
                gives_back = yield choose(True, False)
                if gives_back:
                    to_give_back -= 1
                    yield store(word[buffer], (generation + new_when_taken, READY, me))
                    yield from publish(buffer, generation + new_when_taken, 0)
                    continue
            message = yield load(content[buffer])
            complaint = yield act(acknowledge, buffer, generation, message)
            if complaint:
                yield fail(complaint)

    # -- reaping

    def in_ring(dead):
        """Which messages of the dead peer are in the ring: a bit for each buffer."""
        bits = 0
        for i in range(cells):
            found = yield load(cell[i])
            if found[1] is None:
                continue
            seen = yield load(word[found[1]])
            if seen[2] == dead and is_alive(found, seen):
                bits |= 1 << found[1]
        return bits

    def sweep(me, dead):
        bits = 0
        if look_into_ring:
            bits = yield from in_ring(dead)
        for buffer in range(buffers):
            generation, state, owner = yield load(word[buffer])
            if owner != dead:
                continue
            if state == OWNED:
                yield act(free_for_dead, buffer, (generation, OWNED, dead), generation)
                continue
            if state == READY and bits >> buffer & 1:
                continue
            if state == READY and not republish_ready:
                yield act(free_for_dead, buffer, (generation, READY, dead), generation + 1)
                continue
            following = generation + (new_when_taken if state == TAKEN else 0)
            if (yield cas(word[buffer], (generation, state, dead), (following, READY, me))):
                yield from publish(buffer, following, 0)

    def reap(me, dead):
        yield from sweep(me, dead)
        yield lives.mark_gone(dead)

    def reaper(me):
        while True:
            dead = yield lives.try_lock_dead(me)
            yield from reap(me, dead)

    # -- onlookers

    def look(index):
        """The first position from the index on that is not to be stepped over, and whether its cell is filled."""
        known = yield load(index)
        position = known
        while position - known <= cells:
            found = yield load(cell[position % cells])
            ahead = found[0] - position // cells
            is_over = ahead > 0
            if index == head and ahead == 1:
                seen = yield load(word[found[1]])
                is_over = not is_alive(found, seen)
                if not is_over and look_again:
                    again = yield load(cell[position % cells])
                    if again != found:
                        continue
            if not is_over:
                return (position, ahead > 0)
            position += 1
            if ask_again:
                known = yield load(index)
                position = max(position, known)
        return (position, False)

    def onlooker(me, question):
        if question == MESSAGE:
            noted = yield act(note_waiting)
            first, has_message = yield from look(head)
            if not has_message:
                wrong = yield act(still_waits, noted)
                if wrong:
                    yield fail("says there is no message while one waits all the time")
        else:
            noted = yield act(note_free)
            end, is_filled = yield from look(tail)
            first, is_filled = yield from look(head)
            if end - first >= buffers:
                wrong = yield act(still_free, noted)
                if wrong:
                    yield fail("says that every buffer waits while one is free all the time")

    programs = {"sender": sender, "receiver": receiver, "reaper": reaper, "onlooker": onlooker}
    may_be_killed = killable or ("sender", "receiver", "reaper")
    for i, kind in enumerate(kinds):
        arguments = (i, messages[i]) if kind == "sender" else (i, onlookers[i - len(kinds)]) if kind == "onlooker" else (i,)
        model.peer(names[i], programs[kind], *arguments, killable=kind in may_be_killed)

    def good_end(state):
        if all(model.dead(state, r) for r in receiver_ids):
            return True
        if not all(model.finished(state, s) or state[lives.cells[s]] == GONE for s in range(senders)):
            return False
        if kills and all(model.dead(state, r) for r in reaper_ids):
            return True                                               # nobody left who could reap
        return (lives.nobody_left_to_reap(state)
                and state[sent] & ~state[received] == 0
                and all(state[w][1] == FREE for w in word))

    model.invariant = invariant
    model.good_end = good_end
    return model


def case(name, cells, buffers, messages, receivers, expected="ok", quick=True, **options):
    return Case("buffer: " + name, lambda: queue(cells, buffers, messages, receivers, **options), expected, quick)


CASES = [
    # Without kills.
    case("2 cells, 2 buffers, 1 sender of 4, 1 receiver", 2, 2, [4], 1),
    case("2 cells, 2 buffers, 2 senders of 1, 2 receivers", 2, 2, [1, 1], 2),
    case("2 cells, 2 buffers, 2 senders of 2, 1 receiver", 2, 2, [2, 2], 1),
    case("4 cells, 3 buffers, 1 sender of 6, 1 receiver, K=4", 4, 3, [6], 1, stride=4),
    case("2 cells, 2 buffers, 2 senders of 2, 2 receivers, K=2", 2, 2, [2, 2], 2, stride=2, quick=False),
    case("2 cells, 2 buffers, 2 senders, 1 receiver, a loan thought better of", 2, 2, [2, 1], 1, better_thoughts=1),
    case("1 cell, 1 buffer, 1 sender of 2, 2 receivers, a lease given back by each", 1, 1, [2], 2, given_back=1),
    case("2 cells, 2 buffers, loan thought better of, leases given back, K=2", 2, 2, [3], 2,
         better_thoughts=1, given_back=1, stride=2, quick=False),
    case("is there a message? 1 cell, 1 sender of 3", 1, 1, [3], 1, onlookers=[MESSAGE]),
    case("is there a message? 2 cells, 1 sender of 3, K=2", 2, 2, [3], 1, stride=2, onlookers=[MESSAGE]),
    case("is there a message? 2 cells, 1 sender of 3, 2 receivers, K=2", 2, 2, [3], 2,
         stride=2, onlookers=[MESSAGE], quick=False),
    case("is there room? 1 cell, 1 sender of 3", 1, 1, [3], 1, onlookers=[ROOM]),
    case("is there room? 2 cells, 1 sender of 4, K=2", 2, 2, [4], 1, stride=2, onlookers=[ROOM], quick=False),
    # With kills.
    case("1 cell, 1 buffer, 1 sender of 2, 1 receiver, 1 kill", 1, 1, [2], 1, kills=1, reapers=1),
    case("2 cells, 2 buffers, 2 senders of 1, 1 receiver, 1 kill", 2, 2, [1, 1], 1, kills=1, reapers=1),
    case("2 cells, 2 buffers, 1 sender of 2, 2 receivers, 1 kill", 2, 2, [2], 2, kills=1, reapers=1),
    case("2 cells, 2 buffers, 2 senders of 1, 2 receivers, 1 kill", 2, 2, [1, 1], 2,
         kills=1, reapers=1, quick=False),
    case("1 cell, thought better of, given back, 2 receivers, 1 kill", 1, 1, [1], 2,
         kills=1, reapers=1, better_thoughts=1, given_back=1),
    case("2 cells, given back, 1 sender of 2, 2 receivers, 1 kill", 2, 2, [2], 2,
         kills=1, reapers=1, given_back=1, quick=False),
    case("is there a message? 1 cell, 1 sender of 2, 1 kill", 1, 1, [2], 1, kills=1, reapers=1, onlookers=[MESSAGE]),
    case("2 cells, 2 buffers, 2 senders of 1, 1 receiver that reaps, 1 kill", 2, 2, [1, 1], 1,
         kills=1, receivers_reap=True),
    case("4 cells, 3 buffers, 1 sender of 3, 2 receivers that reap, 1 kill", 4, 3, [3], 2,
         kills=1, receivers_reap=True, quick=False),
    case("1 cell, 1 buffer, 1 sender of 2, 2 receivers that reap, 2 kills", 1, 1, [2], 2,
         kills=2, receivers_reap=True),
    case("2 cells, 2 buffers, 1 sender of 2, 2 receivers that reap, 2 kills", 2, 2, [2], 2,
         kills=2, receivers_reap=True),
    case("2 cells, 2 buffers, 1 sender of 3, 2 receivers that reap, 2 kills, K=2", 2, 2, [3], 2,
         kills=2, receivers_reap=True, stride=2, quick=False),
    case("2 cells, 2 buffers, 2 senders of 1, 2 receivers that reap, 2 kills", 2, 2, [1, 1], 2,
         kills=2, receivers_reap=True, quick=False),
    case("1 cell, 1 buffer, 1 sender of 2, 1 receiver, 2 kills, 2 reapers", 1, 1, [2], 1, kills=2, reapers=2),
    case("1 cell, 1 buffer, 1 sender of 1, 2 receivers, 2 kills, 2 reapers", 1, 1, [1], 2,
         kills=2, reapers=2, quick=False),
    case("2 cells, 2 buffers, 2 senders of 1, 1 receiver, 2 kills, 2 reapers", 2, 2, [1, 1], 1,
         kills=2, reapers=2, quick=False),
    case("2 cells, 2 buffers, 1 sender of 2, 2 receivers, 2 kills, 2 reapers", 2, 2, [2], 2,
         kills=2, reapers=2, quick=False),
    # What each rule is for.
    case("fewer cells than buffers, 1 and 2", 1, 2, [1, 1], 1, "violation"),
    case("fewer cells than buffers, 2 and 3", 2, 3, [3], 1, "violation"),
    case("READY after the cell is filled", 1, 1, [1], 1, "violation", ready_first=False),
    case("who takes does not read the cell again", 2, 2, [4], 2, "violation", stride=2, read_again=False),
    case("walkers do not help", 2, 2, [2, 1], 1, "violation", walkers_help=False),
    case("as few generations as cells", 2, 2, [3], 2, "violation", modulus=2),
    case("a loan thought better of takes a generation", 1, 1, [2], 2, "violation",
         better_thoughts=2, new_when_better=True),
    case("given back in the same generation", 1, 1, [1], 1, "violation", given_back=1, new_when_taken=False),
    case("taken by the dead, in the same generation", 1, 1, [1], 2, "violation",
         kills=1, reapers=1, new_when_taken=False),
    case("the sweep does not look into the ring, 1 kill", 2, 2, [2], 1, "violation",
         kills=1, reapers=1, look_into_ring=False),
    case("the sweep frees an unpublished READY, 2 kills", 1, 1, [1], 2, "stuck",
         kills=2, reapers=2, republish_ready=False),
    case("is there room? who looks does not read the cell again", 2, 2, [4], 1, "violation",
         stride=2, onlookers=[ROOM], look_again=False, quick=False),
    case("is there a message? who looks does not ask the index again", 4, 4, [6], 1, "violation",
         stride=4, onlookers=[MESSAGE], ask_again=False, quick=False),
]

if __name__ == "__main__":
    main(CASES)
