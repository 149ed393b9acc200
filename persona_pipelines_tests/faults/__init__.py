"""A campaign of faults, by hand (``make faults``): processes killed, disks full and failing, clocks set back, files damaged.

Each case copies a small shop with its state, does one thing to it, and looks at what is left: every table as before or as after, the
published copy readable all the time, no run that runs for ever, and the next run makes of it what an undisturbed one would have made.
"""
