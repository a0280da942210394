# Adds a line to a file: add.sh FILE LINE. Whoever calls it may hold a lock.
{ cat "$1"; echo "$2"; } > "$1.$$"
mv "$1.$$" "$1"
