"""The byte stream: a ring that grows, two positions, and ends that one has at a time and the next one takes over.

What is modelled. The areas of a ring, of one byte each access; `tail` and the producer's area with the starts of all areas, `head` and the
consumer's area; a limit, which is one's copy of the other's position; the words that say who has which end; the event counts
`data` and `space` (`eventcount.py`, complete, waking all, with a notification by whoever was not killed before it, and a rousing
by the reaper). To write: bytes, then `tail`, then a notification. To read: the writer's side, `tail`, the area and
the starts; bytes; then `head`, then a notification. To grow: the starts of all areas up to the new one, then its number.
Whoever leaves closes its side and wakes all; a reaper does so for the dead. Writers and readers come one
after the other: the next one claims an end that is closed, and goes on from the positions and areas that it finds. Closing and
claiming are one atomic step here (`roles.py` has them). Kills fall before every step, on reapers too.

A good end. Every writer has written all that it had, has found no reader, or died; whoever died was reaped. Every reader has died, or
left after as many bytes as it was to read, or was told the end when no writer was to come any more. If the last of them was told that,
every byte that was written was read.

Always required. Nobody writes over a byte that waits. A reader reads what was written at that position, by whomever. Of what a writer's
operations have said to be written, the bytes of dead ones included, none is missing or out of order: positions are read in turn, and none
is given back that was not copied. The positions make sense to whoever takes over.

Expected to fail, and why. `tail` or `head` that are stored before the bytes are copied. Whoever looks for the writer after it has found the ring
empty is told the end before the last bytes, which came in between. An area's number before its start, or after a byte that lies
there, and an area that is passed over without a start: the reader goes on at the wrong place. A reader that reads the number before `tail`
reads a byte there as if it lay in the area before. A reader that does not store its area, or only after it has moved beyond the start: a kill in
between, and the next one reads the old area. A reader that follows before it has emptied an area. A successor that takes the ring to be
free. Without a notification, or without the reaper's rousing, somebody sleeps for ever; and so it does if the reaper wakes before it closes.
"""

from eventcount import WAKE_ALL
from explore import Case, Lives, Model, act, fail, load, main, store
from mutex import event_count, forgetful, wait_until

OPEN, CLOSED, CLOSED_FOR_GOOD = "open", "closed", "closed, and nobody is to come"
BEFORE_NUMBER, AFTER_NUMBER, LAST_ONE_ONLY = "before the number", "after the number", "of the last area only"     # starts are stored
BEFORE_HEAD, AFTER_HEAD, NEVER = "before head", "after head", "never"                          # the reader's area is stored
CLOSES_FIRST, WAKES_FIRST, ONLY_CLOSES = "closes, then wakes", "wakes, then closes", "only closes"      # what a reaper does


def pipe(capacity, writers, readers=(None,), growth=(), piece=2, kills=0, reapers=0, killable=None, bytes_first=True, copies_first=True,
         side_first=True, data_notified=True, space_notified=True, starts=BEFORE_NUMBER, grows_first=True, tail_first=True,
         area_stored=BEFORE_HEAD, empties_first=True, successor_looks=True, reaping=CLOSES_FIRST):
    """`writers` says for each how many bytes it has, which it writes `piece` at a time; `readers` how many bytes each reads, or None for all until
    the end. `growth` says for each writer after how many of its bytes it goes on in which area, if that is a larger one. `killable` names the
    kinds of peers to which the kills are restricted."""
    model = Model(kills)
    writer_ids = range(len(writers))
    reader_ids = range(len(writers), len(writers) + len(readers))
    reaper_ids = range(len(writers) + len(readers), len(writers) + len(readers) + reapers)
    lives = Lives(model, range(len(writers) + len(readers) + reapers))
    areas = 1 + max((area for steps in growth for _, area in steps), default=0)

    tail, tail_area = model.cell("tail", 0), model.cell("tail's area", 0)
    starts_of = [None] + model.cells("start", [0] * (areas - 1))
    head, head_area = model.cell("head", 0), model.cell("head's area", 0)
    cell_of = [model.cells(f"area{area}", [None] * (capacity << area)) for area in range(areas)]
    writer_side, reader_side = model.cell("writer", 0), model.cell("reader", len(writers))     # whose the end is, or CLOSED
    data, space = event_count(model, "data "), event_count(model, "space ")
    # An onlooker's notes: who wrote each byte, in order; who comes next.
    written = model.cell("written", ())
    next_writer, next_reader = model.cell("next writer", 1), model.cell("next reader", 1)

    forgetful(model, lives, [data, space])
    forget = model.on_kill

    def on_kill(memory, process):
        """One that has no end yet does not exist yet."""
        if process in writer_ids and memory[next_writer] <= process:
            return False
        if process in reader_ids and memory[next_reader] <= process - len(writers):
            return False
        return forget(memory, process)

    model.on_kill = on_kill

    # -- steps that also keep the onlooker's notes

    def claim(state, side, me, turn, nth):
        if nth == 0:
            return [(None, ())]
        return [(None, ((side, me), (turn, nth + 1)))] if state[side] == CLOSED and state[turn] == nth else []

    def leave(state, side, me):
        return [(None, ((side, CLOSED),) if state[side] == me else ())]

    def write_byte(state, area, position, me):
        """Result: a complaint or None. What is there must not be a byte that waits."""
        cell = cell_of[area][position % len(cell_of[area])]
        there = state[cell]
        if there is not None and state[head] <= there[0] < state[tail]:
            return [("writes over a byte that waits", ())]
        return [(None, ((cell, (position, me)),))]

    def publish(state, end, me):
        return [(None, ((tail, end), (written, state[written] + (me,) * (end - len(state[written])))))]

    def copy_byte(state, area, position):
        """Result: a complaint or None."""
        if position >= len(state[written]):
            return [("reads what was not written", ())]
        there = state[cell_of[area][position % len(cell_of[area])]]
        return [(None if there == (position, state[written][position]) else "reads another byte", ())]

    # -- writers

    def room(me, area, position):
        """Result: how much there is, a complaint, or None while there is none."""
        if (yield load(reader_side)) == CLOSED:
            return CLOSED
        seen = yield load(head)
        start = 0
        if area > 0:
            start = yield load(starts_of[area])
        used = position - seen
        here = min(used, position - start) if area else used
        if used < 0 or here > len(cell_of[area]):
            return "the writer calls the pipe corrupt"
        return len(cell_of[area]) - here or None

    def grow(area, following, position):
        if starts == AFTER_NUMBER:
            yield store(tail_area, following)
        for passed in range(area + 1, following + 1):
            if starts != LAST_ONE_ONLY or passed == following:
                yield store(starts_of[passed], position)
        if starts != AFTER_NUMBER and grows_first:
            yield store(tail_area, following)

    def due(steps, done, area):
        """The area to go on in after `done` bytes, if there is one beyond `area`."""
        return max((into for after, into in steps if after == done and into > area), default=None)

    def until_next(steps, done, limit):
        return min([limit] + [after - done for after, _ in steps if after > done])

    def writer(me, count, steps):
        yield act(claim, writer_side, me, next_writer, me)
        position = yield load(tail)
        area = yield load(tail_area)
        known = 0 if successor_looks or me == 0 else len(cell_of[area])
        done = 0
        late = False
        while done < count:
            following = due(steps, done, area)
            if following is not None:
                yield from grow(area, following, position)
                late = not grows_first and starts == BEFORE_NUMBER
                area = following
                known = len(cell_of[area])
            limit = until_next(steps, done, min(piece, count - done))
            if known < limit:
                found = yield from wait_until(space, me, room, me, area, position)
                if found == CLOSED:
                    break
                if isinstance(found, str):
                    yield fail(found)
                known = found
            limit = min(limit, known)
            if not bytes_first:
                yield act(publish, position + limit, me)
            for ahead in range(limit):
                complaint = yield act(write_byte, area, position + ahead, me)
                if complaint:
                    yield fail(complaint)
            if bytes_first:
                yield act(publish, position + limit, me)
            if late:
                yield store(tail_area, area)
                late = False
            position += limit
            known -= limit
            done += limit
            if data_notified:
                yield from data.notify(WAKE_ALL)
        yield act(leave, writer_side, me)
        yield from data.wake_everybody()

    # -- readers

    def look(area, position):
        """Result: the area where the next byte lies, and how many there are."""
        if tail_first:
            last = yield load(tail)
        number = yield load(tail_area)
        if not tail_first:
            last = yield load(tail)
        here = last - position
        while area < number:
            start = yield load(starts_of[area + 1])
            if start != position and empties_first:
                if start > position:                                  # else it is far ahead: positions go round
                    here = min(here, start - position)
                break
            area += 1
            if area_stored == BEFORE_HEAD:
                yield store(head_area, area)
        if here < 0 or here > len(cell_of[area]):
            yield fail("the reader calls the pipe corrupt")
        return (area, here)

    def available(area, position):
        """Result: as `look`, with no bytes at the end, and the writer's side; None if there are none yet."""
        if side_first:
            side = yield act(look_for_writer)
            area, here = yield from look(area, position)
        else:
            area, here = yield from look(area, position)
            side = yield act(look_for_writer)
        return (area, here, side) if here > 0 or side != OPEN else None

    def look_for_writer(state):
        """Load the writer's side. Of one that is CLOSED an onlooker knows whether another writer is to come."""
        if state[writer_side] != CLOSED:
            return [(OPEN, ())]
        return [(CLOSED_FOR_GOOD if state[next_writer] == len(writers) else CLOSED, ())]

    def another_writer_came(state):
        """Blocks until it has: the stream goes on after its end."""
        return [(None, ())] if state[writer_side] != CLOSED or state[next_writer] == len(writers) else []

    def reader(me, count):
        yield act(claim, reader_side, me, next_reader, me - len(writers))
        position = yield load(head)
        area = yield load(head_area)
        while count is None or count > 0:
            area, here, side = yield from wait_until(data, me, available, area, position)
            if here == 0:
                if side == CLOSED_FOR_GOOD:
                    break
                yield act(another_writer_came)
                continue
            here = min(here, piece)
            if count is not None:
                here = min(here, count)
                count -= here
            if not copies_first:
                yield store(head, position + here)
            for ahead in range(here):
                complaint = yield act(copy_byte, area, position + ahead)
                if complaint:
                    yield fail(complaint)
            if copies_first:
                yield store(head, position + here)
            if area_stored == AFTER_HEAD:
                yield store(head_area, area)
            position += here
            if space_notified:
                yield from space.notify(WAKE_ALL)
        yield act(leave, reader_side, me)
        yield from space.wake_everybody()

    # -- the others

    def reaper(me):
        while True:
            dead = yield lives.try_lock_dead(me)
            if reaping == WAKES_FIRST:
                yield from data.wake_everybody()
                yield from space.wake_everybody()
            yield act(leave, writer_side, dead)
            yield act(leave, reader_side, dead)
            if reaping == CLOSES_FIRST:
                yield from data.wake_everybody()
                yield from space.wake_everybody()
            yield lives.mark_gone(dead)

    def may_die(kind):
        return killable is None or kind in killable

    for i in writer_ids:
        model.peer(f"writer{i}", writer, i, writers[i], growth[i] if i < len(growth) else (), killable=may_die("writer"))
    for i in reader_ids:
        model.peer(f"reader{i - len(writers)}", reader, i, readers[i - len(writers)], killable=may_die("reader"))
    for i in reaper_ids:
        # Somebody is left who reaps.
        model.peer(f"reaper{i - reaper_ids[0]}", reaper, i, killable=may_die("reaper") and i < reaper_ids[-1])

    def good_end(state):
        ends = list(writer_ids) + list(reader_ids)
        if not all(model.finished(state, i) or model.dead(state, i) for i in ends):
            return False
        if not lives.nobody_left_to_reap(state, ends):
            return False
        last = reader_ids[-1]
        return model.dead(state, last) or readers[-1] is not None or state[head] == state[tail] == len(state[written])

    model.good_end = good_end
    return model


def case(name, capacity, writers, expected="ok", quick=True, **options):
    return Case("pipe: " + name, lambda: pipe(capacity, writers, **options), expected, quick)


GROWN = (((1, 1),),)                                        # after one byte, twice as large
OVER_ONE = (((1, 2),),)                                     # four times
TWICE = (((1, 1), (2, 2)),)
BOTH_GROW = (((1, 1),), ((0, 2),))

CASES = [
    case("3 bytes through a ring of 1", 1, [3]),
    case("4 bytes through a ring of 2", 2, [4]),
    case("3 bytes through a ring of 1, 1 kill", 1, [3], kills=1, reapers=1),
    case("4 bytes through a ring of 2, 2 kills", 2, [4], kills=2, reapers=2, quick=False),
    case("2 writers, 1 kill", 1, [2, 1], kills=1, reapers=1),
    case("2 readers, 1 kill", 1, [3], readers=(1, None), kills=1, reapers=1),
    case("2 writers, 2 kills", 1, [2, 1], kills=2, reapers=1, quick=False),
    case("2 readers, 2 kills", 1, [2], readers=(1, None), kills=2, reapers=1, quick=False),
    case("grown while it is read", 1, [4], growth=GROWN),
    case("grown twice while it is read", 1, [4], growth=TWICE),
    case("grown over an area while it is read, 1 kill", 1, [4], growth=OVER_ONE, kills=1, reapers=1),
    case("grown by two writers, 1 kill", 1, [2, 2], growth=BOTH_GROW, kills=1, reapers=1),
    case("grown by two writers, 2 kills", 1, [2, 1], growth=BOTH_GROW, kills=2, reapers=1, quick=False),
    case("grown, 2 readers, 2 kills", 1, [3], readers=(2, None), growth=GROWN, kills=2, reapers=1, quick=False),
    case("grown, 2 readers, 1 kill", 1, [3], readers=(2, None), growth=GROWN, kills=1, reapers=1),
    case("tail before the bytes", 1, [2], "violation", bytes_first=False),
    case("head before the bytes are copied", 1, [2], "violation", copies_first=False),
    case("the writer's side after the bytes", 1, [2], "stuck", side_first=False),
    case("no notification of bytes", 1, [2], "stuck", data_notified=False),
    case("no notification of room", 1, [2], "stuck", space_notified=False),
    case("an area's number before its start", 1, [3], "violation", growth=GROWN, starts=AFTER_NUMBER),
    case("an area's number after a byte in it", 1, [3], "violation", growth=GROWN, grows_first=False),
    case("an area passed over has no start", 1, [3], "violation", growth=OVER_ONE, starts=LAST_ONE_ONLY),
    case("the area is read before tail", 1, [3], "violation", growth=GROWN, tail_first=False),
    case("an area is followed before the last is empty", 1, [3], "violation", growth=GROWN, empties_first=False),
    case("the reader's area is not stored", 1, [4], "violation", readers=(3, None), growth=GROWN, area_stored=NEVER),
    case("the reader's area is stored after head", 1, [4], "violation", readers=(3, None), growth=GROWN, kills=1, reapers=1,
         area_stored=AFTER_HEAD),
    case("a successor takes the ring to be free", 2, [1, 2], "violation", successor_looks=False),
    case("the reaper wakes before it closes", 1, [2], "stuck", kills=1, reapers=1, reaping=WAKES_FIRST),
    case("the reaper does not wake", 1, [2], "stuck", kills=1, reapers=1, reaping=ONLY_CLOSES),
]

if __name__ == "__main__":
    main(CASES)
