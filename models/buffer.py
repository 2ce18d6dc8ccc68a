"""The buffer queue: buffers are owned throughout, and published last.

What is modelled. Buffers with a word (generation, state, owner), a ring of cells (turn,
buffer and generation), the two indices; senders that take a FREE buffer, fill it, mark it
READY and put it into a cell; receivers that find it there, take it by compare-exchange on
the buffer's word, clear the cell, use it in place and free it; helping, so that nobody waits
for a stopped peer; the sweep, which frees what a dead sender was filling and publishes again,
under a new generation, what a dead sender had not yet put into the ring or a dead receiver had
not yet acknowledged. Private magazines and sleeping are left out; Full and Empty are retried.
One step is one access to shared memory; kills may fall before each, on reapers too. A
message counts as sent when its cell is stored, as received when its buffer is freed.

Either reapers are peers of their own, or receivers reap when they find nothing: the only
receiver may then be the only reaper.

A good end. Every sender has finished or died, the dead are reaped, every message sent was
received, all buffers are FREE and all cells empty. If no receiver is left alive, nothing
is asked.

Always required. No unwritten buffer is read; no message is received twice; one sender's
messages are first taken in their order, as long as nobody has died.

Expected to fail, and why. With fewer cells than buffers, a reaper that is the only receiver
finds the ring full of what only it could take out, and tries for ever. A reaper that frees
an unpublished READY buffer loses a message when it sweeps after another reaper, which was
publishing a dead receiver's.
"""

from explore import GONE, KILLS_LEFT, Case, Lives, Model, act, cas, fail, load, main, store

FREE, OWNED, READY, TAKEN = "FREE", "OWNED", "READY", "TAKEN"
NONE = (None, None)                                                  # the buffer and generation of an empty cell


def queue(cells, buffers, messages, receivers, kills=0, reapers=0, receivers_reap=False,
          republish_ready=True, killable=None):
    """`messages` is how many each sender sends. `killable` restricts the kills to kinds of peers."""
    model = Model(kills)
    senders = len(messages)
    names = ([f"sender{i}" for i in range(senders)]
             + [f"receiver{i}" for i in range(senders, senders + receivers)]
             + [f"reaper{i}" for i in range(senders + receivers, senders + receivers + reapers)])
    receiver_ids = range(senders, senders + receivers)
    reaper_ids = receiver_ids if receivers_reap else range(senders + receivers, len(names))
    first_bit = [sum(messages[:i]) for i in range(senders)]

    lives = Lives(model, names)
    head, tail = model.cell("head", 0), model.cell("tail", 0)
    cell = model.cells("cell", [(0, NONE)] * cells)
    word = model.cells("buffer", [(0, FREE, None)] * buffers)
    content = model.cells("content", [None] * buffers)
    sent, received = model.cell("sent", 0), model.cell("received", 0)
    last_taken = model.cells("last taken of", [-1] * senders)

    # -- steps that also keep the onlooker's notes

    def store_cell(state, position, entry, bit):
        """CAS of an empty cell to a full one: the message is sent."""
        place, lap = cell[position % cells], position // cells
        if state[place] != (lap, NONE):
            return [(False, ())]
        return [(True, ((place, (lap, entry)), (sent, state[sent] | bit)))]

    def take_buffer(state, buffer, seen, me):
        """CAS READY -> TAKEN; result: "taken", "refused", or a complaint."""
        if state[word[buffer]] != seen:
            return [("refused", ())]
        taken = (word[buffer], (seen[0], TAKEN, me))
        if state[content[buffer]] is None:
            return [("takes an unwritten buffer", ())]
        sender, k = state[content[buffer]]
        if state[KILLS_LEFT] < kills:
            return [("taken", (taken,))]
        if k <= state[last_taken[sender]]:
            return [("takes out of order", ())]
        return [("taken", (taken, (last_taken[sender], k)))]

    def acknowledge(state, buffer, generation, message):
        """Store FREE; result: a complaint or None."""
        sender, k = message
        bit = 1 << first_bit[sender] + k
        if state[received] & bit:
            return [("received twice", ())]
        return [(None, ((word[buffer], (generation + 1, FREE, None)), (received, state[received] | bit)))]

    def raise_if_equal(index, position):
        return cas(index, position, position + 1)

    # -- publishing: senders, and reapers on behalf of the dead

    def publish(buffer, generation, bit):
        while True:
            position = yield load(tail)
            lap = position // cells
            turn, entry = yield load(cell[position % cells])
            if (turn, entry) == (lap, NONE):
                if (yield act(store_cell, position, (buffer, generation), bit)):
                    yield raise_if_equal(tail, position)
                    return
            elif turn >= lap:                                         # filled already
                yield raise_if_equal(tail, position)
            else:                                                     # not cleared since the last lap
                yield from help_head()

    def help_head():
        position = yield load(head)
        lap = position // cells
        turn, entry = yield load(cell[position % cells])
        if turn == lap and entry != NONE:
            generation, state, owner = yield load(word[entry[0]])
            if (generation, state) == (entry[1], READY):
                return                                                # not taken: really full
            yield cas(cell[position % cells], (lap, entry), (lap + 1, NONE))
            yield raise_if_equal(head, position)
        elif turn > lap:
            yield raise_if_equal(head, position)

    # -- senders

    def sender(me, count):
        for k in range(count):
            buffer = 0
            while True:
                generation, state, owner = yield load(word[buffer])
                if state == FREE and (yield cas(word[buffer], (generation, FREE, None), (generation, OWNED, me))):
                    break
                buffer = (buffer + 1) % buffers
            yield store(content[buffer], (me, k))
            yield store(word[buffer], (generation, READY, me))
            yield from publish(buffer, generation, 1 << first_bit[me] + k)

    # -- receivers

    def pop(me):
        """Result: whether a message was received."""
        position = yield load(head)
        lap = position // cells
        turn, entry = yield load(cell[position % cells])
        if turn > lap:
            yield raise_if_equal(head, position)
            return True                                               # not Empty: look again
        if turn < lap or entry == NONE:
            return False
        buffer, generation = entry
        seen = yield load(word[buffer])
        outcome = "refused"
        if seen[0] == generation and seen[1] == READY:
            if (yield load(cell[position % cells])) != (turn, entry):
                return True
            outcome = yield act(take_buffer, buffer, seen, me)
            if outcome == "refused":
                return True
            if outcome != "taken":
                yield fail(outcome)
        yield cas(cell[position % cells], (lap, entry), (lap + 1, NONE))
        yield raise_if_equal(head, position)
        if outcome == "taken":
            message = yield load(content[buffer])
            complaint = yield act(acknowledge, buffer, generation, message)
            if complaint:
                yield fail(complaint)
        return True

    def receiver(me):
        while True:
            found = yield from pop(me)
            if not found and receivers_reap:
                dead = yield lives.try_lock_dead_or_none(me)
                if dead is not None:
                    yield from reap(me, dead)

    # -- reaping

    def sweep(me, dead):
        for buffer in range(buffers):
            generation, state, owner = yield load(word[buffer])
            if owner != dead:
                continue
            if state == OWNED:
                yield cas(word[buffer], (generation, OWNED, dead), (generation + 1, FREE, None))
                continue
            if state == READY:
                in_ring = yield from is_in_ring(buffer, generation)
                if in_ring:
                    continue
                if not republish_ready:
                    yield cas(word[buffer], (generation, READY, dead), (generation + 1, FREE, None))
                    continue
            if (yield cas(word[buffer], (generation, state, dead), (generation + 1, READY, me))):
                sender, k = yield load(content[buffer])
                yield from publish(buffer, generation + 1, 1 << first_bit[sender] + k)

    def is_in_ring(buffer, generation):
        for i in range(cells):
            turn, entry = yield load(cell[i])
            if entry == (buffer, generation):
                return True
        return False

    def reap(me, dead):
        yield from sweep(me, dead)
        yield lives.mark_gone(dead)

    def reaper(me):
        while True:
            dead = yield lives.try_lock_dead(me)
            yield from reap(me, dead)

    may_be_killed = killable or ("sender", "receiver", "reaper")
    for i, name in enumerate(names):
        kind = name.rstrip("0123456789")
        program = {"sender": sender, "receiver": receiver, "reaper": reaper}[kind]
        arguments = (i, messages[i]) if kind == "sender" else (i,)
        model.peer(name, program, *arguments, killable=kind in may_be_killed)

    def good_end(state):
        if all(model.dead(state, r) for r in receiver_ids):
            return True
        if not all(model.finished(state, s) or state[lives.cells[s]] == GONE for s in range(senders)):
            return False
        if kills and all(model.dead(state, r) for r in reaper_ids):
            return True                                               # nobody left who could reap
        return (lives.nobody_left_to_reap(state)
                and state[sent] & ~state[received] == 0
                and all(state[w][1] == FREE for w in word)
                and all(state[c][1] == NONE for c in cell))

    model.good_end = good_end
    return model


def case(name, cells, buffers, messages, receivers, expected="ok", quick=True, **options):
    return Case("buffer: " + name, lambda: queue(cells, buffers, messages, receivers, **options), expected, quick)


CASES = [
    case("2 cells, 2 buffers, 1 sender of 3, 1 receiver", 2, 2, [3], 1),
    case("2 cells, 2 buffers, 2 senders of 1, 2 receivers", 2, 2, [1, 1], 2),
    case("2 cells, 2 buffers, 2 senders of 2, 1 receiver", 2, 2, [2, 2], 1),
    case("1 cell, 1 buffer, 1 sender of 2, 1 receiver, 1 kill", 1, 1, [2], 1, kills=1, reapers=1),
    case("2 cells, 2 buffers, 2 senders of 1, 1 receiver, 1 kill", 2, 2, [1, 1], 1, kills=1, reapers=1),
    case("2 cells, 2 buffers, 1 sender of 2, 2 receivers, 1 kill", 2, 2, [2], 2, kills=1, reapers=1),
    case("2 cells, 2 buffers, 2 senders of 1, 2 receivers, 1 kill", 2, 2, [1, 1], 2,
         kills=1, reapers=1, quick=False),
    case("2 cells, 2 buffers, 2 senders of 1, 1 receiver that reaps, 1 kill", 2, 2, [1, 1], 1,
         kills=1, receivers_reap=True),
    case("2 cells, 2 buffers, 1 sender of 2, 2 receivers that reap, 2 kills", 2, 2, [2], 2,
         kills=2, receivers_reap=True),
    case("4 cells, 3 buffers, 1 sender of 3, 2 receivers that reap, 1 kill", 4, 3, [3], 2,
         kills=1, receivers_reap=True),
    case("2 cells, 2 buffers, 2 senders of 1, 2 receivers that reap, 2 kills", 2, 2, [1, 1], 2,
         kills=2, receivers_reap=True, quick=False),
    case("1 cell, 1 buffer, 1 sender of 1, 2 receivers, 2 kills, 2 reapers", 1, 1, [1], 2, kills=2, reapers=2),
    case("2 cells, 2 buffers, 2 senders of 1, 1 receiver, 2 kills, 2 reapers", 2, 2, [1, 1], 1,
         kills=2, reapers=2, quick=False),
    case("2 cells, 2 buffers, 1 sender of 2, 2 receivers, 2 kills, 2 reapers", 2, 2, [2], 2,
         kills=2, reapers=2, quick=False),
    case("1 cell, 2 buffers, a receiver that reaps, 1 kill", 1, 2, [1, 1], 1, "stuck", kills=1, receivers_reap=True),
    case("the sweep frees an unpublished READY, 2 kills", 1, 1, [1], 2, "stuck",
         kills=2, reapers=2, republish_ready=False),
]

if __name__ == "__main__":
    main(CASES)
