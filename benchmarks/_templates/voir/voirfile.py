"""What measures main.py without touching it: voir loads this file, and runs main.py with its `instrument_…`.

`//f()` is what a function of main.py returns, `//f > x` its variable x.
"""

from benchmate.voirfile import measure

instrument_main = measure("//dataloader()", criterion="//main > criterion", unit="samples")
