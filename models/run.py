"""Explores all models: python3 models/run.py [--quick] [--trace] [--only TEXT]

One line a case, with the verdict, the number of states and the seconds. The exit status is 1
if any verdict is not the expected one: what should hold has to hold, and the variants which
leave out a rule have to fail.
"""

import barrier
import buffer
import condvar
import eventcount
import mpmc
import mutex
import named
import once
import pipe
import roles
import rw_lock
import semaphore
import several
import watcher
from explore import main

if __name__ == "__main__":
    models = (roles, named, mpmc, buffer, pipe, eventcount, semaphore, mutex, rw_lock, condvar, barrier, once, several,
              watcher)
    main([case for model in models for case in model.CASES])
