"""What a tutorial on Django, Dramatiq and RabbitMQ makes of a newsletter: a message and a connection for each reader.

Nothing is recorded, so nothing can be resumed, counted or paused: the least that anybody could do.
"""
