"""Signs of life: which loop made its last pass when, and what is wrong with what all need.

pulses   Pulses, write, keep, seen

Owns pulse. A row is a fact of a moment; whoever reads it judges its age.
"""
