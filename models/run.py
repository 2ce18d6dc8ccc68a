"""Explores all models: python3 models/run.py [--quick] [--trace] [--only TEXT]

One line a case, with the verdict, the number of states and the seconds. The exit status is 1
if any verdict is not the expected one: what should hold has to hold, and the variants which
leave out a rule have to fail.
"""

import buffer
import eventcount
import mpmc
import named
import roles
import semaphore
import several
import watcher
from explore import main

if __name__ == "__main__":
    main([case for model in (roles, named, mpmc, buffer, eventcount, semaphore, several, watcher) for case in model.CASES])
