"""Named segments: creating, opening, replacing and removing, and the door.

What is modelled. A name, which stands for a file or for none; files, each with a door (a
lock that one process at a time has), the locks of those who are attached, and whether a
segment was ever completed in it. To create: make a file without a name, attach, and link
the name to it if it is free. To open: open the file that has the name, enter its door,
compare the file with the one that has the name now, attach, leave the door. To replace (a
file that was never completed, or on request one that nobody is attached to): enter the
door, compare, see that nobody is attached, take the name away, leave the door, create. To
remove: enter the door, compare, take the name away. One step is one system call; a kill
may fall before each, and then the kernel takes the locks back.

A good end. Everybody who lives has come through.

Always required. Whoever attaches by name does so to the file that has the name at that
moment. Who takes a name away takes it from the file that it has looked at. Nobody who is
attached sees the name taken away by a replacer.

Expected to fail, and why. `opens without the door`: between the comparison and the lock the
file may lose its name, so that its opener is alone in a file that nobody else will find,
or the file is found quiet and replaced just when its opener attaches. `compares outside the
door`: the same. `removes without the door`: a replacer that is inside takes the name from
the new file that another process has just linked.
"""

from explore import Case, Model, act, fail, load, main, store

WHOLE, INCOMPLETE, UNUSED = "whole", "incomplete", "unused"
NOTHING = None


def naming(openers=0, replacers=0, removers=0, start=NOTHING, files=3, rounds=1, kills=0,
           open_by_door=True, compare_inside=True, remove_by_door=True):
    """`start` is what file 0, which has the name at first, holds; NOTHING if no file has it."""
    model = Model(kills)
    processes = openers + replacers + removers
    name = model.cell("name", NOTHING if start is NOTHING else 0)
    door = model.cells("door", [NOTHING] * files)
    attached = model.cells("attached", [frozenset()] * files)
    content = model.cells("content", [UNUSED if start is NOTHING or f else start for f in range(files)])

    def on_kill(memory, process):
        for f in range(files):
            if memory[door[f]] == process:
                memory[door[f]] = NOTHING
            memory[attached[f]] = memory[attached[f]] - {process}
        return True

    model.on_kill = on_kill

    # -- system calls

    def make_file(state, me):
        """A file that no one has named or is attached to; the one that held it before is gone."""
        for f in range(files):
            if state[name] != f and not state[attached[f]] and state[door[f]] is NOTHING:
                return [(f, ((content[f], WHOLE), (attached[f], frozenset([me]))))]
        return []

    def link(state, f):
        return [(True, ((name, f),))] if state[name] is NOTHING else [(False, ())]

    def enter(state, f, me):
        return [(None, ((door[f], me),))] if state[door[f]] is NOTHING else []

    def attach(state, f, me):
        if state[name] != f:
            return [("lost", ())]
        return [("fine", ((attached[f], state[attached[f]] | {me}),))]

    def detach(state, f, me):
        return [(None, ((attached[f], state[attached[f]] - {me}),))]

    def unlink(state, f, must_be_quiet):
        if state[name] != f:
            return [("another's", ())]
        if must_be_quiet and state[attached[f]]:
            return [("in use", ())]
        return [("fine", ((name, NOTHING),))]

    # -- the protocol

    def found(me):
        """Result: the file, or NOTHING if the name was taken."""
        f = yield act(make_file, me)
        if (yield act(link, f)):
            return f
        yield act(detach, f, me)
        return NOTHING

    def go_inside(f, me):
        """Result: whether the file has the name. If not, the door is left again."""
        if not compare_inside:
            still = (yield load(name)) == f
            yield act(enter, f, me)
        else:
            yield act(enter, f, me)
            still = (yield load(name)) == f
        if not still:
            yield store(door[f], NOTHING)
        return still

    def clear_the_way(me, quiet_too):
        """Result: whether there may be room for a new file now."""
        f = yield load(name)
        if f is NOTHING:
            return True
        inside = yield from go_inside(f, me)
        if not inside:
            return False
        kind = yield load(content[f])
        users = yield load(attached[f])
        gone = False
        if not users and (quiet_too or kind == INCOMPLETE):
            outcome = yield act(unlink, f, True)
            if outcome == "another's":
                yield fail("the name was taken from another file")
            if outcome == "in use":
                yield fail("replaced while somebody is attached")
            gone = True
        yield store(door[f], NOTHING)
        return gone

    def come(me):
        """open_or_create. Result: the file."""
        while True:
            f = yield load(name)
            if f is NOTHING:
                f = yield from found(me)
                if f is not NOTHING:
                    return f
                continue
            if open_by_door:
                inside = yield from go_inside(f, me)
                if not inside:
                    continue
            elif (yield load(name)) != f:
                continue
            whole = (yield load(content[f])) == WHOLE
            if whole and (yield act(attach, f, me)) == "lost":
                yield fail("attached to a file that has lost its name")
            if open_by_door:
                yield store(door[f], NOTHING)
            if whole:
                return f
            yield from clear_the_way(me, False)

    def opener(me):
        for _round in range(rounds):
            f = yield from come(me)
            yield act(detach, f, me)

    def replacer(me):
        while True:
            room = yield from clear_the_way(me, True)
            if not room:
                return                                             # somebody uses it: that is an answer
            f = yield from found(me)
            if f is not NOTHING:
                yield act(detach, f, me)
                return

    def remover(me):
        f = yield load(name)
        if f is NOTHING:
            return
        if remove_by_door:
            inside = yield from go_inside(f, me)
            if not inside:
                return
        yield act(unlink, f, False)
        if remove_by_door:
            yield store(door[f], NOTHING)

    programs = [opener] * openers + [replacer] * replacers + [remover] * removers
    peers = [model.peer(f"{program.__name__} {me}", program, me) for me, program in enumerate(programs)]
    model.good_end = lambda state: all(model.finished(state, peer) or model.dead(state, peer) for peer in peers)
    return model


def case(title, expected="ok", quick=True, **options):
    return Case("named: " + title, lambda: naming(**options), expected, quick)


CASES = [
    case("3 openers, no file", openers=3, files=4),
    case("2 openers, 2 rounds, 1 kill", openers=2, rounds=2, kills=1),
    case("2 openers, never completed", openers=2, start=INCOMPLETE),
    case("3 openers, never completed, 2 kills", openers=3, start=INCOMPLETE, files=5, kills=2),
    case("opener and 2 replacers", openers=1, replacers=2, start=WHOLE, files=4),
    case("opener, replacer and remover", openers=1, replacers=1, removers=1, start=WHOLE, files=4),
    case("opener, replacer and remover, 2 kills", openers=1, replacers=1, removers=1, start=WHOLE, files=4, kills=2),
    case("2 openers, replacer, remover, 2 kills", openers=2, replacers=1, removers=1, start=WHOLE, files=5, kills=2,
         quick=False),
    case("opens without the door", "violation", openers=1, replacers=1, start=WHOLE, open_by_door=False),
    case("compares outside the door", "violation", openers=1, replacers=1, start=WHOLE, compare_inside=False),
    case("removes without the door", "violation", openers=1, replacers=1, removers=1, start=WHOLE, files=4,
         remove_by_door=False),
]

if __name__ == "__main__":
    main(CASES)
