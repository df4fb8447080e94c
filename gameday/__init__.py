"""Drills against the real stack: something breaks under load, and figures say how it was borne.

broker    the broker forgets, restarts, stops, refuses writes; the database restarts
control   leaders die, notifications are lost
storm     twenty tenants ask for ten times what can be done
ground    a stack that may be broken, a steady load on it, and what a drill promises
"""
