"""Any program is a benchmark: it prints a JSON line per step, and is ended when enough is measured.

Here the standard library compresses blocks; a program in another language does the same.
"""

import argparse
import json
import random
import zlib


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--block-size", type=int, default=1 << 20, help="bytes compressed in a step")
    args = parser.parse_args()

    block = random.Random(0).choices(range(64), k=args.block_size)
    while True:
        zlib.compress(bytes(block))
        # Timed as it arrives: flush each line. Further keys ("loss", "step", …) are kept as they are.
        print(json.dumps({"count": args.block_size, "unit": "B"}), flush=True)


if __name__ == "__main__":
    main()
