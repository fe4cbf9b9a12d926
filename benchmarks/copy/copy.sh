#!/bin/sh
# Copy memory over and over: the kernel fills a buffer of the given size, dd hands it on. One line of JSON per step.
# usage: copy.sh SIZE[K|M|G]     ends when it is stopped, or when nobody reads its output any more
set -eu

STEPS_PER_SECOND=10 # about: a step of 100 ms drowns what starting dd costs

size=${1:-64M}
case $size in
*[!0-9KMG]* | '' | [KMG]*) echo "copy.sh: $size is no size: write 64M, 512K or 1G" >&2; exit 2 ;;
*K) bytes=$((${size%K} * 1024)) ;;
*M) bytes=$((${size%M} * 1048576)) ;;
*G) bytes=$((${size%G} * 1073741824)) ;;
*) bytes=$size ;;
esac
[ "$bytes" -gt 0 ] || { echo "copy.sh: nothing to copy" >&2; exit 2; }

copy() { # the whole buffer, $1 times
    dd if=/dev/zero of=/dev/null bs="$bytes" count="$1" 2>/dev/null
}

# Buffers a second, counted from one tick of the clock to the next (a shell has no finer clock everywhere).
tick=$(date +%s)
while [ "$(date +%s)" = "$tick" ]; do :; done
tick=$(date +%s)
passes=0
chunk=$((67108864 / bytes + 1)) # starting dd must not count
while [ "$(date +%s)" = "$tick" ]; do
    copy "$chunk"
    passes=$((passes + chunk))
done
count=$((passes / STEPS_PER_SECOND + 1))

while copy "$count"; do
    printf '{"count": %d, "unit": "B"}\n' $((count * bytes))
done
echo "copy.sh: dd failed" >&2
exit 1
