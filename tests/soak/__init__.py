"""The product under faults: what should have rung, by a ledger that knows nothing of it, against what did.

`scenario.py` makes events and tasks from a seed, `ledger.py` says what has to come of them, `world.py` is the cloud,
the webhooks and the mail server that fail on purpose, and `crew.py` starts, kills and stops what is put to the test.
None of these imports it. `python -m soak --help` runs them.
"""

LADDER = (0.3, 1.0, 3.0)  # seconds: the delay queues of the product under test, instead of ten seconds to half an hour
