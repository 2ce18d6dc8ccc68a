"""Programs as finite automata: how a Python generator becomes part of a state.

A suspended generator is identified by where it stands, the operation it asks for and the
variables it will still use. That last is the liveness of its bytecode, so that a stale
variable does not split states. Generators cannot be copied, so a node of the automaton
remembers the results which lead to it, and is replayed when one more branch leaves it. Three
conventions keep this exact; `Liveness` refuses what breaks the first, and closures:

  * `yield` stands first in its expression (`x = yield op`, `if (yield op) == y`), so that
    nothing half computed lies on the evaluation stack;
  * a `for` loop that yields runs over a range and has one plain variable;
  * programs keep only hashable values, and no closure over a program's own variables.
"""

import dis

DONE = -2                                        # the node of a program that has ended


class Liveness:
    """For each place where a program may stand suspended: the variables it will still read."""

    _no_fallthrough = {"RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE", "JUMP_FORWARD",
                       "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT", "JUMP_ABSOLUTE"}

    def __init__(self, code):
        if code.co_cellvars:
            raise TypeError(f"{code.co_name}: closure over a program's own variables {code.co_cellvars}")
        instructions = [i for i in dis.get_instructions(code) if i.opname != "CACHE"]
        at = {i.offset: n for n, i in enumerate(instructions)}
        jumps = set(dis.hasjrel) | set(dis.hasjabs)
        follows, reads, writes = [], [], []
        for n, i in enumerate(instructions):
            after = [] if i.opname in self._no_fallthrough else [n + 1]
            if i.opcode in jumps:
                after.append(at[i.argval])
            follows.append([m for m in after if m < len(instructions)])
            reads.append(set())
            writes.append(set())
            if i.opname.startswith("LOAD_FAST"):
                reads[n].update([i.argval] if isinstance(i.argval, str) else i.argval)
            elif i.opname in ("STORE_FAST", "DELETE_FAST"):
                writes[n].add(i.argval)
            elif i.opname == "FOR_ITER":
                # The iterator is on the stack; its position is known from the loop variable.
                target = instructions[n + 1]
                if target.opname == "STORE_FAST":
                    reads[n].add(target.argval)
        live = [set() for _ in instructions]                # live before the instruction
        changed = True
        while changed:
            changed = False
            for n in range(len(instructions) - 1, -1, -1):
                after = set().union(*(live[m] for m in follows[n]))
                before = reads[n] | (after - writes[n])
                if before != live[n]:
                    live[n], changed = before, True
        self.at_offset = {
            i.offset: tuple(sorted(set().union(*(live[m] for m in follows[n]))))
            for n, i in enumerate(instructions) if i.opname == "YIELD_VALUE"}
        self._check_stack(code, instructions, follows, at, jumps)

    @staticmethod
    def _check_stack(code, instructions, follows, at, jumps):
        """At a yield only loop iterators, a delegate and the operation itself may be on the stack."""
        start = next(n for n, i in enumerate(instructions) if i.opname == "RESUME")
        depth = {start: (0, 0)}                             # (depth, iterators among it)
        todo = [start]
        while todo:
            n = todo.pop()
            i = instructions[n]
            height, iterators = depth[n]
            if i.opname == "YIELD_VALUE":
                delegating = i.offset in at and instructions[n - 1].opname == "SEND"
                if height - iterators != (2 if delegating else 1):
                    raise TypeError(f"{code.co_name}: yield inside a larger expression")
            for m in follows[n]:
                jumping = i.opcode in jumps and m == at[i.argval]
                h = height + dis.stack_effect(i.opcode, i.arg, jump=jumping)
                k = iterators + (i.opname == "GET_ITER") - (i.opname == "FOR_ITER" and jumping)
                if m not in depth:
                    depth[m] = (h, min(k, h))
                    todo.append(m)


class Automata:
    """Programs, one a peer, unrolled as far as the exploration asks for. A node is a number; `operations` says what a
    peer at that node does next, `follow` where it goes with the result."""

    def __init__(self, programs):
        self.programs = programs                            # (generator function, its arguments) for each peer
        self.operations = []                                # node -> operation
        self.places = []                                    # node -> text for a trace
        self._origins = []                                  # node -> (peer, previous node, result)
        self._suspended = {}                                # node -> generator not used up yet
        self._known = {}
        self.known_next = {}                                # (node, result) -> node
        self._liveness = {}

    def entry(self, peer):
        program, arguments = self.programs[peer]
        generator = program(*arguments)
        return self._node(peer, generator, next(generator), (peer, None, None))

    def follow(self, node, result):
        key = (node, result)
        following = self.known_next.get(key)
        if following is None:
            generator = self._suspended.pop(node, None) or self._replay(node)
            origin = (self._origins[node][0], node, result)
            try:
                following = self._node(origin[0], generator, generator.send(result), origin)
            except StopIteration:
                following = DONE
            self.known_next[key] = following
        return following

    def _replay(self, node):
        results = []
        while True:
            peer, previous, result = self._origins[node]
            if previous is None:
                break
            results.append(result)
            node = previous
        program, arguments = self.programs[peer]
        generator = program(*arguments)
        next(generator)
        for result in reversed(results):
            generator.send(result)
        return generator

    def _node(self, peer, generator, operation, origin):
        key, inner = [peer, operation], generator
        while inner is not None:
            frame, code = inner.gi_frame, inner.gi_code
            liveness = self._liveness.get(code)
            if liveness is None:
                liveness = self._liveness[code] = Liveness(code)
            values = frame.f_locals
            key.append((code, frame.f_lasti,
                        tuple(values.get(name) for name in liveness.at_offset[frame.f_lasti])))
            place = f"{code.co_name}:{frame.f_lineno}"
            inner = inner.gi_yieldfrom
        key = tuple(key)
        node = self._known.get(key)
        if node is None:
            node = self._known[key] = len(self.operations)
            self.operations.append(operation)
            self.places.append(place)
            self._origins.append(origin)
            self._suspended[node] = generator
        return node
