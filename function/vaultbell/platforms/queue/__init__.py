"""A message queue, RabbitMQ's first of all, by kombu (the extra `queue`, imported when first used).

A message is acknowledged after its report; where it is to come again, or is given up, after the broker has confirmed
that it has it anew. So a process that dies at any moment loses nothing, and at worst tells it again, under the same id.
What is to come again waits in a ladder of delay queues, each with one time to live, and falls back from its end: a time
of the message's own would hold up those behind it.
"""
