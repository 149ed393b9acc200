"""The live service: what for this person, now. Events are durable before they count, lists know the click of a second ago, and DuckDB is never opened
inside a request.

``journal`` keeps accepted events; ``received`` reads them in the shapes that senders use; ``snapshot`` is what the last run knows, as arrays on
disk; ``state`` is that and the events since; ``lists`` makes lists from it; ``service`` answers over HTTP; ``streams`` takes events out of brokers' streams and
publishes to one (``streaming``, ``publishing``, ``sealing``; ``brokers`` knows their clients).

``shown`` keeps the lists that were served; ``served`` reads them into tables, ``outcomes`` finds what came of them; ``experiments`` says who is given which variant,
``exposures`` what people did since, ``inference`` has the statistics, ``planning`` and ``judging`` say how many people are needed and what is found.
"""

STAGE = "serving"
