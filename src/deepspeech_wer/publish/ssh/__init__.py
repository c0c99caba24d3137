"""The way to a server.

Who it is: ``knownhosts``, ``certificates``, ``trust``. Who we are: ``identities``, ``keys``, ``agent``. Over which
hosts: ``config``, ``dial``. What comes of it: ``transport``, ``connection``.
"""
