"""The monitor: a process of its own on each node that writes how the node is, while a run's benchmarks are measured.

``loop`` takes the samples; ``host`` reads the kernel's own files, ``tree`` what the agent's processes take; a device or
a power meter is a reader (``reader``) in a thread of its own; ``samples`` reads what has been written, and
``now`` what of it is shown of devices.
"""
